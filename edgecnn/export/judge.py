"""From orders to judged files: make each, put it through the gate, score those that pass together.

A file that fails is one row that says why; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgecnn.data.dataset import batches
from edgecnn.errors import BadFileError, CheckFailedError, MissingExtraError
from edgecnn.evaluate import predictor
from edgecnn.export import parity
from edgecnn.export.blame import first_fault, layer_names
from edgecnn.export.drafts import Draft, Order, make
from edgecnn.export.integers import check_values
from edgecnn.export.source import Source
from edgecnn.export.torchscript import DEFAULT_ENGINE
from edgecnn.measure.accuracy import Predict, Score, score_together
from edgecnn.measure.comparison import Comparison
from edgecnn.measure.stats import agreement, sqnr
from edgecnn.quantize.normalize import form_of
from edgecnn.quantize.qdq import borders_of, float_operations, without_kernel
from edgecnn.quantize.recipe import FLOAT32, STATIC_W4A8
from edgecnn.quantize.trace import lost, tracer_of
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from edgecnn.runtime.files import sha256, write_bytes
from edgecnn.runtime.manifest import COLORS, Accuracy, Artifact, Image, InputTensor
from edgecnn.runtime.preprocess import OutputSpec
from edgecnn.runtime.runner import Runner
from edgecnn.runtime.tflite_file import BrokenFileError
from edgecnn.runtime.tflite_verifier import verify

SCORING_BATCH = 250
MODEL = "the PyTorch model"  # among scores by file
TOO_SMALL = "weights or values of some layer may be too small for the scales that engines can use"


@dataclass(frozen=True)
class Likeness:
    """How like PyTorch's float model a file is on ``images`` that nobody labelled.

    ``agreement`` is the share, 0 to 1, put in the same class; ``sqnr_db`` the signal to quantization noise of the
    logits, None where they are equal.
    """

    images: int
    agreement: float
    sqnr_db: float | None


@dataclass(frozen=True)
class Judged:
    """One order's outcome: an artifact with its gate and score, or the reason it failed.

    ``milliseconds`` is what making and checking it took; ``rewrites`` the passes that were applied. Where there is no
    data set to score on, there is a ``likeness`` instead of a score.
    """

    order: Order
    file: str
    milliseconds: float
    artifact: Artifact | None = None
    score: Score | None = None
    likeness: Likeness | None = None
    rewrites: tuple[str, ...] = ()
    failure: str | None = None


def image_of(source: Source) -> Image:
    """The input image as the manifest states it."""
    height, width, channels = source.dataset.image
    return Image(height, width, channels, color=next(name for name, count in COLORS.items() if count == channels))


def judge(orders: Iterable[Order], source: Source, folder: Path, say: Callable[[str], None]) -> list[Judged]:
    """Make every order's file in ``folder`` and judge it; ``say`` is told what is being done.

    Raises OutputError when the file system refuses, UsageError for a model that has no such form.
    """
    image = image_of(source)
    judged, drafts, told = [], {}, set[str]()
    for order in orders:
        file = order.file(source.header.model)
        say(f"making and checking {file}")
        started = time.monotonic()
        try:
            drafts[file], artifact = make_and_check(order, file, source, folder, image)
            notes = notes_of(drafts[file], artifact)
            for note in notes - told:
                say(note)
            told |= notes
            result = Judged(order, file, 0.0, artifact, rewrites=drafts[file].rewrites)
        except (CheckFailedError, BadFileError, MissingExtraError) as error:
            (folder / file).unlink(missing_ok=True)
            result = Judged(order, file, 0.0, failure=str(error))
        judged.append(replace(result, milliseconds=1000 * (time.monotonic() - started)))
    if source.held_out is not None:
        say(f"comparing with float on {len(source.held_out):,} other synthetic images")
        exact = np.concatenate([predictor(source.model)(piece) for piece in _pieces(source.held_out)])
        return [_compare(each, drafts, source.held_out, exact, folder, image) for each in judged]
    say(f"scoring on {len(source.dataset.test):,} test images")
    scores = _score({each.file: drafts[each.file] for each in judged if each.artifact}, source, folder, image)
    return [_pass_accuracy(each, drafts, scores, source, folder, image) for each in judged]


def make_and_check(order: Order, file: str, source: Source, folder: Path, image: Image) -> tuple[Draft, Artifact]:
    """Make one file, called ``file``, in ``folder`` and hold it against PyTorch; nothing is scored.

    Raises CheckFailedError, BadFileError or MissingExtraError, and may then leave the file.
    """
    draft = make(order, source)
    return draft, _pass_parity(file, draft, source, folder, image)


def notes_of(draft: Draft, artifact: Artifact) -> set[str]:
    """What a person should know of how a file was made: what tracing lost, and what it computes in float."""
    if draft.graph is None:
        return set()
    floats = artifact.gate.get("float_operations")
    listed = f"float operations, which have no integer kernel: {floats}" if floats else ""
    return {note for note in (lost(draft.graph), listed) if note}


def comparison(judged: list[Judged], file: str) -> Comparison | None:
    """``file`` against the float32 TFLite file on the same test images; None where one of them failed."""
    scores = {each.file: each.score for each in judged}
    floats = [each.score for each in judged if (each.order.format, each.order.recipe) == ("tflite", FLOAT32)]
    first, second = (floats[0] if floats else None), scores[file]
    return None if first is None or second is None else Comparison(first, second)


def _pass_parity(file: str, draft: Draft, source: Source, folder: Path, image: Image) -> Artifact:
    """Write a draft, open it as a device would, and check it against its reference."""
    path = folder / file
    if draft.format == "tflite":
        _check_operations(file, draft)
    write_bytes(path, draft.content)
    with _open(path, draft, image) as runner:
        structure: parity.Gate = {}
        if draft.format == "tflite":
            assert draft.graph is not None
            names = layer_names(draft.content, draft.graph)
            structure = parity.check_structure(file, draft.content, names.__getitem__)
            structure |= {"normalization": form_of(draft.graph), "traced_by": tracer_of(draft.graph)}
            if draft.recipe.simulated:
                borders, floats = borders_of(draft.graph), float_operations(draft.graph)
                structure |= parity.check_integers(file, draft.content, names.__getitem__, borders, floats)
                structure |= check_values(file, draft.content, draft.graph)
            elif draft.recipe.calibrated:
                structure |= parity.float_parts(draft.content)
        reference = np.concatenate([draft.reference(piece) for piece in _pieces(source.probes)])
        logits = np.concatenate([predict(runner, piece) for piece in _pieces(source.probes)])

        def blame() -> str:
            return _blame(draft, source, runner)

        if draft.recipe is FLOAT32:
            gate = parity.check_float(file, logits, reference, blame)
        else:
            gate = parity.check_quantized(file, logits, reference, blame, draft.agreement)
        return Artifact(
            file, draft.format, draft.recipe.name, path.stat().st_size, sha256(path),
            InputTensor(runner.input.layout, runner.input.dtype, runner.input.scale, runner.input.zero_point),
            runner.output, gate=gate | structure, engine=draft.engine, float_layers=draft.float_layers,
        )  # fmt: skip


def _check_operations(file: str, draft: Draft) -> None:
    """Raise CheckFailedError where the converter wrote what every device will refuse to run."""
    try:
        verify(draft.content)
    except BrokenFileError as error:
        assert draft.graph is not None
        unusual = float_operations(draft.graph) if draft.recipe.simulated else without_kernel(draft.graph)
        cause = f"; put another layer in the place of {', '.join(unusual)}, which may be why" if unusual else ""
        reason = error.reason.partition(" (")[0]  # without all that would be let through
        raise CheckFailedError(
            f"{file}: the converter made of the model what edgecnn lets no device run: {reason}{cause}"
        ) from error


def _compare(
    each: Judged, drafts: dict[str, Draft], images: np.ndarray, exact: np.ndarray, folder: Path, image: Image
) -> Judged:
    """Against the logits ``exact`` [n, classes] of the float model on ``images``, where nothing can be scored."""
    if each.artifact is None:
        return each
    with _open(folder / each.file, drafts[each.file], image) as runner:
        logits = np.concatenate([predict(runner, piece) for piece in _pieces(images)])
        try:
            parity.check_told_apart(each.file, logits, exact, lambda: TOO_SMALL)
        except CheckFailedError as error:
            return _refused(each, folder, error)
    likeness = Likeness(len(images), agreement(logits.argmax(1), exact.argmax(1)), sqnr(exact, logits))
    gate: parity.Gate = {
        "synthetic_images": likeness.images, "float_agreement": likeness.agreement, "float_sqnr_db": likeness.sqnr_db,
    }  # fmt: skip
    return replace(each, likeness=likeness, artifact=replace(each.artifact, gate=each.artifact.gate | gate))


def _score(passed: dict[str, Draft], source: Source, folder: Path, image: Image) -> dict[str, Score]:
    """Scores of all files that passed, by name, and of the model where they need it; each image is read once."""
    with ExitStack() as stack:
        models: dict[str, Runner | Predict] = {
            file: stack.enter_context(_open(folder / file, draft, image)) for file, draft in passed.items()
        }
        if any(_needs_the_model(draft, source) for draft in passed.values()):
            models[MODEL] = predictor(source.model)
        return score_together(models, batches(source.dataset.test, SCORING_BATCH)) if models else {}


def _needs_the_model(draft: Draft, source: Source) -> bool:
    """Where no accuracy was recorded, a file that is not float32 is held against the model's own."""
    return source.recorded_accuracy is None and draft.recipe is not FLOAT32


def _pass_accuracy(
    each: Judged, drafts: dict[str, Draft], scores: dict[str, Score], source: Source, folder: Path, image: Image
) -> Judged:
    if each.artifact is None:
        return each
    score, draft = scores[each.file], drafts[each.file]

    def blame() -> str:
        with _open(folder / each.file, draft, image) as runner:
            return _blame(draft, source, runner)

    try:
        most = parity.MAX_4_BIT_DROP if each.order.recipe is STATIC_W4A8 else parity.MAX_ACCURACY_DROP
        gate = parity.check_accuracy(each.file, score, source.recorded_accuracy, blame, most)
        if _needs_the_model(draft, source):
            gate |= parity.check_loss(each.file, Comparison(scores[MODEL], score), blame, most)
    except CheckFailedError as error:
        return _refused(each, folder, error)
    accuracy = Accuracy(score.right, score.images)
    return replace(
        each, score=score, artifact=replace(each.artifact, accuracy=accuracy, gate=each.artifact.gate | gate)
    )


def _refused(each: Judged, folder: Path, error: CheckFailedError) -> Judged:
    """The outcome without its file, which goes."""
    (folder / each.file).unlink()
    return replace(each, artifact=None, failure=str(error))


def _blame(draft: Draft, source: Source, runner: Runner) -> str:
    if draft.engine not in (None, DEFAULT_ENGINE):
        return f"the engine '{draft.engine}' computes otherwise on this machine; take {DEFAULT_ENGINE}, the default"
    if draft.graph is None or draft.format != "tflite":
        return f"{draft.format} has no layers that could be held against PyTorch's"
    return first_fault(draft.content, draft.graph, source.probes, runner.input)


def _open(path: Path, draft: Draft, image: Image) -> Runner:
    """Open a file that has no manifest yet; only a quantized TorchScript file needs to be told of its engine."""
    entry = None
    if draft.engine is not None:
        entry = Artifact(
            path.name, draft.format, draft.recipe.name, path.stat().st_size, sha256(path), InputTensor("NCHW"),
            OutputSpec(), engine=draft.engine,
        )  # fmt: skip
    return open_artifact(path, entry, image=image)


def _pieces(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + SCORING_BATCH] for start in range(0, len(images), SCORING_BATCH)]
