"""What ``quantize --qat`` and ``--qat-weights`` add: their options, and the trained weights they come to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli.options import compile_option
from edgecnn.errors import BadFileError, UsageError

if TYPE_CHECKING:
    from edgecnn.export.source import Source
    from edgecnn.quantize.qat import Trained
    from edgecnn.quantize.recipe import Recipe

SHIPPED = "shipped"
_OPTIONS = (
    click.option(
        "--qat", is_flag=True, help="Train on under quantization first, starting from what calibration gives."
    ),
    click.option(
        "--qat-weights", metavar="FILE", help=f"Weights that --qat trained, to use again; '{SHIPPED}': those that ship."
    ),
    click.option("--epochs", type=click.IntRange(1), help="Of --qat. Default: 4."),
    click.option(
        "--learning-rate", type=float, help="Of --qat, at the start. Default: 0.01, with 4-bit weights 0.002."
    ),
    click.option("--batch-size", type=click.IntRange(1), help="Of --qat. Default: 256."),
    click.option("--seed", type=int, help="Of --qat. Default: 0."),
    click.option(
        "--ranges",
        type=click.Choice(["following", "learned"]),
        help="Of --qat: 'following' the batches, frozen half way; 'learned' like weights (LSQ). Default: following.",
    ),
    click.option("--precision", help="Of --qat: float32 or bfloat16. Default: float32."),
    compile_option("Of --qat. "),
    click.option("--device", help="Of --qat: auto, cpu or cuda. Default: auto."),
    click.option("--run", type=click.Path(path_type=Path), help="Folder of --qat. Default: runs/MODEL-DATA...-qat."),
    click.option("--resume", is_flag=True, default=None, help="Go on from the checkpoint in the folder of --qat."),
)
SETTINGS = (
    "epochs", "learning_rate", "batch_size", "seed", "ranges", "precision", "compiled", "device", "run", "resume",
)  # fmt: skip


def qat_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a click command, which gets their values by name; those not given are None."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def way_to_trained(
    qat: bool,
    qat_weights: str | None,
    values: dict[str, Any],
    recipe: Recipe,
    force: bool,
    command: Callable[[str], str],
    weights: Path | None,
) -> Callable[[Source, tuple[str, ...]], Trained] | None:
    """How to come from a source and the chosen rewrites to trained weights; None where nothing was trained.

    ``values`` are the settings by name, ``command(dataset)`` is the line that is recorded, ``weights`` the file that
    the training begins with, which it must not replace. Raises UsageError for options that do not go together, before
    anything is read.
    """
    from edgecnn.quantize.recipe import SIMULATED, STATIC_W8A8
    from edgecnn.train import TrainRecipe

    given = {name: values[name] for name in SETTINGS if values[name] is not None}
    if given and not qat:
        name = "compile" if "compiled" in given else next(iter(given)).replace("_", "-")
        raise UsageError(f"--{name} is a setting of the training that --qat does; add --qat")
    if not qat and qat_weights is None:
        return None
    if qat and qat_weights is not None:
        raise UsageError("--qat trains weights and --qat-weights uses trained ones; give one of them")
    if not recipe.simulated:
        known = " and ".join(each.name for each in SIMULATED)
        raise UsageError(f"--qat is for the recipes {known}, not for {recipe.name}; choose one of them")
    if qat_weights is not None:
        return lambda source, rewrites: _load(qat_weights, source, recipe)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--qat trains in one process; run it without torchrun")
    others = {name: given.pop(name) for name in ("ranges", "device", "run", "resume") if name in given}
    if "compiled" in given:
        given["compile"] = given.pop("compiled")
    TrainRecipe(**given)  # refused here, before the data is read

    def train(source: Source, rewrites: tuple[str, ...]) -> Trained:
        from edgecnn.cli.train import check_apart
        from edgecnn.quantize import qat as training

        header = source.header
        # A folder of its own for each recipe, the usual one without its name.
        which = "" if recipe is STATIC_W8A8 else f"-{recipe.name}"
        folder = others.get("run") or Path("runs") / f"{source.name}{which}-qat"
        check_apart(folder, [] if weights is None else [weights], "--run")
        return training.train(
            source.model,
            header,
            source.dataset,
            source.calibration_batches(),
            training.settings(header, recipe, mirrorable=source.dataset.mirrorable, **given),
            folder,
            rewrites=rewrites,
            quantized=recipe,
            ranges=others.get("ranges", training.FOLLOWING),
            device=others.get("device", "auto"),
            resume=others.get("resume", False),
            force=force,
            command=command(source.dataset.name),
        )

    return train


def _load(name: str, source: Source, recipe: Recipe) -> Trained:
    """The weights in a file, or those that ship, for ``recipe``. Raises BadFileError."""
    from edgecnn import checkpoint
    from edgecnn.quantize.qat import Trained

    header = source.header
    path = Path(name)
    if name == SHIPPED:
        found = checkpoint.shipped(header.model, source.dataset.name, recipe.name)
        if found is None:
            raise BadFileError(
                f"no weights of '{header.model}' that were trained for {recipe.name} and data set "
                f"'{source.dataset.name}' come with edgecnn; train them with --qat"
            )
        path = found
    trained = Trained.load(path, source.model, header)
    if trained.recipe is not recipe:
        raise BadFileError(f"{path} was trained for {trained.recipe.name}, not for {recipe.name}; change --recipe")
    return trained
