"""Frames of a camera to answers, at a rate, until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

from edgecnn.runtime.classify import Answer, classify_picture
from edgecnn.runtime.fake import FakeRunner
from edgecnn.watch.fake import FakeCamera
from edgecnn.watch.frames import Frame
from edgecnn.watch.loop import Summary, watch
from edgecnn.watch.newest import Newest
from edgecnn.watch.schedule import Schedule


def run(camera: FakeCamera, enough: int, at_each: Callable[[int], object], rate: float | None = None) -> tuple:
    """(rows of frame number, skipped and label; summary) of a camera watched for ``enough`` answers."""
    rows: list[tuple[int, int, str]] = []
    runner = FakeRunner(classes=256)

    def answer(frame: Frame) -> Answer:
        return classify_picture(runner, [str(index) for index in range(256)], frame.picture, 1, frame.decode)

    def write(frame: Frame, skipped: int, answer: Answer) -> None:
        rows.append((frame.number, skipped, answer.best[0].label))
        at_each(len(rows))

    with Newest(camera, print, first_pause=0.001) as frames:
        summary = watch(frames, Schedule(rate) if rate else None, answer, write, print, lambda: len(rows) >= enough)
        camera.run_free()
    return rows, summary


def test_skipped_frames_are_counted_and_the_answer_is_of_the_frame() -> None:
    camera = FakeCamera()
    camera.run_free()
    rows, summary = run(camera, 20, lambda count: None, rate=1000)
    numbers = [number for number, _, _ in rows]
    assert numbers == sorted(set(numbers))
    assert [skipped for _, skipped, _ in rows] == [b - a - 1 for a, b in zip([0, *numbers], numbers, strict=False)]
    assert [label for _, _, label in rows] == [str(number % 256) for number in numbers]
    assert isinstance(summary, Summary)
    assert (summary.answered, summary.skipped, summary.bad) == (20, numbers[-1] - 20, 0)
    assert summary.seconds >= 19 / 1000


def test_it_can_be_stopped_while_the_camera_is_gone() -> None:
    camera = FakeCamera()
    camera.run_free()
    rows, summary = run(camera, 1, lambda count: camera.unplug())
    assert summary.answered == len(rows) == 1
