"""What each operation of an image classifier makes of the shapes of its inputs: the rules that a file is held against.

Kernels trust a file's strides, axes and weights more than they should. Only operations with a rule here may be in a
file that is not trusted, and a tensor's stored shape must be the one that follows, so that the memory a file wants is
known before it is run. A rule gives the shapes of the outputs, or raises ShapeError. See each operation's Prepare in
TFLite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from edgecnn.runtime.tflite_file import HIGHEST_RANK

MOST_NUMBERS = 2 * HIGHEST_RANK  # that a constant may steer an operation by: a pad has two for each axis
LONGEST_STEP = 1 << 12  # of a stride, a window, a dilation
LARGEST_SCRATCH = 1 << 28  # bytes that a kernel may want besides its tensors

Shape = tuple[int, ...]


class ShapeError(ValueError):
    """An operation's inputs, options and outputs do not fit together; the message says how."""


@dataclass(frozen=True)
class Taken:
    """A tensor of an operation; ``values`` of a constant, flat, are there for types whose values steer operations.

    ``scales`` is how many it is quantized by, of which several lie along ``scale_axis``.
    """

    shape: Shape
    dtype: str
    bytes: int
    values: np.ndarray | None
    scales: int
    scale_axis: int


@dataclass(frozen=True)
class Step:
    """An operation to be checked: its inputs (None where one is left out), the number of outputs, and its options.

    ``number(index, form, default)`` reads field ``index`` of its options; ``listed(index)`` one that holds int32.
    """

    inputs: tuple[Taken | None, ...]
    outputs: int
    number: Callable[[int, str, int], int]
    listed: Callable[[int], Shape]

    def given(self, index: int) -> Taken:
        """An input that must be there."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise ShapeError(f"input {index} is missing")
        return found

    def values(self, index: int, count: int | None = None, lowest: int = -(1 << 31)) -> list[int]:
        """The whole numbers of a constant input, each from ``lowest``; ``count`` of them, or up to MOST_NUMBERS."""
        values = self.given(index).values
        if values is None or self.given(index).dtype not in ("int32", "int64"):
            raise ShapeError(f"input {index} must hold whole numbers that are in the file")
        if len(values) > MOST_NUMBERS:
            raise ShapeError(f"input {index} holds {len(values)} numbers, at most {MOST_NUMBERS} are taken")
        if (count is not None and len(values) != count) or any(value < lowest for value in values):
            raise ShapeError(f"input {index} holds other numbers than such an operation takes")
        return [int(value) for value in values]

    def step(self, index: int, default: int = 0) -> int:
        """A stride, window or dilation among the options."""
        value = self.number(index, "i", default)
        _need(1 <= value <= LONGEST_STEP, f"a stride, window or dilation is {value}")
        return value


Rule = Callable[[Step], list[Shape]]


def _need(condition: bool, reason: str) -> None:
    if not condition:
        raise ShapeError(reason)


def _axis(value: int, rank: int) -> int:
    _need(-rank <= value < rank, f"axis {value} of a tensor of rank {rank}")
    return value % rank


def _same(step: Step) -> list[Shape]:
    return [step.given(0).shape]


def _broadcast(step: Step) -> list[Shape]:
    first, second = step.given(0).shape, step.given(1).shape
    rank = max(len(first), len(second))
    _need(rank <= 6, f"shapes of rank {rank} are not stretched to each other")
    pairs = zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True)
    shape = []
    for one, other in pairs:
        _need(one == other or 1 in (one, other), f"shapes {list(first)} and {list(second)} do not fit")
        shape.append(max(one, other))
    return [tuple(shape)]


def _slid(size: int, window: int, stride: int, dilation: int, padding: int) -> int:
    """Steps of a window over ``size`` pixels; padding 0 is SAME, 1 VALID."""
    _need(padding in (0, 1), f"padding {padding}")
    reach = (window - 1) * dilation + 1
    _need(reach <= size + 2 * LONGEST_STEP, f"a window of {reach} over {size} pixels")
    steps = -(-size // stride) if padding == 0 else -(-(size - reach + 1) // stride)
    _need(steps >= 1, f"a window of {reach} over {size} pixels")
    return steps


def _check_bias(bias: Taken, channels: int) -> None:
    _need(bias.shape == (channels,), f"a bias of {list(bias.shape)} for {channels} channels")
    _need(bias.dtype in ("float32", "int32", "int64"), f"a bias of {bias.dtype}")


def _convolution(step: Step) -> list[Shape]:
    image, weights = step.given(0), step.given(1)
    _need(len(image.shape) == len(weights.shape) == 4, "a convolution takes tensors of rank 4")
    (batch, height, width, channels), (filters, rows, columns, depth) = image.shape, weights.shape
    _need(channels % depth == 0 and filters % (channels // depth) == 0, f"{channels} channels in groups of {depth}")
    padding = step.number(0, "b", 0)
    high = _slid(height, rows, step.step(2), step.step(5, 1), padding)
    wide = _slid(width, columns, step.step(1), step.step(4, 1), padding)
    _check_bias(step.given(2), filters)
    scratch = batch * high * wide * rows * columns * max(8, depth * image.bytes // prod(image.shape))
    _need(scratch <= LARGEST_SCRATCH, f"a convolution that wants {scratch >> 20} MiB beside its tensors")
    return [(batch, high, wide, filters)]


def _depthwise(step: Step) -> list[Shape]:
    image, weights = step.given(0).shape, step.given(1).shape
    _need(len(image) == len(weights) == 4 and weights[0] == 1, "a depthwise convolution takes tensors of rank 4")
    (batch, height, width, channels), (_, rows, columns, filters) = image, weights
    multiplier = step.number(3, "i", 0)
    _need(multiplier * channels == filters, f"{channels} channels times {multiplier} are not {filters}")
    padding = step.number(0, "b", 0)
    high = _slid(height, rows, step.step(2), step.step(6, 1), padding)
    wide = _slid(width, columns, step.step(1), step.step(5, 1), padding)
    _check_bias(step.given(2), filters)
    return [(batch, high, wide, filters)]


def _pool(step: Step) -> list[Shape]:
    image = step.given(0).shape
    _need(len(image) == 4, "a pool takes a tensor of rank 4")
    padding = step.number(0, "b", 0)
    high = _slid(image[1], step.step(4), step.step(2), 1, padding)
    wide = _slid(image[2], step.step(3), step.step(1), 1, padding)
    return [(image[0], high, wide, image[3])]


def _fully_connected(step: Step) -> list[Shape]:
    taken, weights = step.given(0).shape, step.given(1).shape
    _need(len(weights) == 2, f"weights of rank {len(weights)}")
    _need(step.number(1, "b", 0) == 0, "weights in an order of their own")
    units, depth = weights
    _need(len(taken) >= 1 and prod(taken) % depth == 0, f"{list(taken)} values for weights of {depth}")
    if len(step.inputs) > 2 and step.inputs[2] is not None:
        _check_bias(step.given(2), units)
    if step.number(2, "B", 0):
        _need(taken[-1] == depth, f"{taken[-1]} values for weights of {depth}")
        return [(*taken[:-1], units)]
    return [(prod(taken) // depth, units)]


def _batch_matmul(step: Step) -> list[Shape]:
    first, second = step.given(0).shape, step.given(1).shape
    _need(2 <= len(first) <= 5 and len(first) == len(second), "matrices of different ranks")
    rows, inner = first[-2:][::-1] if step.number(0, "B", 0) else first[-2:]
    other, columns = second[-2:][::-1] if step.number(1, "B", 0) else second[-2:]
    _need(inner == other and first[:-2] == second[:-2], f"matrices {list(first)} and {list(second)}")
    return [(*first[:-2], rows, columns)]


def _reshape(step: Step) -> list[Shape]:
    taken = step.given(0).shape
    wanted = step.values(1, lowest=-1) if len(step.inputs) > 1 and step.inputs[1] is not None else [*step.listed(0)]
    _need(len(wanted) <= 8 and wanted.count(-1) <= 1 and min(wanted, default=1) >= -1, f"shape {wanted[:9]}")
    known = prod(size for size in wanted if size != -1)
    _need(known > 0 and prod(taken) % known == 0, f"{list(taken)} cannot have the shape {wanted}")
    shape = tuple(prod(taken) // known if size == -1 else size for size in wanted)
    _need(prod(shape) == prod(taken), f"{list(taken)} cannot have the shape {wanted}")
    return [shape]


def _squeeze(step: Step) -> list[Shape]:
    taken = step.given(0).shape
    axes = {_axis(value, len(taken)) for value in step.listed(0)[:8]}
    axes = axes or {index for index, size in enumerate(taken) if size == 1}
    _need(all(taken[axis] == 1 for axis in axes), "an axis that is longer than 1 cannot be dropped")
    return [tuple(size for index, size in enumerate(taken) if index not in axes)]


def _expand(step: Step) -> list[Shape]:
    taken = step.given(0).shape
    (axis,) = step.values(1, 1)
    place = _axis(axis, len(taken) + 1)
    return [(*taken[:place], 1, *taken[place:])]


def _transpose(step: Step) -> list[Shape]:
    taken = step.given(0).shape
    order = step.values(1, len(taken))
    _need(len(taken) <= 6 and sorted(order) == [*range(len(taken))], f"order {order}")
    return [tuple(taken[axis] for axis in order)]


def _pad(step: Step) -> list[Shape]:
    taken = step.given(0).shape
    widths = step.values(1, 2 * len(taken), lowest=0)
    _need(len(taken) <= 5 and step.given(1).shape == (len(taken), 2), "pads of another rank")
    _need(max(widths, default=0) <= LONGEST_STEP, f"a pad of {max(widths, default=0)}")
    if len(step.inputs) > 2:
        _need(prod(step.given(2).shape) == 1, "a pad of several values")
    return [tuple(size + widths[2 * axis] + widths[2 * axis + 1] for axis, size in enumerate(taken))]


def _mirror_pad(step: Step) -> list[Shape]:
    taken = step.given(0).shape
    widths = step.values(1, 2 * len(taken), lowest=0)
    overlap = step.number(0, "b", 0) == 0  # REFLECT, which leaves out the edge
    for axis, size in enumerate(taken):
        _need(max(widths[2 * axis : 2 * axis + 2]) <= size - overlap, "a mirror narrower than its pad")
    return _pad(step)


def _concatenation(step: Step) -> list[Shape]:
    first = step.given(0).shape
    axis = _axis(step.number(0, "i", 0), len(first))
    _need(step.number(1, "b", 0) == 0, "a concatenation with an activation")
    total = 0
    for index in range(len(step.inputs)):
        shape = step.given(index).shape
        _need(len(shape) == len(first), "tensors of different ranks in one row")
        _need((*shape[:axis], *shape[axis + 1 :]) == (*first[:axis], *first[axis + 1 :]), "tensors of different sizes")
        _need(step.given(index).dtype == step.given(0).dtype, "tensors of different types in one row")
        total += shape[axis]
    return [(*first[:axis], total, *first[axis + 1 :])]


def _split(step: Step) -> list[Shape]:
    taken, (axis,) = step.given(1).shape, step.values(0, 1)
    place, count = _axis(axis, len(taken)), step.number(0, "i", 0)
    _need(1 <= count == step.outputs and taken[place] % count == 0, f"{list(taken)} in {count} parts")
    return [(*taken[:place], taken[place] // count, *taken[place + 1 :])] * count


def _slice(step: Step) -> list[Shape]:
    taken = step.given(0).shape
    starts, sizes = step.values(1, len(taken), lowest=0), step.values(2, len(taken), lowest=-1)
    _need(len(taken) <= 5, "a slice of a tensor of high rank")
    ends = [full if size == -1 else start + size for start, size, full in zip(starts, sizes, taken, strict=True)]
    for start, end, full in zip(starts, ends, taken, strict=True):
        _need(start < end <= full, f"{start} to {end} of {full}")
    return [tuple(end - start for start, end in zip(starts, ends, strict=True))]


def _strided_slice(step: Step) -> list[Shape]:
    taken = step.given(0).shape
    rank = len(taken)
    starts, ends, strides = (step.values(index, rank) for index in (1, 2, 3))
    starting, ending, ellipsis, fresh, shrunk = (step.number(index, "i", 0) for index in range(5))
    plain = ellipsis == fresh == shrunk == step.number(5, "B", 0) == 0
    _need(rank <= 5 and plain, "a slice that changes its rank")
    shape = []
    for axis, full in enumerate(taken):
        _need(1 <= strides[axis] <= LONGEST_STEP, f"a stride of {strides[axis]}")
        start = 0 if starting >> axis & 1 else starts[axis] + full * (starts[axis] < 0)
        end = full if ending >> axis & 1 else min(ends[axis] + full * (ends[axis] < 0), full)
        _need(0 <= start < end, f"{starts[axis]} to {ends[axis]} of {full}")
        shape.append(-(-(end - start) // strides[axis]))
    return [tuple(shape)]


def _reduce(step: Step) -> list[Shape]:
    taken = step.given(0).shape
    _need(len(taken) <= 5, "a sum over a tensor of high rank")
    axes = {_axis(value, len(taken)) for value in step.values(1)[:9]}
    _need(len(step.values(1)) == len(axes) > 0, "axes that are named twice, or none")
    if step.number(0, "B", 0):
        return [tuple(1 if axis in axes else size for axis, size in enumerate(taken))]
    return [tuple(size for axis, size in enumerate(taken) if axis not in axes)]


def _reverse(step: Step) -> list[Shape]:
    taken, axes = step.given(0).shape, step.values(1)
    _need(len(taken) <= 5 and 0 < len(axes) <= len(taken), f"{len(axes)} axes of a tensor of rank {len(taken)}")
    _need(len({_axis(value, len(taken)) for value in axes}) == len(axes), "axes that are named twice")
    return [taken]


def _resize(step: Step) -> list[Shape]:
    taken, (height, width) = step.given(0).shape, step.values(1, 2, lowest=1)
    _need(len(taken) == 4 and max(height, width) <= LONGEST_STEP, f"{list(taken)} as {height}x{width}")
    return [(taken[0], height, width, taken[3])]


# By the names of tflite_file.NAMES. An operation that is not here is refused.
_PIECEWISE = """
ABS CAST DEQUANTIZE ELU EXP GELU HARD_SWISH L2_NORMALIZATION LEAKY_RELU LOGISTIC LOG_SOFTMAX NEG QUANTIZE RELU RELU6
RELU_0_TO_1 RELU_N1_TO_1 RSQRT SOFTMAX SQRT SQUARE TANH
"""
_PAIRWISE = "ADD DIV MAXIMUM MINIMUM MUL PRELU SQUARED_DIFFERENCE SUB"
RULES: dict[str, Rule] = {
    **dict.fromkeys(_PIECEWISE.split(), _same),
    **dict.fromkeys(_PAIRWISE.split(), _broadcast),
    "AVERAGE_POOL_2D": _pool, "BATCH_MATMUL": _batch_matmul, "CONCATENATION": _concatenation, "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise, "EXPAND_DIMS": _expand, "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pool, "MEAN": _reduce, "MIRROR_PAD": _mirror_pad, "PAD": _pad, "PADV2": _pad,
    "REDUCE_MAX": _reduce, "REDUCE_MIN": _reduce, "RESHAPE": _reshape, "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize, "REVERSE_V2": _reverse, "SLICE": _slice, "SPLIT": _split, "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice, "SUM": _reduce, "TRANSPOSE": _transpose,
}  # fmt: skip


def check_shapes(name: str, step: Step, outputs: Sequence[Shape]) -> None:
    """Raise ShapeError unless the outputs of an operation that has a rule have the shapes that follow."""
    expected = RULES[name](step)
    if list(outputs) != expected:
        raise ShapeError(f"outputs {[list(each) for each in outputs]}, but {[list(each) for each in expected]} follow")
