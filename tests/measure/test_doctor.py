"""Which runtimes work, found out by importing each in a process of its own."""

from __future__ import annotations

import dataclasses
import sys
import tomllib
from pathlib import Path

import pytest

from edgecnn.measure.doctor import ABSENT, BROKEN, EXTRAS, OK, check_extras, check_runtimes, int8_speed, runs_tflite
from edgecnn.measure.worker import Worker
from tests.measure.scripted import MACHINE

CRASH = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGILL)"


def crashing() -> Worker:
    return Worker([sys.executable, "-S", "-c", CRASH])


def test_the_runtimes_of_this_machine() -> None:
    findings = {each.about: each for each in check_runtimes(lambda package: package == "ai_edge_litert")}
    assert list(findings) == [
        "ai_edge_litert", "tflite_runtime", "onnxruntime", "openvino", "torch", "executorch",
    ]  # fmt: skip
    assert findings["ai_edge_litert"].state == OK
    assert findings["ai_edge_litert"].found.endswith(" imports")
    assert findings["torch"].state == ABSENT
    assert findings["openvino"].mend == "only for .onnx files, on x86 or 64-bit ARM: pip install 'edgecnn[openvino]'"
    assert findings["executorch"].mend == "only for .pte files, beside torch: pip install executorch"
    assert findings["torch"].mend == "only for training, export and TorchScript files: pip install 'edgecnn[train]'"
    assert runs_tflite(list(findings.values()))


def test_a_runtime_that_crashes_is_broken_and_nothing_else_is() -> None:
    findings = check_runtimes(lambda _package: True, crashing)
    assert {each.state for each in findings} == {BROKEN}
    assert findings[-1].found.startswith("importing it: was killed by SIGILL (an instruction that this CPU does not")
    assert "pip install --force-reinstall ai-edge-litert" in str(findings[0].mend)
    assert not runs_tflite(findings)


def test_extras_say_what_they_are_for_and_how_they_are_had() -> None:
    findings = {each.about: each for each in check_extras(lambda package: package in ("uvicorn", "cryptography"))}
    assert (findings["[sign]"].state, findings["[sign]"].mend) == (OK, None)
    assert (findings["[serve]"].state, findings["[serve]"].found) == (ABSENT, "without python_multipart")
    assert findings["[serve]"].mend == "only for edgecnn serve: pip install 'edgecnn[serve]'"


def test_all_extras_but_those_that_edgecnn_is_told_of_elsewhere_are_looked_at() -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    others = {"openvino", "dev"}  # a runtime; for edgecnn's own tests
    assert set(EXTRAS) == set(declared["optional-dependencies"]) - others


def test_a_package_that_lies_there_and_does_not_import_is_broken() -> None:
    findings = check_runtimes(lambda package: package == "tflite_runtime")
    assert findings[1].state == BROKEN
    assert "No module named 'tflite_runtime'" in findings[1].found


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ((), ["no int8 instructions"]),
        (("asimddp", "i8mm"), ["asimddp: SDOT", "i8mm: SMMLA"]),
        (("avx2",), ["avx2: int8"]),
    ],
)
def test_what_the_cpu_means_for_int8(features: tuple[str, ...], words: list[str]) -> None:
    lines = int8_speed(dataclasses.replace(MACHINE, features=features))
    assert [line[: len(word)] for line, word in zip(lines, words, strict=True)] == words
