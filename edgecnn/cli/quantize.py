"""``edgecnn quantize``: a trained model to a verified bundle."""

from __future__ import annotations

from typing import Any, Literal

import click

from edgecnn.cli.bundling import passes_option, run, sign_option, split_names, weights_option
from edgecnn.cli.made_for import check_target
from edgecnn.cli.max_drop import float_options, way_to_layers
from edgecnn.cli.options import (
    broken_option,
    data_option,
    force_option,
    image_option,
    json_option,
    mean_option,
    model_option,
    out_option,
    std_option,
)
from edgecnn.cli.qat import SETTINGS, qat_options, way_to_trained
from edgecnn.cli.train import recorded_command
from edgecnn.errors import UsageError

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
@model_option
@weights_option
@data_option
@image_option
@mean_option
@std_option
@broken_option
@click.option("--recipe", default="static_w8a8", show_default=True, help="static_w8a8, static_w4a8, static_w8a16 ...")
@click.option("--format", "formats", default="tflite,torchscript,onnx", show_default=True, help="With commas.")
@passes_option
@click.option("--engine", metavar="NAME", help="Quantized engine of TorchScript. Default: qnnpack.")
@click.option(
    "--calibration",
    metavar="N|synthetic",
    type=Calibration(),
    default=512,
    show_default=True,
    help="Training images for the ranges; 'synthetic' makes images from the weights and reads no data set: --data then "
    "only names the shipped weights (not needed with --weights), and the accuracy stays unknown.",
)
@click.option(
    "--equalize",
    is_flag=True,
    help="Bring the channels of neighbouring layers to one size first; exact, without data.",
)
@float_options
@click.option(
    "--for", "target", metavar="TARGET",
    help="Choose the passes, and layers to keep float32 where that helps, by what they cost on x86, cortex-a53, "
    "cortex-a72, cortex-a76 (instructions, emulated), ssh://[USER@]HOST[:PORT], or auto: this machine.",
)  # fmt: skip
@qat_options
@sign_option
@out_option
@force_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    recipe: str,
    equalize: bool,
    target: str | None,
    qat: bool,
    qat_weights: str | None,
    max_drop: float | None,
    force: bool,
    **options: Any,
) -> None:
    """Quantize a trained model and write float and quantized files as a bundle that a device can run.

    Every file is checked against PyTorch before it counts; the table says what quantization cost.
    """
    from edgecnn.quantize.recipe import parse

    chosen = parse(recipe)
    if equalize and qat_weights is not None:
        raise UsageError("--equalize changes weights and --qat-weights gives trained ones; leave one of them out")
    values = {name: options.pop(name) for name in SETTINGS}
    trained = way_to_trained(
        qat, qat_weights, values, chosen, force, lambda dataset: recorded_command(context, dataset)
    )
    search = way_to_layers(max_drop, options, chosen)
    if target is not None:
        names = ("passes", "float_layers")
        given = [name for name in names if options[name] is not None]
        given += ["max_drop"] * (max_drop is not None) + ["equalize"] * equalize
        check_target(target, chosen, given, split_names(options["formats"]), trained is not None)
    run(recipe=chosen, equalize=equalize, trained=trained, search=search, force=force, target=target, **options)
