"""Images that are in a folder and come into it; each look is asked for by the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from edgecnn.errors import UsageError
from edgecnn.runtime.picture import BadPictureError
from edgecnn.watch.folder import Folder
from edgecnn.watch.frames import Frame


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def watched(place: Path, say=print) -> Folder:
    return Folder(place, False, say, interval=0)


def put(path: Path, red: int, age: int = 0) -> None:
    Image.new("RGB", (4, 4), (red, 0, 0)).save(path)
    os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))


def look(folder: Folder) -> Frame | None:
    return folder.next(60)  # it returns after one look; the seconds bound a pause that is short here


def red(frame: Frame | None) -> int:
    assert frame is not None
    value = frame.picture.getpixel((0, 0))
    assert isinstance(value, tuple)
    return value[0]


def test_what_is_there_comes_oldest_first_and_once(place: Path) -> None:
    for number, age in enumerate((5, 9, 7)):
        put(place / f"{number}.png", number, age)
    folder = watched(place)
    assert look(folder) is None  # who knows if they are finished
    frames = [look(folder) for _ in range(3)]
    assert [red(frame) for frame in frames] == [1, 2, 0]
    assert [frame.number for frame in frames if frame] == [1, 2, 3]
    assert frames[0] is not None and frames[0].where == {"image": str(place / "1.png")}
    assert [look(folder) for _ in range(3)] == [None] * 3


def test_a_link_that_leads_nowhere_keeps_no_other_picture_back(place: Path) -> None:
    put(place / "a.png", 7)
    (place / "loop.png").symlink_to("loop.png")
    (place / "gone.png").symlink_to("nothing.png")
    folder = watched(place, pytest.fail)
    assert look(folder) is None
    assert red(look(folder)) == 7
    assert look(folder) is None


def test_a_file_is_taken_when_it_is_finished(place: Path) -> None:
    put(place / "whole.png", 7)
    content = (place / "whole.png").read_bytes()
    (place / "whole.png").unlink()
    folder = watched(place)
    for end in (10, 20, len(content)):
        (place / "new.png").write_bytes(content[:end])
        assert look(folder) is None
    assert red(look(folder)) == 7


def test_a_file_that_is_renamed_into_place_is_taken(place: Path) -> None:
    folder = watched(place)
    assert look(folder) is None
    put(place / ".upload.png", 3)
    os.rename(place / ".upload.png", place / "done.png")
    assert look(folder) is None
    assert red(look(folder)) == 3


def test_a_file_written_anew_is_taken_again(place: Path) -> None:
    put(place / "latest.png", 1, age=9)
    folder = watched(place)
    assert look(folder) is None
    assert red(look(folder)) == 1
    put(place / "latest.png", 2)
    assert look(folder) is None
    assert red(look(folder)) == 2


def test_hidden_files_and_folders_are_left_alone(place: Path) -> None:
    put(place / ".hidden.png", 1)
    (place / "below.png").mkdir()
    folder = watched(place)
    assert [look(folder) for _ in range(3)] == [None] * 3


def test_a_bad_file_is_an_error_once_and_the_next_is_taken(place: Path) -> None:
    (place / "bad.png").write_bytes(b"no image")
    os.utime(place / "bad.png", (1, 1))
    put(place / "good.png", 5)
    folder = watched(place)
    assert look(folder) is None
    with pytest.raises(BadPictureError, match="not an image"):
        look(folder)
    frame = look(folder)
    assert red(frame) == 5
    assert frame is not None and frame.number == 1
    assert look(folder) is None


def test_what_is_gone_is_forgotten(place: Path) -> None:
    folder = watched(place)
    for turn in range(20):
        put(place / f"{turn}.png", turn)
        look(folder)
        assert red(look(folder)) == turn
        (place / f"{turn}.png").unlink()
        look(folder)
    assert not folder._known and not folder._waiting and not folder._ready


def test_a_folder_that_goes_is_waited_for_and_said_once(place: Path) -> None:
    said: list[str] = []
    put(place / "0.png", 4)
    folder = watched(place, said.append)
    look(folder)
    assert red(look(folder)) == 4
    place.rename(place.with_name("away"))
    assert [look(folder) for _ in range(3)] == [None] * 3
    assert said == [f"the folder {place} cannot be read: No such file or directory; looking on until it can"]
    place.with_name("away").rename(place)
    put(place / "1.png", 6)
    assert look(folder) is None
    assert red(look(folder)) == 6  # and not the old one again


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder; give one that is there to --folder"):
        watched(tmp_path / "none")
