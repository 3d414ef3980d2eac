"""Withholding AMX: what the kernel grants, in processes of their own, and that no result depends on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgecnn.errors import UsageError
from edgecnn.runtime import amx
from edgecnn.runtime.artifact import open_artifact
from tests import tiny_artifacts

ROOT = Path(__file__).parents[2]
needs_amx = pytest.mark.skipif(not amx.supported(), reason="this CPU or kernel has no AMX")

# Words for the programs below; each leaves what it saw in ``seen``.
WORDS = """
import ctypes, json, sys
from pathlib import Path
import numpy as np
from edgecnn.runtime import amx
from edgecnn.runtime.preprocess import prepare
from edgecnn.runtime.artifact import open_artifact

libc = ctypes.CDLL(None)

def signal_stack(new=None):
    former = amx._Stack()
    assert libc.sigaltstack(new and ctypes.byref(new), ctypes.byref(former)) == 0
    return former.sp, former.flags, former.size

def another_library_is_granted_amx():
    return libc.syscall(158, 0x1023, 18) == 0

def run():
    with open_artifact(Path(sys.argv[1])) as runner:
        images = np.arange(17 * 48, dtype=np.uint8).reshape(17, 4, 4, 3)
        return runner.engine, runner.run(prepare(images, runner.input)).tolist()
"""


def seen_by(program: str, *arguments: Path, **variables: str) -> Any:
    """What a program saw, in a process in which nothing has asked for AMX."""
    environment = {name: value for name, value in os.environ.items() if name != "EDGECNN_AMX"} | variables
    command = [sys.executable, "-c", f"{WORDS}\n{program}\nprint(json.dumps(seen))", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def int8_file(tmp_path: Path) -> Path:
    return tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), quantized=True)


@needs_amx
def test_amx_is_withheld_unless_told_otherwise_and_no_result_changes(int8_file: Path) -> None:
    program = "seen = *run(), amx.permitted()"
    engine, output, permitted = seen_by(program, int8_file)
    assert engine.endswith(", AMX withheld")
    assert not permitted
    other_engine, other_output, other_permitted = seen_by(program, int8_file, EDGECNN_AMX="1")
    assert other_engine.endswith(", AMX allowed")
    assert other_permitted
    assert output == other_output


@needs_amx
def test_another_library_can_ask_later_and_the_engine_goes_on_as_it_began(int8_file: Path) -> None:
    program = "seen = run()[0], another_library_is_granted_amx(), run()[0]"
    before, granted, after = seen_by(program, int8_file)
    assert granted
    assert before == after
    assert after.endswith(", AMX withheld")


@needs_amx
def test_amx_granted_before_is_not_said_to_be_withheld(int8_file: Path) -> None:
    granted, engine = seen_by("seen = another_library_is_granted_amx(), run()[0]", int8_file)
    assert granted
    assert engine.endswith(", AMX allowed (granted before)")


@needs_amx
@pytest.mark.parametrize("ending", ["pass", "1 / 0"])
def test_the_former_signal_stack_comes_back(ending: str) -> None:
    program = f"""
space = ctypes.create_string_buffer(65536)
former = ctypes.addressof(space), 0, 65536
signal_stack(amx._Stack(*former))
try:
    with amx.withheld():
        seen = [another_library_is_granted_amx(), amx.permitted(), signal_stack() == former]
        {ending}
except ZeroDivisionError:
    pass
seen += [signal_stack() == former, another_library_is_granted_amx(), amx.permitted()]
"""
    assert seen_by(program) == [False, False, False, True, True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="no such call")
def test_on_other_processors_the_signal_stack_is_left_alone() -> None:
    program = """
import platform
platform.machine = lambda: "aarch64"
before = signal_stack()
with amx.withheld():
    seen = amx.supported(), amx.permitted(), signal_stack() == before
"""
    assert seen_by(program) == [False, False, True]


def test_a_setting_that_means_nothing_is_refused(int8_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECNN_AMX", "off")
    with pytest.raises(UsageError, match="EDGECNN_AMX is 'off' .valid: 0 "):
        open_artifact(int8_file)


def test_nothing_is_said_of_amx_where_there_is_none(int8_file: Path) -> None:
    program = 'import platform\nplatform.machine = lambda: "aarch64"\nseen = run()[0]'
    assert "AMX" not in seen_by(program, int8_file)
