"""The Pi's camera, with a module in the place of Picamera2 that keeps to its interface."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from edgecnn.errors import UsageError
from edgecnn.watch.frames import CameraError
from edgecnn.watch.picamera import PiCamera


class Picamera2:
    """A camera that sees red; its formats are named as libcamera does, from the last byte to the first."""

    there = True
    stalled = False
    broken = False
    calls: ClassVar[list[str]] = []

    def __init__(self) -> None:
        if self.broken:
            raise RuntimeError("Camera __init__ sequence\ndid not complete.")

    @classmethod
    def global_camera_info(cls) -> list[dict[str, str]]:
        return [{"Model": "imx708"}] if cls.there else []

    def create_video_configuration(self, main: dict[str, Any], queue: bool) -> dict[str, Any]:
        assert not queue  # with a queue, a frame from before the question would be the answer
        return main

    def configure(self, main: dict[str, Any]) -> None:
        self.main = main

    def start(self) -> None:
        self.calls.append("start")

    def capture_array(self, name: str, wait: bool) -> str:
        assert (name, wait) == ("main", False)
        return "job"

    def wait(self, job: str, timeout: float) -> np.ndarray:
        assert job == "job" and timeout > 0
        if self.stalled:
            raise TimeoutError
        red = {"BGR888": (200, 0, 0), "RGB888": (0, 0, 200)}[self.main["format"]]
        width, height = self.main["size"]
        return np.full((height, width, 3), red, np.uint8)

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> type[Picamera2]:
    module = ModuleType("picamera2")
    fresh = type("Picamera2", (Picamera2,), {"calls": []})
    module.Picamera2 = fresh  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return fresh


def test_red_is_red(kind: type[Picamera2]) -> None:
    camera = PiCamera()
    camera.open()
    camera.grab()
    picture = camera.picture()
    assert (picture.mode, picture.size, picture.getpixel((5, 5))) == ("RGB", (640, 480), (200, 0, 0))
    camera.close()
    camera.close()
    assert kind.calls == ["start", "close"]


def test_a_camera_that_gives_nothing_is_an_error(kind: type[Picamera2]) -> None:
    camera = PiCamera()
    camera.open()
    kind.stalled = True
    with pytest.raises(CameraError, match="the Pi camera gives no frames any more"):
        camera.grab()


def test_no_camera_and_one_that_does_not_start_are_errors_of_one_line(kind: type[Picamera2]) -> None:
    kind.broken = True
    with pytest.raises(CameraError, match="the Pi camera cannot be opened: Camera __init__ sequence did not complete."):
        PiCamera().open()
    kind.there = False
    with pytest.raises(CameraError, match="the Pi camera is not there; 'rpicam-hello --list-cameras'"):
        PiCamera().open()


def test_a_picamera2_for_another_numpy_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    with pytest.raises(UsageError, match="numpy .numpy.dtype size changed.; run: pip install .* simplejpeg"):
        PiCamera()


def test_without_picamera2_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(UsageError, match="apt install python3-picamera2.*--system-site-packages"):
        PiCamera()
