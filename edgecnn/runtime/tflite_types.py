"""Which types the tensors of an operation may have together: the second half of the rules a file is held against.

LiteRT's kernels choose their code by the type of one tensor and then read and write the others as if they had the one
that belongs to it: a RESHAPE from float32 to int8 writes four times what its output holds, and a convolution reads a
scale for each filter, however many there are. Only combinations that kernels are made for are let through.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.runtime.tflite_shapes import ShapeError, Step, Taken

COMPUTED = ("float32", "int8", "uint8", "int16", "int32", "int64")  # what an operation may take and give
# Of layers: image, weights, bias, output. Weights of fewer bits under a float image are dynamic_w8 and its like.
LAYERS = (
    ("float32", "float32", "float32", "float32"),
    ("float32", "int8", "float32", "float32"),
    ("float32", "int4", "float32", "float32"),
    ("int8", "int8", "int32", "int8"),
    ("int8", "int4", "int32", "int8"),
    ("uint8", "uint8", "int32", "uint8"),
    ("int16", "int8", "int64", "int16"),
)
FILTERS_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
CONVERSIONS = {
    "CAST": (COMPUTED, COMPUTED),
    "DEQUANTIZE": (("float16", "int4", "int8", "uint8", "int16"), ("float32",)),
    "QUANTIZE": (("float32", "int8", "uint8", "int16"), ("int8", "uint8", "int16")),
}
# Inputs that are combined and so of one type; of all other operations the further inputs are numbers that steer it.
PAIRS = ("ADD", "BATCH_MATMUL", "DIV", "MAXIMUM", "MINIMUM", "MUL", "PRELU", "SQUARED_DIFFERENCE", "SUB")


def check_types(name: str, step: Step, outputs: Sequence[Taken]) -> None:
    """Raise ShapeError unless the types and scales of an operation, whose shapes fit, are those of a kernel."""
    if name in FILTERS_AXIS:
        _check_layer(name, step, outputs[0])
        return
    if name in CONVERSIONS:
        sources, results = CONVERSIONS[name]
        _need_one_of(step.given(0), sources)
        _need_one_of(outputs[0], results)
        _need_one_scale(outputs if name == "DEQUANTIZE" else [step.given(0), *outputs])
        return
    combined = _combined(name, step)
    kind = combined[0].dtype
    _need_one_of(combined[0], COMPUTED)
    for each in [*combined[1:], *outputs]:
        if each.dtype != kind:
            raise ShapeError(f"{each.dtype} beside {kind}")
    _need_one_scale([*combined, *outputs])


def _combined(name: str, step: Step) -> list[Taken]:
    """The inputs whose values are computed with."""
    if name in PAIRS:
        return [step.given(0), step.given(1)]
    if name == "CONCATENATION":
        return [step.given(index) for index in range(len(step.inputs))]
    if name == "PADV2":
        return [step.given(0), step.given(2)]
    return [step.given(1 if name == "SPLIT" else 0)]


def _check_layer(name: str, step: Step, output: Taken) -> None:
    image, weights = step.given(0), step.given(1)
    bias = step.inputs[2] if len(step.inputs) > 2 else None
    found = (image.dtype, weights.dtype, None if bias is None else bias.dtype, output.dtype)
    if not any(found == (each[0], each[1], bias and each[2], each[3]) for each in LAYERS):
        raise ShapeError(f"types {', '.join(map(str, found))} of image, weights, bias and output")
    _need_one_scale([image, output])
    if weights.dtype == "float32":
        return
    axis = FILTERS_AXIS[name]
    filters = weights.shape[axis]
    hybrid = image.dtype == "float32"
    if weights.scales != filters and (weights.scales != 1 or (hybrid and name == "DEPTHWISE_CONV_2D")):
        raise ShapeError(f"{weights.scales} scales for {filters} filters")
    if weights.scales > 1 and weights.scale_axis != axis:
        raise ShapeError(f"scales along axis {weights.scale_axis} of its weights, not {axis}")
    if bias is not None and bias.scales not in (0, 1, filters):
        raise ShapeError(f"{bias.scales} scales for a bias of {filters}")


def _need_one_of(tensor: Taken, kinds: Sequence[str]) -> None:
    if tensor.dtype not in kinds:
        raise ShapeError(f"a tensor of {tensor.dtype} (valid: {', '.join(kinds)})")


def _need_one_scale(tensors: Sequence[Taken]) -> None:
    for each in tensors:
        if each.dtype != "float32" and each.scales > 1:
            raise ShapeError(f"a tensor of {each.dtype} with {each.scales} scales, where kernels read one")
