"""Converters print pages; this keeps them for the one who needs them."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType

from edgecnn.errors import CheckFailedError, EdgeCNNError, MissingExtraError


@contextmanager
def captured(what: str) -> Iterator[None]:
    """Send all that the block prints, native code and child processes included, to a log file.

    The file is deleted when the block succeeds. When it fails the log stays, and a CheckFailedError names it; a
    converter that is not installed is a MissingExtraError.
    """
    handle, name = tempfile.mkstemp(prefix="edgecnn-", suffix=".log")
    log = Path(name)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    try:
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        try:
            # In a notebook or a test Python's stream does not end in descriptor 1. (That of errors stays: what is
            # imported here may keep it, for its log.)
            with (
                open(handle, "w", buffering=1, closefd=False) as stream, redirect_stdout(stream),
                warnings.catch_warnings(), no_interrupt_is_lost(),
            ):  # fmt: skip
                warnings.simplefilter("ignore")
                yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for target, original in zip((1, 2), saved, strict=True):
                os.dup2(original, target)
    except (EdgeCNNError, KeyboardInterrupt):
        log.unlink()
        raise
    except ModuleNotFoundError as error:
        log.unlink()
        raise MissingExtraError(what, str(error.name), "train") from error
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckFailedError(f"{what} failed: {type(error).__name__}: {reason} (its output is in {log})") from error
    else:
        log.unlink()
    finally:
        for descriptor in (handle, *saved):
            os.close(descriptor)


@contextmanager
def no_interrupt_is_lost() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end of the block if there was one in it that somebody swallowed or renamed.

    Python drops what is raised in a destructor or in a callback of the garbage collector, and converters have both:
    Ctrl-C would now and then do nothing. Only the main thread hears signals.
    """
    former = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(former):
        yield
        return
    heard = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        heard = True
        former(number, frame)

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    except Exception as error:
        if heard:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, former)
    if heard:
        raise KeyboardInterrupt
