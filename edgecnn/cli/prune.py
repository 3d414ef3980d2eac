"""``edgecnn prune``: a trained network to a narrower one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli.options import VIEWS, compile_option, force_option, json_option, print_json, teacher_option
from edgecnn.cli.progress import Progress
from edgecnn.cli.sources import SourceWords, source_options
from edgecnn.cli.train import check_apart, check_heard, recorded_command
from edgecnn.errors import CheckFailedError, UsageError
from edgecnn.quantize.recipe import CALIBRATION_IMAGES

if TYPE_CHECKING:
    from edgecnn.measure.costs import Measure


@click.command(name="prune")
@source_options
@click.option(
    "--target", required=True, metavar="KIND:SHARE",
    help="What to come down to: macs:0.5 (multiply-accumulates), or bytes:0.5 or latency:0.5 of the static_w8a8 "
    "TFLite file, measured on this machine.",
)  # fmt: skip
@click.option("--importance", default="l2", show_default=True, help="Which channels stay: l1, l2 or taylor.")
@click.option("--steps", type=click.IntRange(1), default=3, show_default=True, help="Cuts, each trained on after.")
@click.option(
    "--multiple", type=click.IntRange(1), default=8, show_default=True,
    help="Channels of a layer come down to a multiple of this, or, where it has few, of its half or quarter.",
)  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), help="Of the last step; the others have a tenth. Default: 20.")
@click.option("--learning-rate", type=float, help="Peak of each step. Default: what suits the weights' optimizer.")
@click.option("--batch-size", type=click.IntRange(1), help="Images of a training step. Default: 256.")
@teacher_option
@click.option(
    "--distillation", type=float,
    help="Share of the loss that is the teacher's or, without one, the unpruned network's. Default: 0.5.",
)  # fmt: skip
@click.option("--views", type=click.IntRange(0), help=f"{VIEWS} Default: 0.")
@click.option("--validation", type=float, help="Fraction held out, as in training these weights; test is not used.")
@click.option("--seed", type=int, help="Default: 0.")
@click.option("--precision", help="float32 or bfloat16. Default: float32.")
@compile_option()
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. Default: runs/MODEL-DATA-TARGET.")
@click.option("--resume", is_flag=True, help="Go on from the last epoch in the run folder.")
@force_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    target: str,
    importance: str,
    steps: int,
    multiple: int,
    teachers: tuple[Path, ...],
    device: str,
    out: Path | None,
    resume: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Take whole channels out of a trained network and train on what is left, in steps.

    The weights fit every verb that takes --weights. The table says what they cost beside the unpruned ones.
    """
    from edgecnn import checkpoint
    from edgecnn.data.dataset import held_apart
    from edgecnn.evaluate import score_model
    from edgecnn.export.weigh import Scale
    from edgecnn.models import cost
    from edgecnn.prune.iterate import DISTILLATION, Pruning, prune, settings
    from edgecnn.prune.target import LATENCY, MACS, Target
    from edgecnn.train import WEIGHTS, TrainRecipe
    from edgecnn.train.distill import load_teachers

    words = SourceWords.take(options)
    pruning = Pruning(Target.parse(target), importance, steps, multiple)
    given = {("compile" if name == "compiled" else name): value for name, value in options.items() if value is not None}
    check_heard(teachers, options["distillation"])
    TrainRecipe(**{"distillation": DISTILLATION} | given)  # refused here, before the data is read
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("pruning trains in one process; run it without torchrun")
    source = words.source(CALIBRATION_IMAGES)
    header, dataset = source.header, source.dataset
    recipe = settings(header, mirrorable=dataset.mirrorable, **given)
    taught_by, origin = load_teachers(teachers, dataset) if teachers else (None, None)
    folder = out or Path("runs") / f"{source.name}-{str(pruning.target).replace(':', '')}"
    check_apart(folder, [*([] if words.weights is None else [words.weights]), *teachers])
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as work, Progress() as say:
        scale = Scale(source, Path(work), timer(say))
        kind = pruning.target.kind
        done, plan = prune(
            source.model, header, dataset, pruning, recipe, folder,
            measure=None if kind == MACS else scale.latency if kind == LATENCY else scale.bytes, say=say,
            teacher=taught_by, origin=origin, device=device, resume=resume, force=force,
            command=recorded_command(context, dataset.name),
        )  # fmt: skip
        network, _ = checkpoint.load_model(folder / WEIGHTS, header.model)
        say("making and timing the files")
        weighed = scale.weigh(network, well=kind == LATENCY)
    judge = "validation" if recipe.validation else "test"
    split = held_apart(dataset.train, recipe.validation)[1] or dataset.test
    rows = {
        "accuracy": (score_model(source.model, split).accuracy, done.metrics[f"{judge}_accuracy"]),
        "macs": tuple(cost.macs(each, header.arguments) for each in (source.model, network)),
        "parameters": tuple(cost.parameters(each) for each in (source.model, network)),
        "bytes": weighed.bytes,
        "latency_us": weighed.microseconds,
    }
    shares = {name: after / before for name, (before, after) in rows.items() if name != "accuracy"}
    reached = shares["latency_us" if kind == LATENCY else kind]
    document = {
        "model": header.model,
        "dataset": dataset.name,
        "note": dataset.note,
        "target": str(pruning.target),
        "met": reached <= pruning.target.share,
        "judged_on": judge,
        "unpruned": {name: before for name, (before, _) in rows.items()},
        "pruned": {name: after for name, (_, after) in rows.items()},
        "shares": shares,
        "doubts": list(weighed.doubts),
        "widths": done.widths,
        "trials": plan.to_json()["trials"],
        "training": done.training,
        "weights": str(folder / WEIGHTS),
    }
    if as_json:
        print_json(document)
    else:
        click.echo(text(document))
    if not document["met"]:
        raise CheckFailedError(
            f"target {target} was missed by the last measurement: {reached:.3f}; ask for less, or measure on a quieter "
            "machine"
        )


def timer(say: Progress) -> Measure:
    """What times files on this machine."""
    from edgecnn.cli.made_for import Timed
    from edgecnn.cli.targets import LOCAL

    return Timed(LOCAL, say)


def text(document: dict[str, Any]) -> str:
    """What a person reads: both networks side by side, and where the weights are."""
    from edgecnn.report.table import table

    before, after, shares = document["unpruned"], document["pruned"], document["shares"]
    change = 100 * (after["accuracy"] - before["accuracy"])
    rows = [
        (f"{document['judged_on']} accuracy, float32", f"{100 * before['accuracy']:.2f} %",
         f"{100 * after['accuracy']:.2f} %", f"{change:+.2f} points"),
        ("MACs", f"{before['macs']:,}", f"{after['macs']:,}", f"{shares['macs']:.3f}"),
        ("parameters", f"{before['parameters']:,}", f"{after['parameters']:,}", f"{shares['parameters']:.3f}"),
        ("bytes, static_w8a8", f"{before['bytes']:,}", f"{after['bytes']:,}", f"{shares['bytes']:.3f}"),
        ("microseconds, static_w8a8", f"{before['latency_us']:,.1f}", f"{after['latency_us']:,.1f}",
         f"{shares['latency_us']:.3f}"),
    ]  # fmt: skip
    kind = document["target"].partition(":")[0]
    reached = shares["latency_us" if kind == "latency" else kind]
    verdict = "met" if document["met"] else "missed"
    return "\n".join([
        table(["", "unpruned", "pruned", "share"], rows, "lrrr"),
        "",
        *(f"doubt: {doubt}" for doubt in document["doubts"]),
        f"target {document['target']} {verdict}: {reached:.3f}",
        f"weights {document['weights']}",
    ])  # fmt: skip
