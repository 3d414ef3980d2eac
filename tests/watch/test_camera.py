"""A camera through OpenCV. A video stands in for the device: OpenCV reads both by the same calls."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgecnn.errors import MissingExtraError
from edgecnn.watch import camera as module
from edgecnn.watch.camera import OpenCVCamera
from edgecnn.watch.frames import CameraError
from edgecnn.watch.newest import Newest
from tests.watch.videos import SIZE, colour, flat, video


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A "device" that gives red, green and blue, and then nothing more."""
    monkeypatch.setattr(module, "BACKEND", "CAP_FFMPEG")
    return video(tmp_path / "device.avi", flat("red", "green", "blue"), "MJPG")


def test_frames_are_rgb_and_the_end_is_an_error(device: Path) -> None:
    camera = OpenCVCamera(str(device))
    camera.open()
    seen = []
    for _ in range(3):
        camera.grab()
        picture = camera.picture()
        assert picture is not None and picture.size == SIZE and picture.mode == "RGB"
        pixel = picture.getpixel((20, 20))
        assert isinstance(pixel, tuple)
        seen.append(colour(pixel))
    assert seen == ["red", "green", "blue"]
    with pytest.raises(CameraError, match=f"the camera {device} gives no frames any more"):
        camera.grab()
    camera.close()
    camera.close()


def test_it_is_opened_again_when_it_is_back(device: Path) -> None:
    said: list[str] = []
    with Newest(OpenCVCamera(str(device)), said.append, first_pause=0.001) as frames:
        numbers: list[int] = []
        while not numbers or numbers[-1] < 20:  # three frames come each time it is opened
            frame = frames.next(60)
            assert frame is not None
            numbers.append(frame.number)
    assert numbers == sorted(set(numbers))
    assert said[0] == f"the camera {device} gives no frames any more; trying again until it is back"
    assert said[1].startswith(f"the camera {device} is back after ")


@pytest.mark.parametrize(("word", "path"), [("7", "/dev/video7"), ("/dev/v4l/by-id/cam", "/dev/v4l/by-id/cam")])
def test_a_number_stands_for_a_device(word: str, path: str) -> None:
    assert OpenCVCamera(word).name == f"the camera {path}"


def test_no_such_camera_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CameraError, match="the camera /dev/video97 is not there; 'ls /dev/video"):
        OpenCVCamera("97").open()
    assert capfd.readouterr() == ("", "")


def test_what_is_no_camera_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(CameraError, match="cannot be opened; it is no camera, or another program has it"):
        OpenCVCamera(str(tmp_path / "x")).open()
    assert capfd.readouterr() == ("", "")


def test_a_camera_of_others_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(CameraError, match="may not be used by this user; run: sudo usermod -aG video"):
        OpenCVCamera(str(tmp_path / "x")).open()


def test_a_damaged_frame_is_none(tmp_path: Path) -> None:
    camera = OpenCVCamera(str(tmp_path))
    camera._capture = SimpleNamespace(retrieve=lambda: (False, np.empty(0)))
    assert camera.picture() is None


def test_a_missing_opencv_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"--camera needs .* pip install 'edgecnn\[camera\]'"):
        OpenCVCamera("0")
