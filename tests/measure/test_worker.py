"""How a measured process can end, each way as one line."""

from __future__ import annotations

import json
import os
import sys

import pytest

from edgecnn.errors import CheckFailedError
from edgecnn.measure.worker import Worker

ANSWER = "import os, signal, sys; sys.stdin.readline(); "


def program(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def failure(code: str, patience: float = 60) -> str:
    """What is said of a process that runs ``code``, asked one question."""
    with Worker(program(code)) as worker, pytest.raises(CheckFailedError) as error:
        worker.ask({"do": "time"}, patience)
    return str(error.value)


def test_questions_are_answered_in_order() -> None:
    with Worker(program("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")) as worker:
        for number in range(3):
            question = {"do": "echo", "number": number}
            assert worker.ask(question, 60) == question


def test_long_answers_arrive_whole() -> None:
    samples = list(range(100_000))
    with Worker(program(ANSWER + f"print('{{\"samples\":', list(range({len(samples)})), '}}')")) as worker:
        assert worker.ask({"do": "time"}, 60) == {"samples": samples}


@pytest.mark.parametrize(
    ("signal", "words"),
    [("SIGILL", "an instruction that this CPU does not have"), ("SIGKILL", "memory ran out"), ("SIGSEGV", "a fault")],
)
def test_a_signal_is_named_and_explained(signal: str, words: str) -> None:
    line = failure(ANSWER + f"os.kill(os.getpid(), signal.{signal})")
    assert line.startswith(f"was killed by {signal} (")
    assert words in line


def test_an_exit_shows_the_last_line_it_said() -> None:
    assert failure(ANSWER + "sys.exit('no such thing\\n')") == "ended with exit code 1: no such thing"
    assert failure(ANSWER + "raise KeyError('why')") == "ended with exit code 1: KeyError: 'why'"
    assert failure(ANSWER + "os._exit(0)") == "ended with exit code 0: nothing was said"


def test_a_process_that_is_gone_before_it_is_asked() -> None:
    with Worker(program("import os; os._exit(7)")) as worker:
        worker._process.wait()
        with pytest.raises(CheckFailedError, match="ended with exit code 7"):
            worker.ask({"do": "open"}, 60)


def test_a_hang_is_stopped() -> None:
    line = failure("import sys; sys.stdin.read()", 0.01)
    assert line == "gave no answer to 'time' within 0.01 seconds and was stopped"


def test_an_error_that_was_foreseen_is_passed_on() -> None:
    answer = json.dumps({"error": "the file is damaged"})
    assert failure(ANSWER + f"print({answer!r})") == "the file is damaged"


def test_the_process_is_gone_afterwards() -> None:
    with Worker(program("import sys; sys.stdin.read()")) as worker:
        number = worker._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_meter_is_looked_at_while_waiting() -> None:
    looks: list[int] = []
    with Worker(program("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")) as worker:
        worker.ask({"do": "spend"}, 60, lambda: looks.append(1))
    assert looks
