"""``edgecnn export``: a trained model as float files."""

from __future__ import annotations

from typing import Any

import click

from edgecnn.cli.bundling import passes_option, run, sign_option, weights_option
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


@click.command(name="export")
@model_option
@weights_option
@data_option
@image_option
@mean_option
@std_option
@broken_option
@click.option("--format", "formats", default="tflite,torchscript,onnx", show_default=True, help="With commas.")
@passes_option
@sign_option
@out_option
@force_option
@json_option
def command(**options: Any) -> None:
    """Write a trained model as float32 files, each checked against PyTorch, in a bundle."""
    from edgecnn.quantize.recipe import FLOAT32

    run(recipe=FLOAT32, engine=None, calibration=1, **options)
