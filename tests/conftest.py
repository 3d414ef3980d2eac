"""What test processes share: things that take seconds to make are made once and kept on disk."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgecnn.runtime import proving
from tests.browser import browser as browser

Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session", autouse=True)
def proven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of this run's own for what was proven: each bundle once, and none in the user's cache."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(proving.VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """``once(name, make)``: the folder that ``make(folder)`` filled in whichever test process asked first."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def get(name: str, make: Callable[[Path], object]) -> Path:
        folder = base / f"once-{name}"
        with (base / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                work = base / f"once-{name}.part"
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                make(work)
                work.rename(folder)
        return folder

    return get


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as the child has: sums depend on how they are split."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stored_conversions(once: Once, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every TFLite conversion is real, but of equal graphs only the first."""
    from torch import fx

    from edgecnn.export import tflite
    from edgecnn.models import ModelArguments

    def stored(name: str) -> Callable[[fx.GraphModule, ModelArguments], bytes]:
        convert = getattr(tflite, name)

        def get(graph_module: fx.GraphModule, arguments: ModelArguments) -> bytes:
            def make(folder: Path) -> None:
                (folder / "file").write_bytes(convert(graph_module, arguments))

            return (once(f"{name}-{_digest(graph_module)}", make) / "file").read_bytes()

        return get

    for name in ("convert_float", "convert_quantized"):
        monkeypatch.setattr(tflite, name, stored(name))


@pytest.fixture(scope="session")
def whole_run(once: Once) -> Path:
    """A folder with what one real ``edgecnn quantize --model lenet --data digits --json`` left behind.

    ``bundle`` is its bundle with all formats, ``out`` and ``err`` are what it printed.
    """

    def make(folder: Path) -> None:
        words = ["quantize", "--model", "lenet", "--data", "digits", "--out", str(folder / "bundle"), "--json"]
        command = [sys.executable, "-m", "edgecnn", *words]
        run = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        (folder / "out").write_text(run.stdout)
        (folder / "err").write_text(run.stderr)

    return once("whole-run", make)


def _digest(graph_module) -> str:
    from edgecnn.quantize.simulate import weight_bits

    digest = hashlib.sha256(f"{graph_module} {weight_bits(graph_module)}".encode())
    for name, tensor in graph_module.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:20]
