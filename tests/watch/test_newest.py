"""The newest frame of a camera that never stops, and a camera that goes and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edgecnn.watch import newest
from edgecnn.watch.fake import FakeCamera
from edgecnn.watch.frames import CameraError, Frame
from edgecnn.watch.newest import Newest

LONG = 60.0  # seconds until a test gives up


@contextmanager
def newest_of(camera: FakeCamera, say: Callable[[str], object] = print) -> Iterator[Newest]:
    with Newest(camera, say, first_pause=0.001) as frames:
        try:
            yield frames
        finally:
            camera.run_free()


def ask(frames: Newest, camera: FakeCamera) -> Frame:
    """The frame that comes after it was asked for."""
    assert frames.next(0) is None
    camera.feed(1)
    frame = frames.next(LONG)
    assert frame is not None
    return frame


def test_the_frame_that_comes_after_the_question_is_the_answer() -> None:
    camera = FakeCamera()
    with newest_of(camera) as frames:
        first = ask(frames, camera)
        camera.feed(5)
        second = ask(frames, camera)
    assert [first.number, second.number] == [1, 7]
    assert second.picture.getpixel((0, 0)) == (7, 0, 0)
    assert second.time >= first.time > 1_700_000_000 and second.decode >= 0


def test_nothing_is_decoded_that_nobody_asked_for() -> None:
    camera = FakeCamera()
    with newest_of(camera) as frames:
        camera.feed(5000)
        assert camera.decoded == camera.alive == 0
        assert ask(frames, camera).number == 5001
        assert camera.decoded == 1


def test_a_slow_reader_of_thousands_of_frames_holds_one_of_them() -> None:
    camera = FakeCamera()
    with newest_of(camera) as frames:
        for turn in range(1, 101):
            camera.feed(49)
            frame = ask(frames, camera)
            assert frame.number == 50 * turn
            assert camera.alive == 1
            del frame
        camera.run_free()
        for _ in range(20):
            held = frames.next(LONG)
            assert held is not None
            assert camera.alive <= 3  # this one, the one before, and at most one that waits


def test_a_camera_unplugged_and_back_goes_on_and_is_named_once_each_way() -> None:
    camera = FakeCamera()
    said: list[str] = []
    with newest_of(camera, said.append) as frames:
        assert ask(frames, camera).number == 1
        camera.unplug()
        assert frames.next(0.01) is None
        camera.wait_for_attempts(3)
        camera.plug()
        assert ask(frames, camera).number == 2
        camera.feed(3)
        assert camera.opened == 2
        assert said == [
            "the fake camera was unplugged; trying again until it is back",
            "the fake camera is back after 0 s",
        ]


def test_pauses_between_attempts_grow_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "LONGEST_PAUSE", 0.004)
    pauses = []
    camera = FakeCamera()
    with newest_of(camera) as frames:
        ask(frames, camera)
        wait_for = frames._change.wait_for

        def noted(predicate: Callable[[], object], timeout: float | None = None) -> object:
            pauses.append(timeout)
            return wait_for(predicate, timeout)

        monkeypatch.setattr(frames._change, "wait_for", noted)
        camera.unplug()
        camera.wait_for_attempts(5)
        camera.plug()
        camera.feed(1)
    assert pauses[:5] == [0.001, 0.002, 0.004, 0.004, 0.004]


def test_a_camera_that_is_not_there_at_the_start_is_an_error() -> None:
    camera = FakeCamera()
    camera.unplug()
    with Newest(camera, print) as frames, pytest.raises(CameraError, match="the fake camera is not there"):
        frames.next(LONG)


def test_a_damaged_frame_is_passed_over() -> None:
    camera = FakeCamera(damaged=range(1, 4))
    said: list[str] = []
    with newest_of(camera, said.append) as frames:
        assert frames.next(0) is None
        camera.feed(4)
        frame = frames.next(LONG)
        assert frame is not None and frame.number == 4
        assert said == []


def test_a_camera_that_gives_only_damaged_frames_is_opened_anew() -> None:
    camera = FakeCamera(damaged=range(1, newest.DAMAGED + 1))
    said: list[str] = []
    with newest_of(camera, said.append) as frames:
        assert frames.next(0) is None
        camera.feed(newest.DAMAGED + 1)
        frame = frames.next(LONG)
        assert frame is not None and frame.number == newest.DAMAGED + 1
        assert camera.opened == 2
        assert said[0] == "the fake camera gives only damaged frames; trying again until it is back"


def test_a_camera_that_was_opened_anew_in_vain_is_opened_again() -> None:
    camera = FakeCamera(damaged=range(1, 2 * newest.DAMAGED + 1))
    said: list[str] = []
    with newest_of(camera, said.append) as frames:
        assert frames.next(0) is None
        camera.feed(2 * newest.DAMAGED + 1)
        frame = frames.next(LONG)
        assert frame is not None and frame.number == 2 * newest.DAMAGED + 1
        assert camera.opened == 3
        assert said.count("the fake camera gives only damaged frames; trying again until it is back") == 2


def test_an_error_nobody_thought_of_is_not_lost_in_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    camera = FakeCamera()
    monkeypatch.setattr(camera, "grab", fail)
    with Newest(camera, print) as frames, pytest.raises(ZeroDivisionError):
        frames.next(LONG)


def test_closing_lets_go_of_the_camera() -> None:
    camera = FakeCamera()
    with newest_of(camera) as frames:
        ask(frames, camera)
        assert camera.is_open
    assert not camera.is_open
