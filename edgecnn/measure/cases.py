"""From files and bundles to what is to be measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.measure.measurement import Case
from edgecnn.measure.runtimes import RUNTIMES
from edgecnn.runtime.artifact import FORMAT_OF_SUFFIX
from edgecnn.runtime.bundle import Bundle, open_bundle
from edgecnn.runtime.files import sha256
from edgecnn.runtime.manifest import MANIFEST, Artifact


def find_cases(
    paths: Sequence[Path], runtimes: Sequence[str], threads: Sequence[int], batches: Sequence[int]
) -> list[Case]:
    """A case for every file, a bundle standing for all its artifacts, in every runtime of its format.

    A file inside a bundle folder is taken with what the manifest says of it. Raises UnknownNameError for a runtime,
    BadFileError for a path that is no artifact or bundle, UsageError when no runtime fits any of the files.
    """
    for name in runtimes:
        if name not in RUNTIMES:
            raise UnknownNameError("runtime", name, RUNTIMES)
    files = [file for path in paths for file in _files(path)]
    cases = [
        _case(path, bundle, artifact, runtime, count, batch)
        for path, bundle, artifact in files
        for runtime, count, batch in product(runtimes, threads, batches)
        if RUNTIMES[runtime].format == FORMAT_OF_SUFFIX[path.suffix]
    ]
    if not cases:
        raise UsageError(f"none of the {len(files)} files can run in {', '.join(runtimes)}; give another --runtime")
    return cases


def _files(path: Path) -> Iterator[tuple[Path, Bundle | None, Artifact | None]]:
    if path.is_dir():
        bundle = open_bundle(path)
        yield from ((path / artifact.file, bundle, artifact) for artifact in bundle.manifest.artifacts)
        return
    if path.suffix not in FORMAT_OF_SUFFIX or not path.is_file():
        raise BadFileError(f"{path} is not a bundle folder or a file ending in {', '.join(FORMAT_OF_SUFFIX)}")
    if (path.parent / MANIFEST).is_file():
        bundle = open_bundle(path.parent)
        yield path, bundle, bundle.file(path.name)
    else:
        yield path, None, None


def _case(path: Path, bundle: Bundle | None, artifact: Artifact | None, runtime: str, threads: int, batch: int) -> Case:
    return Case(
        file=str(path),
        bundle=None if bundle is None else str(bundle.path),
        bytes=path.stat().st_size,
        sha256=sha256(path),
        model=None if bundle is None else bundle.manifest.model.name,
        recipe=None if artifact is None else artifact.recipe,
        runtime=runtime,
        threads=threads,
        batch=batch,
    )
