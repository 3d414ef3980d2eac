"""``edgecnn quantize``: a trained model to a verified bundle."""

from __future__ import annotations

from typing import Any, Literal

import click
from click.core import ParameterSource

from edgecnn.cli.bundling import (
    FileWords,
    Ways,
    bundle_options,
    formats_option,
    passes_option,
    run,
    split_names,
)
from edgecnn.cli.made_for import check_target
from edgecnn.cli.max_drop import float_options, way_to_layers
from edgecnn.cli.qat import SETTINGS, qat_options, way_to_trained
from edgecnn.cli.sources import SourceWords, source_options
from edgecnn.cli.train import recorded_command
from edgecnn.errors import UsageError
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, QUANTIZED

SYNTHETIC = "synthetic"  # as runtime.manifest has it, whose imports would slow --help down


class Calibration(click.ParamType):
    """A number of training images, or the word ``synthetic``."""

    name = "calibration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["synthetic"]:
        """The number, or the word. Any other text is refused."""
        if value == SYNTHETIC:
            return "synthetic"
        try:
            count = int(value)
        except ValueError:
            self.fail(f"'{value}' is neither a number of training images nor the word '{SYNTHETIC}'", param, ctx)
        if count < 1:
            self.fail(f"{count} is not in the range x>=1; give 1 or more, or the word '{SYNTHETIC}'", param, ctx)
        return count


@click.command(name="quantize")
@source_options
@click.option(
    "--recipe", default="static_w8a8", show_default=True, help=f"One of {', '.join(each.name for each in QUANTIZED)}."
)
@formats_option
@passes_option
@click.option(
    "--engine",
    metavar="NAME",
    help="Quantized engine of TorchScript: one that this torch has, as x86 or fbgemm. Default: qnnpack.",
)
@click.option(
    "--calibration",
    metavar="N|synthetic",
    type=Calibration(),
    default=CALIBRATION_IMAGES,
    show_default=True,
    help="Training images for the ranges; 'synthetic' makes images from the weights and reads no data set: --data then "
    "only names the shipped weights (not needed with --weights), and the accuracy stays unknown.",
)
@click.option(
    "--equalize",
    is_flag=True,
    help="Bring the channels of neighbouring layers to one size first; exact, without data.",
)
@click.option(
    "--mirrored",
    is_flag=True,
    help="Files that look at each image and its mirror image and give the mean of the logits: more often right, half "
    "as fast, a kilobyte larger.",
)
@float_options
@click.option(
    "--for", "target", metavar="TARGET",
    help="Choose the passes, and layers to keep float32 where that helps, by what they cost on x86, cortex-a53, "
    "cortex-a72, cortex-a76 (instructions, emulated), ssh://[USER@]HOST[:PORT], or auto: this machine.",
)  # fmt: skip
@qat_options
@bundle_options
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    recipe: str,
    formats: str,
    passes: str | None,
    engine: str | None,
    calibration: int | Literal["synthetic"],
    equalize: bool,
    mirrored: bool,
    float_layers: str | None,
    max_drop: float | None,
    target: str | None,
    qat: bool,
    qat_weights: str | None,
    force: bool,
    **options: Any,
) -> None:
    """Quantize a trained model and write float and quantized files as a bundle that a device can run.

    Every file is checked against PyTorch before it counts; the table says what quantization cost.
    """
    from edgecnn.quantize.recipe import parse

    words = SourceWords.take(options)
    files = FileWords(parse(recipe), formats, passes, float_layers, engine, equalize, mirrored)
    counted = context.get_parameter_source("calibration") is ParameterSource.COMMANDLINE and calibration != SYNTHETIC
    if counted and not files.recipe.calibrated:
        raise UsageError(f"--calibration finds ranges, and recipe {files.recipe.name} needs none; leave it out")
    if equalize and qat_weights is not None:
        raise UsageError("--equalize changes weights and --qat-weights gives trained ones; leave one of them out")
    if mirrored and (qat or qat_weights is not None):
        other = "qat" if qat else "qat-weights"
        raise UsageError(f"--mirrored calibrates what it makes, --{other} has ranges of its own; give one of the two")
    settings = {name: options.pop(name) for name in SETTINGS}
    trained = way_to_trained(
        qat, qat_weights, settings, files.recipe, force, lambda dataset: recorded_command(context, dataset),
        words.weights,
    )  # fmt: skip
    search = way_to_layers(max_drop, files, calibration)
    if target is not None:
        asked = {"passes": passes, "float_layers": float_layers, "max_drop": max_drop, "equalize": equalize or None}
        given = [name for name, value in asked.items() if value is not None]
        check_target(target, files.recipe, given, split_names(formats), trained is not None)
    run(words, calibration, files, Ways(trained, search, target), force=force, **options)
