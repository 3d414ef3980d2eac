"""Writing a bundle: the judged files, the manifest, labels, and a sample of the test images, if there are any."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import edgecnn
from edgecnn.checkpoint import tool_versions
from edgecnn.errors import CheckFailedError, UsageError
from edgecnn.export.drafts import Order
from edgecnn.export.judge import Judged, image_of, judge
from edgecnn.export.source import Source
from edgecnn.models.cost import macs, parameters
from edgecnn.quantize.recipe import Recipe
from edgecnn.runtime.artifact import FORMAT_OF_SUFFIX
from edgecnn.runtime.files import new_folder, refuse_existing, write_bytes
from edgecnn.runtime.made_for import MadeFor
from edgecnn.runtime.manifest import MANIFEST, Dataset, FileEntry, Manifest, Model, Sample
from edgecnn.runtime.signature import SIGNATURE, Sign

LABELS = "labels.txt"
SAMPLE = "sample.npz"
SAMPLE_IMAGES = 1000
NAMES = (MANIFEST, SIGNATURE, LABELS, SAMPLE)  # in a bundle, beside its artifacts
TOOLS = (
    "torch", "torchao", "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "onnx", "onnxscript",
    "onnxruntime", "numpy",
)  # fmt: skip


def check_place(out: Path, force: bool) -> None:
    """Raise OutputExistsError if ``out`` is there without ``force``, which replaces a bundle and nothing else.

    Raises UsageError for anything that is no bundle or holds more than one, OutputError where nothing can be written.
    """
    refuse_existing(out, force)
    if not os.path.lexists(out):
        return
    names = sorted(os.listdir(out)) if out.is_dir() else [out.name]
    others = [name for name in names if name not in NAMES and Path(name).suffix not in FORMAT_OF_SUFFIX]
    if others or (names and MANIFEST not in names):
        what = f"'{others[0]}' is no part of one" if others else f"{out} has no {MANIFEST}"
        raise UsageError(f"--force replaces a bundle and nothing else, and {what}; choose another --out than {out}")


def write_bundle(
    orders: Sequence[Order],
    recipe: Recipe,
    source: Source,
    out: Path,
    *,
    force: bool,
    say: Callable[[str], None],
    made_for: MadeFor | None = None,
    sign: Sign | None = None,
) -> list[Judged]:
    """Make and judge ``orders`` and write those that pass as the bundle folder ``out``.

    The bundle's main file is the TFLite file of ``recipe`` (or the first format ordered, without TFLite). ``made_for``
    says how ``orders`` were chosen, ``sign`` signs it all. Raises CheckFailedError, and writes nothing, if the main
    file fails or is not the one that was measured; what check_place does for ``out``.
    """
    check_place(out, force)
    with new_folder(out, force) as folder:
        judged = judge(orders, source, folder, say)
        main = next(each for each in judged if each.order.recipe is recipe)
        if main.artifact is None:
            raise CheckFailedError(f"no bundle was written: {main.failure}")
        if made_for is not None:
            _check_measured(judged, made_for)
        write_bytes(folder / LABELS, ("\n".join(source.dataset.classes) + "\n").encode())
        sample = _write_sample(folder / SAMPLE, source)
        _manifest(folder, judged, main, sample, source, made_for).save(folder)
        if sign is not None:
            sign(folder)
    return judged


def _write_sample(path: Path, source: Source) -> Sample | None:
    """The first test images uint8 [n, height, width, channels] and labels int64 [n]; None, and no file, of none."""
    test = source.dataset.test
    if not len(test):
        return None
    images, labels = test.take(np.arange(min(SAMPLE_IMAGES, len(test))))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=images, labels=labels.astype(np.int64))
    write_bytes(path, buffer.getvalue())
    return Sample(path.name, len(labels))


def _check_measured(judged: Sequence[Judged], made_for: MadeFor) -> None:
    """Raise CheckFailedError for a TFLite file that is not, byte for byte, one that was measured and chosen."""
    digests = [trial.sha256 for trial in made_for.trials if trial.chosen]
    for each in judged:
        if each.artifact is not None and each.artifact.format == "tflite" and each.artifact.sha256 not in digests:
            raise CheckFailedError(f"{each.file} came out otherwise than when it was measured; run again")


def _manifest(
    folder: Path,
    judged: Sequence[Judged],
    main: Judged,
    sample: Sample | None,
    source: Source,
    made_for: MadeFor | None,
) -> Manifest:
    arguments = source.arguments
    return Manifest(
        edgecnn=edgecnn.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=Model(
            source.header.model,
            {
                "num_classes": arguments.num_classes,
                "in_channels": arguments.in_channels,
                "image_size": tuple(arguments.image_size),
            },
            parameters(source.model),
            macs(source.model, arguments),
        ),
        dataset=Dataset(source.dataset.name, source.dataset.note, len(source.dataset.classes)),
        input=image_of(source),
        recipe=main.order.recipe.name,
        labels=LABELS,
        sample=sample,
        calibration=source.calibration if main.order.recipe.calibrated else None,
        qat=source.qat if main.order.recipe.simulated else None,
        passes=main.rewrites,
        made_for=made_for,
        mirrored=source.mirrored,
        artifacts=tuple(each.artifact for each in judged if each.artifact is not None),
        files=tuple(FileEntry.of(folder / name) for name in [LABELS, *([sample.file] if sample else [])]),
        tools=tool_versions(*TOOLS),
    )
