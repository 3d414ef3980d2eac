"""The first load happens in a child; however that ends, this process gets one line, and a good file is remembered."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import pytest

import edgecnn
from edgecnn.errors import BadFileError
from edgecnn.runtime import proving
from edgecnn.runtime.bundle import Bundle, open_bundle
from tests import tiny_artifacts
from tests.tiny_artifacts import INT8_FILE


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(tiny_artifacts.bundle(tmp_path / "b"))


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(proving.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def no_home() -> Path:
    raise RuntimeError("there is no home")


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Replace the child by a shell script."""
    program = tmp_path / "child"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -SEGV $$", "tried out in a process of its own, which ended in SIGSEGV"),
        ("exec sleep 60", "which took more than 0.5 seconds"),
        ("echo first >&2; echo last word >&2; exit 3", "which failed: last word"),
        ("exit 0", "which failed: nothing was said"),
        ("""echo '{"error": "b is bad"}'""", "^b is bad$"),
    ],
)
def test_however_a_child_ends_it_is_one_line(bundle, tmp_path, monkeypatch, script: str, reason: str) -> None:
    child(tmp_path, monkeypatch, script)
    monkeypatch.setattr(proving, "SECONDS", 0.5 if "sleep" in script else 60)
    with pytest.raises(BadFileError, match=reason) as caught:
        bundle.open(bundle.artifact())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists(), "it is not remembered as good"


def test_a_good_file_is_tried_out_once(bundle, nothing_remembered: Path, monkeypatch) -> None:
    tried = []
    real = proving.run_child

    def counted(path: Path, *words: Any) -> None:
        tried.append(path.name)
        real(path, *words)

    monkeypatch.setattr(proving, "run_child", counted)
    for _ in range(2):
        bundle.open(bundle.artifact()).close()
    assert tried == [INT8_FILE]
    bundle.open(bundle.artifact("float32")).close()
    assert len(tried) == 2
    assert len(list((nothing_remembered / "proven").iterdir())) == 2
    monkeypatch.setattr(edgecnn, "__version__", "next")
    bundle.open(bundle.artifact()).close()
    assert len(tried) == 3, "with another edgecnn it is tried out again"


def test_where_nothing_can_be_remembered_it_is_tried_out_each_time(bundle, tmp_path, monkeypatch) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    tried = []
    monkeypatch.setattr(proving, "run_child", lambda *words: tried.append(1))
    bundle.open(bundle.artifact()).close()
    monkeypatch.delenv(proving.VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    bundle.open(bundle.artifact()).close()
    assert len(tried) == 2


def test_a_file_that_the_verifier_refuses_costs_no_child(bundle, tmp_path, monkeypatch) -> None:
    path = tmp_path / "b" / INT8_FILE
    content = bytearray(path.read_bytes())
    content[:4] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    tiny_artifacts.relist(tmp_path / "b")
    monkeypatch.setattr(proving, "run_child", lambda *words: pytest.fail("it was tried out"))
    bad = open_bundle(tmp_path / "b")
    with pytest.raises(
        BadFileError, match=rf"{INT8_FILE}: a TFLite file of .* is damaged: its lists are longer than it is"
    ):
        bad.open(bad.artifact())


def test_a_file_that_is_exchanged_after_the_bundle_was_opened_is_refused(bundle, tmp_path) -> None:
    bundle.open(bundle.artifact()).close()
    tiny_artifacts.tflite(tmp_path / "b" / INT8_FILE, tiny_artifacts.weights(seed=9), quantized=True)
    with pytest.raises(BadFileError, match="does not have the SHA-256"):
        bundle.open(bundle.artifact())


def test_the_child_has_a_limit_on_memory(bundle, tmp_path, monkeypatch) -> None:
    """With room for Python alone, the child gives up, and says so."""
    start = "from edgecnn.runtime import proving; proving.MEMORY['tflite'] = 1 << 25; proving.main()"
    root = Path(proving.__file__).parents[2]
    child(tmp_path, monkeypatch, f'cd {root}; exec {sys.executable} -c "{start}"')
    with pytest.raises(BadFileError, match=r"not safe to run here|more memory than"):
        bundle.open(bundle.artifact())


@pytest.mark.parametrize(("hard", "most"), [(resource.RLIM_INFINITY, 1000), (5000, 1000), (300, 300)])
def test_a_lower_limit_on_data_is_kept(hard: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (hard, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append(limits))
    proving.bound_data(1000)
    assert asked == [(most, most)]
