"""Frames to answers, until there are no more or a signal asks to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from edgecnn.runtime.classify import Answer
from edgecnn.runtime.picture import BadPictureError
from edgecnn.watch.frames import Frame, Frames
from edgecnn.watch.schedule import Schedule

PATIENCE = 0.2  # seconds between two looks at whether to stop


@dataclass
class Summary:
    """What was done: frames answered, frames that came and were left out, files that could not be read, seconds."""

    answered: int = 0
    skipped: int = 0
    bad: int = 0
    seconds: float = 0.0


def watch(
    frames: Frames,
    schedule: Schedule | None,
    answer: Callable[[Frame], Answer],
    write: Callable[[Frame, int, Answer], object],
    refuse: Callable[[BadPictureError], object],
    stopped: Callable[[], bool],
) -> Summary:
    """Give each frame to ``answer``, and to ``write`` with the number of those skipped before it, until ``stopped``.

    A file that cannot be read goes to ``refuse``. Raises what frames.next, answer, write and refuse raise.
    """
    summary, last, start = Summary(), 0, time.monotonic()
    while _wait(0.0 if schedule is None else schedule.delay(), stopped):
        try:
            frame = _next(frames, stopped)
        except EOFError:
            break
        except BadPictureError as error:
            summary.bad += 1
            refuse(error)
            continue
        if frame is None:
            break
        skipped, last = frame.number - last - 1, frame.number
        write(frame, skipped, answer(frame))
        summary.answered += 1
        summary.skipped += skipped
    summary.seconds = time.monotonic() - start
    return summary


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Within it, the first SIGINT or SIGTERM only makes what it gives return True; a second does what it always does.

    A flag and not an exception, so that what is being written is written whole.
    """
    came: list[int] = []
    before: dict[int, Any] = {}

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        put_back()

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        put_back()


def _wait(seconds: float, stopped: Callable[[], bool]) -> bool:
    """False when it was stopped, else True after as many seconds."""
    end = time.monotonic() + seconds
    while not stopped():
        left = end - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, PATIENCE))
    return False


def _next(frames: Frames, stopped: Callable[[], bool]) -> Frame | None:
    """The next frame, however long it takes; None when it was stopped."""
    while not stopped():
        frame = frames.next(PATIENCE)
        if frame is not None:
            return frame
    return None
