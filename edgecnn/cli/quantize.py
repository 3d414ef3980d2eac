"""``edgecnn quantize``: a trained model to a verified bundle."""

from __future__ import annotations

from typing import Any

import click

from edgecnn.cli.bundling import passes_option, run, weights_option
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


@click.command(name="quantize")
@model_option
@weights_option
@data_option
@image_option
@mean_option
@std_option
@broken_option
@click.option("--recipe", default="static_w8a8", show_default=True, help="static_w8a8, static_w8a16, dynamic_w8 ...")
@click.option("--format", "formats", default="tflite,torchscript,onnx", show_default=True, help="With commas.")
@passes_option
@click.option("--engine", metavar="NAME", help="Quantized engine of TorchScript. Default: qnnpack.")
@click.option(
    "--calibration", type=click.IntRange(1), default=512, show_default=True, help="Training images for the ranges."
)
@out_option
@force_option
@json_option
def command(recipe: str, **options: Any) -> None:
    """Quantize a trained model and write float and quantized files as a bundle that a device can run.

    Every file is checked against PyTorch before it counts; the table says what quantization cost.
    """
    from edgecnn.quantize.recipe import parse

    run(recipe=parse(recipe), **options)
