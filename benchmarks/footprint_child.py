"""What footprint.py runs in fresh processes of the light install; ``footprint_child.py WHAT ...`` prints JSON.

WHAT is one of

    packages                      what is installed, with its bytes
    modules WORDS...              what edgecnn WORDS imported
    import MODULE...              milliseconds of CPU to import them
    verb COUNT BUNDLE IMAGE...    bytes resident after edgecnn classify of that many images
    script COUNT FILE IMAGE...    the same of ten_lines.py
    growth COUNT BUNDLE IMAGE...  bytes resident after each tenth of that many images, by the API
    overhead COUNT BUNDLE         microseconds for one image: edgecnn, ten lines, the runner, invoke()
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import itertools
import json
import resource
import runpy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

AT_START = frozenset(sys.modules)  # this file's own, and what the environment imports by itself
SCRIPT = Path(__file__).with_name("ten_lines.py")


def packages() -> list[dict[str, Any]]:
    """Name, version and bytes on disk of each distribution, edgecnn's weights apart; pip is none of them."""
    rows = []
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"].lower()
        files = [(str(file), Path(str(file.locate()))) for file in distribution.files or ()]
        sizes = [(file, path.stat().st_size) for file, path in files if path.is_file()]
        weights = sum(size for file, size in sizes if file.endswith(".safetensors"))
        rows.append({"package": name, "version": distribution.version, "bytes": sum(s for _, s in sizes) - weights})
        if weights:
            rows.append({"package": f"{name}'s weights", "version": distribution.version, "bytes": weights})
    return [row for row in rows if row["package"] not in ("pip", "setuptools")]


def modules(words: list[str]) -> dict[str, Any]:
    """The packages from outside the standard library that a run imported, and how many modules in all."""
    from edgecnn.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    new = {name: module for name, module in sys.modules.items() if name not in AT_START}
    files = {name: str(getattr(module, "__file__", None)) for name, module in new.items()}
    found = {name.partition(".")[0] for name, file in files.items() if "site-packages" in file}
    return {"code": code, "packages": sorted(found), "modules": len(files)}


def import_time(names: list[str]) -> float:
    """Milliseconds of CPU to import the modules."""
    start = time.process_time()
    for name in names:
        importlib.import_module(name)
    return 1000 * (time.process_time() - start)


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def verb(count: int, bundle: str, images: list[str]) -> int:
    """Bytes resident after ``edgecnn classify`` of ``count`` images, in this process."""
    from edgecnn.cli.main import main

    with contextlib.redirect_stdout(_Nowhere()):
        if main(["classify", bundle, *itertools.islice(itertools.cycle(images), count)]):
            raise SystemExit(1)
    return resident()


def script(count: int, file: str, images: list[str]) -> int:
    """The same of ten_lines.py."""
    sys.argv[1:] = [file, *itertools.islice(itertools.cycle(images), count)]
    with contextlib.redirect_stdout(_Nowhere()):
        names = runpy.run_path(str(SCRIPT))  # held, as its process holds them to its end
    return resident() if names else 0


def growth(count: int, bundle: str, images: list[str]) -> list[list[int]]:
    """[images, bytes resident] after 1,000 images and after each tenth of ``count``."""
    from edgecnn.runtime.bundle import find_artifact
    from edgecnn.runtime.classify import classify

    found, artifact = find_artifact(Path(bundle))
    paths = itertools.cycle(map(Path, images))
    stops = {1000, *range(count // 10, count + 1, count // 10)}
    rows = []
    with found.open(artifact) as runner:
        for number in range(1, count + 1):
            classify(runner, found.labels, next(paths), 3)
            if number in stops:
                rows.append([number, resident()])
    return rows


def overhead(count: int, bundle: str) -> dict[str, float]:
    """Median microseconds from one image's pixels to its class, of our runner's share of it, and of invoke() alone.

    All are by turns, one call each. The ten lines' interpreter is made with AMX withheld too, which decides how fast
    both are.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from edgecnn.runtime import amx
    from edgecnn.runtime.bundle import find_artifact
    from edgecnn.runtime.classify import predict
    from edgecnn.runtime.preprocess import prepare

    found, artifact = find_artifact(Path(bundle))
    image = found.sample()[0][:1]
    runner = found.open(artifact)
    interpreter = Interpreter(str(found.path / artifact.file), num_threads=1)
    with amx.withheld():
        interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def ours() -> int:
        return int(predict(runner, image)[0].argmax())

    def theirs() -> int:
        interpreter.set_tensor(source, (image ^ 0x80).view(np.int8))
        interpreter.invoke()
        return int(interpreter.get_tensor(target)[0].argmax())

    if ours() != theirs():
        raise SystemExit("edgecnn and the ten lines give another class")
    tensor = prepare(image, runner.input)
    calls: dict[str, Callable[[], object]] = {
        "edgecnn": ours, "ten_lines": theirs, "runner": lambda: runner.run(tensor), "invoke": interpreter.invoke,
    }  # fmt: skip
    took: dict[str, list[int]] = {name: [] for name in calls}
    for order in itertools.islice(itertools.cycle(itertools.permutations(calls)), count):
        for name in order:
            call = calls[name]
            start = time.perf_counter_ns()
            call()
            took[name].append(time.perf_counter_ns() - start)
    return {name: statistics.median(values[count // 10 :]) / 1000 for name, values in took.items()}


class _Nowhere(io.TextIOBase):
    """Standard output that keeps nothing."""

    def write(self, text: str, /) -> int:
        return len(text)


def main(what: str, *words: str) -> object:
    """The answer to one of the questions above."""
    match what, words:
        case "packages", ():
            return packages()
        case "modules", _:
            return modules(list(words))
        case "import", _:
            return import_time(list(words))
        case "verb", (count, bundle, *images):
            return verb(int(count), bundle, images)
        case "script", (count, file, *images):
            return script(int(count), file, images)
        case "growth", (count, bundle, *images):
            return growth(int(count), bundle, images)
        case "overhead", (count, bundle):
            return overhead(int(count), bundle)
        case _:
            raise SystemExit(str(__doc__))


if __name__ == "__main__":
    answer = main(*sys.argv[1:])
    print(json.dumps(answer))
