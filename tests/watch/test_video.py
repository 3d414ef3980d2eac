"""Frames of real videos, encoded on the spot."""

from __future__ import annotations

import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgecnn.errors import BadFileError, MissingExtraError
from edgecnn.watch import video as module
from edgecnn.watch.frames import Frame
from edgecnn.watch.video import Video
from tests.watch.videos import RATE, SIZE, colour, flat, video


def frames_of(path: Path, rate: float | None = None, say: Callable[[str], object] = print) -> Iterator[Frame]:
    with Video(path, rate, say) as frames:
        while True:
            try:
                frame = frames.next(0)
            except EOFError:
                return
            assert frame is not None
            yield frame


def middle(frame: Frame) -> str:
    pixel = frame.picture.getpixel((frame.picture.width // 2, frame.picture.height // 2))
    assert isinstance(pixel, tuple)
    return colour(pixel)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "MJPG")])
def test_every_frame_comes_in_order_and_in_its_colours(tmp_path: Path, name: str, codec: str) -> None:
    path = video(tmp_path / name, flat("red", "red", "green", "blue"), codec)
    frames = list(frames_of(path))
    assert [middle(frame) for frame in frames] == ["red", "red", "green", "blue"]
    assert [frame.number for frame in frames] == [1, 2, 3, 4]
    assert {frame.picture.size for frame in frames} == {SIZE}
    assert {frame.picture.mode for frame in frames} == {"RGB"}
    assert [frame.where["seconds"] for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.002)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG")])
def test_a_video_that_ends_before_its_time_is_spoken_of(tmp_path: Path, name: str, codec: str) -> None:
    noise = [np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8) for number in range(60)]
    path = video(tmp_path / name, noise, codec)
    said: list[str] = []
    assert len(list(frames_of(path, say=said.append))) == 60
    assert said == []
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 8] = bytes(len(content) // 8)
    path.write_bytes(content)
    assert len(list(frames_of(path, say=said.append))) < 58
    (line,) = said
    assert line.startswith(f"{path} ended after ") and "of 6.0 seconds" in line


@pytest.mark.parametrize(
    ("rate", "numbers"), [(RATE, range(1, 31)), (5, range(1, 31, 2)), (4, (1, 4, 6, 9, 11)), (1000, range(1, 31))]
)
def test_a_rate_is_of_the_videos_own_seconds(tmp_path: Path, rate: float, numbers) -> None:
    path = video(tmp_path / "a.mp4", flat(*["red"] * 30))
    got = [frame.number for frame in frames_of(path, rate)]
    assert got[: len(numbers)] == list(numbers)
    assert len(got) == min(30, rate * 3)


def test_frames_are_turned_as_the_file_says(tmp_path: Path) -> None:
    """A telephone held upright writes frames that lie, and a matrix in the track's header that turns them."""
    left = np.concatenate([flat("red")[0][:, :32], flat("blue")[0][:, :32]], axis=1)
    path = video(tmp_path / "a.mp4", [left])
    content = path.read_bytes()
    one = 1 << 16
    straight = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, one, 0, -one, 0, 0, SIZE[1] << 16, 0, 1 << 30)  # a quarter to the right
    header = content.index(b"tkhd")
    path.write_bytes(content[:header] + content[header:].replace(straight, turned, 1))
    (frame,) = frames_of(path)
    assert frame.picture.size == (SIZE[1], SIZE[0])
    top, bottom = (frame.picture.getpixel((24, row)) for row in (8, 56))
    assert isinstance(top, tuple) and isinstance(bottom, tuple)
    assert (colour(top), colour(bottom)) == ("red", "blue")


def test_what_is_no_video_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(BadFileError, match="a.mp4 is no video that OpenCV can read, or it is damaged"):
        Video(tmp_path / "a.mp4", None)
    for path in (tmp_path, tmp_path / "none.mp4"):
        with pytest.raises(BadFileError, match="is no file; give a video"):
            Video(path, None)
    assert capfd.readouterr() == ("", "")


def test_a_video_without_a_frame_is_refused(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", flat("red"))
    content = path.read_bytes()
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    path.write_bytes(content[:start] + bytes(end - start) + content[end:])
    with pytest.raises(BadFileError, match="has no frame that can be decoded"):
        list(frames_of(path))


def test_enormous_frames_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch) -> None:
    path = video(tmp_path / "a.mp4", flat("red"))
    monkeypatch.setattr(module, "PIXELS", 48 * 64 - 1)
    with pytest.raises(BadFileError, match="frames of 64x48 pixels, at most 3,071 are allowed"):
        Video(path, None)


def test_a_file_that_names_another_machine_is_not_followed(tmp_path: Path) -> None:
    asked = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.request.recv(100))

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        path = tmp_path / "a.m3u8"
        address = f"http://127.0.0.1:{server.server_address[1]}/a.ts"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(BadFileError):
            list(frames_of(path))
        server.shutdown()
        thread.join()
    assert asked == []


def test_a_missing_opencv_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"--video needs .*opencv-.* pip install 'edgecnn\[camera\]'"):
        Video(tmp_path / "a.mp4", None)
