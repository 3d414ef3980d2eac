"""``edgecnn watch`` with a small real bundle, a real video and real folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from edgecnn.cli.main import main
from tests import tiny_artifacts
from tests.watch.videos import flat, video

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@contextmanager
def running(*words: object) -> Iterator[subprocess.Popen[str]]:
    """``edgecnn watch`` in a process of its own, which ends with the test."""
    line = [sys.executable, "-m", "edgecnn", "watch", *map(str, words)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        guard = threading.Timer(60, process.kill)  # an answer that never comes would be waited for without end
        guard.start()
        try:
            yield process
        finally:
            guard.cancel()
            process.kill()


def put(path: Path, pixels) -> None:
    hidden = path.with_name(f".{path.name}")
    Image.fromarray(pixels).save(hidden)
    hidden.rename(path)


def test_a_line_for_each_frame_of_a_video_and_a_summary(folder: Path, tmp_path: Path, capfd) -> None:
    path = video(tmp_path / "a.mp4", flat("red", "green", "blue"))
    assert main(["watch", str(folder), "--video", str(path), "--top", "2"]) == 0
    out, err = capfd.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["frame"] for row in rows] == [1, 2, 3]
    assert [row["skipped"] for row in rows] == [0, 0, 0]
    assert [row["seconds"] for row in rows] == pytest.approx([0, 0.1, 0.2], abs=0.002)
    for row in rows:
        assert row.keys() == {"frame", "time", "skipped", "seconds", "top", "milliseconds"}
        assert datetime.fromisoformat(row["time"]).tzinfo is not None
        assert [guess.keys() for guess in row["top"]] == [{"label", "logit", "probability"}] * 2
        assert row["milliseconds"].keys() == {"decode", "preprocess", "run"}
        assert min(row["milliseconds"].values()) > 0
    last = err.splitlines()[-1]
    assert last.startswith("edgecnn: 3 frames in ") and last.endswith(" a second, 0 skipped")


def test_a_rate_skips_frames_of_a_video_and_counts_them(folder: Path, tmp_path: Path, capfd) -> None:
    path = video(tmp_path / "a.mp4", flat(*["red"] * 20))
    assert main(["watch", str(folder), "--video", str(path), "--fps", "2.5"]) == 0
    out, err = capfd.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["frame"], row["skipped"]) for row in rows] == [(1, 0), (5, 3), (9, 3), (13, 3), (17, 3)]
    assert err.endswith(" a second, 12 skipped\n")


def test_a_folder_gets_the_answers_of_classify_until_it_is_told_to_stop(folder: Path, place: Path, capfd) -> None:
    pictures = tiny_artifacts.images(3)
    put(place / "0.png", pictures[0])
    with running(folder, "--folder", place) as process:
        assert process.stdout is not None and process.stderr is not None
        rows = [json.loads(process.stdout.readline())]
        (place / "1.png").write_bytes(b"no image")
        rows.append(json.loads(process.stdout.readline()))
        put(place / "2.png", pictures[2])
        rows.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout.read() == ""
        said = [line for line in process.stderr.read().splitlines() if not line.startswith("INFO:")]
    assert len(said) == 1 and said[0].startswith("edgecnn: 2 frames in ")
    assert said[0].endswith(" skipped, 1 file could not be read")
    assert [row["image"] for row in rows] == [str(place / f"{number}.png") for number in range(3)]
    assert rows[1] == {"image": str(place / "1.png"), "error": rows[1]["error"]}
    (place / "1.png").unlink()
    assert main(["classify", str(folder), str(place), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert [row["top"] for row in document["images"]] == [rows[0]["top"], rows[2]["top"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(folder: Path, place: Path, number: int) -> None:
    put(place / "0.png", tiny_artifacts.images(1)[0])
    with running(folder, "--folder", place, "--fps", "5") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(60) == 0
        assert "edgecnn: 1 frame in " in process.stderr.read()


def test_a_reader_that_has_enough_ends_it_quietly(folder: Path, place: Path) -> None:
    pictures = tiny_artifacts.images(2)
    put(place / "0.png", pictures[0])
    with running(folder, "--folder", place) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        put(place / "1.png", pictures[1])
        assert process.wait(60) == 141
        assert [line for line in process.stderr.read().splitlines() if not line.startswith("INFO:")] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "watch needs one of --camera, --picamera, --video and --folder, and got none of them"),
        (["--camera", "0", "--picamera"], "and got 2 of them"),
        (["--camera", "97"], "the camera /dev/video97 is not there; 'ls /dev/video* /dev/v4l/by-id' shows which are"),
        (["--video", "none.mp4"], "none.mp4 is no file; give a video to --video"),
        (["--folder", "none"], "none is no folder; give one that is there to --folder"),
        (["--picamera"], "sudo apt install python3-picamera2, and make the venv with: python3 -m venv --system-site"),
        (["--camera", "0", "--fps", "nan"], "Invalid value for '--fps': nan is no number that can be used"),
        (["--camera", "0", "--fps", "0"], "Invalid value for '--fps': 0.0 is not in the range 0<x<=1000"),
    ],
)
def test_what_cannot_be_watched_is_one_line(folder: Path, words: list[str], message: str, capfd) -> None:
    assert main(["watch", str(folder), *words]) == 2
    out, err = capfd.readouterr()
    (line,) = [line for line in err.splitlines() if not line.startswith("INFO:")]
    assert out == "" and line.startswith("edgecnn: error: ") and message in line


def test_a_missing_opencv_is_one_line(folder: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["watch", str(folder), "--camera", "0"]) == 2
    assert "pip install 'edgecnn[camera]'" in capfd.readouterr().err


def test_a_key_that_is_none_is_refused(folder: Path, place: Path, capfd) -> None:
    key = place.parent / "key.pem"
    key.write_text("no key")
    assert main(["watch", str(folder), "--folder", str(place), "--require-signature", str(key)]) == 2
    assert "key.pem" in capfd.readouterr().err


def test_help_needs_no_camera_library() -> None:
    code = "import sys; from edgecnn.cli.main import main; main(['watch', '--help']); print('cv2' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert run.stdout.endswith("False\n")
