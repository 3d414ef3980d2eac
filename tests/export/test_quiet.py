"""What converters print goes to a log, which stays only when it is needed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import warnings
from pathlib import Path

import pytest

from edgecnn.errors import CheckFailedError, MissingExtraError, UsageError
from edgecnn.export.quiet import captured


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    """Logs land in a folder of their own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def inside(work):
    with captured("the work"):
        work()


def chatter():
    print("from Python")
    os.write(2, b"from C\n")
    subprocess.run(["echo", "from a child"], check=True)
    warnings.warn("a warning", stacklevel=1)


def test_nothing_is_printed_and_nothing_is_left(logs, capfd):
    print("before")
    with captured("the work"):
        chatter()
    print("after")
    assert capfd.readouterr() == ("before\nafter\n", "")
    assert not list(logs.iterdir())


def test_a_failure_is_one_line_that_names_the_log(logs, capfd):
    def work():
        chatter()
        raise ValueError("odd shape\nand a page more")

    with pytest.raises(CheckFailedError, match=r"^the work failed: ValueError: odd shape \(its output is in ") as error:
        inside(work)
    log = Path(str(error.value).rpartition(" ")[2].rstrip(")"))
    assert log.parent == logs
    assert log.read_text().splitlines() == ["from Python", "from C", "from a child"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [UsageError("ours"), KeyboardInterrupt()])
def test_our_own_errors_and_interrupts_pass_through(error, logs, capfd):
    with pytest.raises(type(error)), captured("the work"):
        raise error
    print("seen")
    assert capfd.readouterr().out == "seen\n"
    assert not list(logs.iterdir())


def test_a_converter_that_is_not_installed_is_named(logs):
    with pytest.raises(MissingExtraError, match=r"the work needs the package 'no_such_converter'.*edgecnn\[train\]"):
        inside(lambda: __import__("no_such_converter"))
    assert not list(logs.iterdir())


def swallow() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def rename() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        raise RuntimeError("the conversion failed") from error


@pytest.mark.parametrize("converter", [swallow, rename])
def test_an_interrupt_that_a_converter_swallows_or_renames_is_not_lost(converter):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), captured("the conversion"):
        converter()
    assert signal.getsignal(signal.SIGINT) is handler
