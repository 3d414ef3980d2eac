"""From files and bundles to what is to be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.measure.measurement import Case, Settings
from edgecnn.runtime.artifact import FORMAT_OF_SUFFIX
from edgecnn.runtime.bundle import Bundle, open_bundle
from edgecnn.runtime.engines import RUNTIMES, installed
from edgecnn.runtime.files import sha256
from edgecnn.runtime.manifest import MANIFEST, Artifact, Manifest


@dataclass(frozen=True)
class Order:
    """What a bench was asked for: files and bundles, the runtimes to try, numbers of threads and of images at once.

    No runtimes are all that are installed where the files are measured.
    """

    paths: tuple[Path, ...]
    runtimes: tuple[str, ...] = ()
    threads: tuple[int, ...] = (1,)
    batches: tuple[int, ...] = (1,)
    settings: Settings = field(default_factory=Settings)


def find_cases(order: Order, say: Callable[[str], None] = lambda _line: None) -> list[Case]:
    """A case for every file, a bundle standing for all its artifacts, in every runtime of its format.

    A file inside a bundle folder is taken with what the manifest says of it. ``say`` hears which files are left out
    because no runtime was named and none that is installed runs them. Raises UnknownNameError for a runtime,
    BadFileError for a path that is no artifact or bundle, UsageError when no runtime fits any of the files.
    """
    runtimes = order.runtimes or installed()
    for name in order.runtimes:
        if name not in RUNTIMES:
            raise UnknownNameError("runtime", name, RUNTIMES)
    files = [file for path in order.paths for file in _files(path)]
    cases = [
        _case(path, bundle, artifact, runtime, count, batch)
        for path, bundle, artifact in files
        for runtime, count, batch in product(runtimes, order.threads, order.batches)
        if RUNTIMES[runtime].format == FORMAT_OF_SUFFIX[path.suffix]
    ]
    if not cases:
        raise UsageError(
            f"none of the {len(files)} files can run in {', '.join(runtimes) or 'what is installed'}; give another "
            "--runtime, or see what 'edgecnn doctor' says of them"
        )
    if not order.runtimes:
        formats = {RUNTIMES[name].format for name in runtimes}
        for path, _, _ in files:
            if FORMAT_OF_SUFFIX[path.suffix] not in formats:
                say(f"{path} is left out: no runtime for {path.suffix} files is installed")
    return cases


def _files(path: Path) -> Iterator[tuple[Path, Bundle | None, Artifact | None]]:
    if path.is_dir():
        bundle = open_bundle(path)
        yield from ((path / artifact.file, bundle, artifact) for artifact in bundle.manifest.artifacts)
        return
    if path.suffix not in FORMAT_OF_SUFFIX or not path.is_file():
        what = "is not" if path.exists() else "is not there; give"
        raise BadFileError(f"{path} {what} a bundle folder or a file ending in {', '.join(FORMAT_OF_SUFFIX)}")
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
        sample=None if bundle is None else _sample(bundle.manifest),
    )


def _sample(manifest: Manifest) -> str | None:
    """The digest of the images that come with a bundle, if any do."""
    return next(
        (entry.sha256 for entry in manifest.files if manifest.sample and entry.file == manifest.sample.file), None
    )
