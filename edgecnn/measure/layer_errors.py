"""What quantization does to each layer of a bundle: its quantized .tflite file held against its float one, run here.

Each layer is looked at in three ways. As it runs, its values hold the errors of all layers before it. Alone, it is
given exact values on the grid of its input, and so shows only what its own weights and its own range lose. And that
loss alone is sent through the rest of the float file: what it does to the logits is what the layer is to be blamed for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from edgecnn import __version__
from edgecnn.errors import UsageError
from edgecnn.measure.findings import EXACT, LayerError, Report, conclude, decibels
from edgecnn.measure.pairing import Layer, Pair, pair_layers
from edgecnn.runtime.bundle import Bundle
from edgecnn.runtime.internals import Grid, constants, grids, run_piece
from edgecnn.runtime.preprocess import prepare
from edgecnn.runtime.slices import piece
from edgecnn.runtime.tflite_file import TFLiteFile, read

AT_ONCE = 32  # images; every tensor of the file is in memory for all of them
FEWEST = 2
WIDE = 8.0  # times the middle channel's largest value: the channel sets the range for all
FLOATING = ("float32", "float16")


@dataclass
class _Sums:
    """What is added up of one layer over the images; arrays are by channel."""

    signal: np.ndarray
    noise: np.ndarray
    low: np.ndarray
    high: np.ndarray
    agreeing: float = 0.0  # sum of the products of both files' values
    power: float = 0.0  # of the quantized file's values
    values: int = 0
    clipped: int = 0
    levels: tuple[int, int] | None = None
    own: float = 0.0
    own_signal: float = 0.0
    rounding: float = 0.0
    cut: float = 0.0
    logits: float = 0.0
    alone: bool = True

    @classmethod
    def of(cls, channels: int) -> _Sums:
        return cls(np.zeros(channels), np.zeros(channels), np.full(channels, np.inf), np.full(channels, -np.inf))


@dataclass
class _Whole:
    """What is added up of the logits; ``first`` and ``second`` are sums of the float file's and of their squares."""

    first: np.ndarray
    second: float = 0.0
    noise: float = 0.0
    agreeing: int = 0
    images: int = 0

    @property
    def signal(self) -> float:
        """What differs from image to image: a constant tells no class."""
        return self.second - float(np.sum(np.square(self.first))) / self.images


@dataclass(frozen=True)
class _Side:
    """One of the two files, and how its tensors are stored."""

    file: TFLiteFile
    grids: Mapping[int, Grid]


def find_errors(bundle: Bundle, images: int, say: Callable[[str], None] = lambda _line: None) -> Report:
    """Hold the quantized .tflite file of a bundle's own recipe against its float one on its first sample images.

    ``say`` hears how far it is. Raises UnknownNameError when one of the files is not in the bundle, BadFileError for
    files that cannot be run, UsageError for a bundle whose recipe quantizes nothing, for files that have nothing in
    common, and for too few images.
    """
    recipe = bundle.manifest.recipe
    if recipe == "float32":
        raise UsageError(f"{bundle.path} holds float32 files only; give a bundle that 'edgecnn quantize' wrote")
    entries = bundle.artifact(), bundle.artifact("float32")
    contents = [bundle.content(entry) for entry in entries]
    files = [read(content) for content in contents]
    pairing = pair_layers(*files)
    if not pairing.pairs:
        raise UsageError(f"no layer of {entries[0].file} could be matched to one of {entries[1].file}")
    sides = [_Side(file, grids(content)) for file, content in zip(files, contents, strict=True)]
    quantized, exact = sides
    pictures = bundle.sample()[0][:images]
    if len(pictures) < FEWEST:
        raise UsageError(
            f"{len(pictures)} sample image is too few to tell signal from noise; {FEWEST} or more are needed"
        )
    step = AT_ONCE if all(file.tensors[file.inputs[0]].dynamic for file in files) else 1
    sums = {pair.name: _Sums.of(files[1].tensors[pair.exact.result].shape[-1]) for pair in pairing.pairs}
    whole = _Whole(np.zeros(bundle.manifest.dataset.classes))
    for start in range(0, len(pictures), step):
        say(f"images {start + 1} to {min(start + step, len(pictures))} of {len(pictures)}")
        some = pictures[start : start + step]
        tensors = [prepare(some, bundle.manifest.input_spec(entry)) for entry in entries]
        _add(pairing.pairs, quantized, exact, tensors[0], tensors[1], sums, whole)
    weights = _weights(pairing.pairs, quantized, exact)
    total = sum(each.logits for each in sums.values())
    names = {pair.quantized.result: pair.name for pair in pairing.pairs}
    layers = tuple(
        _layer(pair, sums[pair.name], names, quantized, weights.get(pair.name), whole, total) for pair in pairing.pairs
    )
    logits = decibels(whole.signal, whole.noise)
    agreement = whole.agreeing / whole.images
    return Report(
        __version__, datetime.now(UTC).isoformat(timespec="seconds"), str(bundle.path), entries[0].file,
        entries[1].file, recipe, len(pictures), pairing.named, layers, pairing.unmatched, logits, agreement,
        conclude(layers, logits, agreement, len(pictures)),
    )  # fmt: skip


def _add(
    pairs: tuple[Pair, ...], quantized: _Side, exact: _Side, stored: np.ndarray, real: np.ndarray,
    sums: Mapping[str, _Sums], whole: _Whole,
) -> None:  # fmt: skip
    """Add some images, as either file takes them, to the sums."""
    values = _values(quantized, stored)
    floats = _values(exact, real)
    ends = (quantized.file.outputs[0], exact.file.outputs[0])
    logits = quantized.grids[ends[0]].real(values[ends[0]]), floats[ends[1]]
    whole.first += logits[1].sum(axis=0, dtype=np.float64)
    whole.second += _power(logits[1])
    whole.noise += _power(logits[0] - logits[1])
    whole.agreeing += int(np.sum(logits[0].argmax(1) == logits[1].argmax(1)))
    whole.images += len(real)
    partners = dict(zip(quantized.file.inputs, exact.file.inputs, strict=False))
    for pair in pairs:
        found = sums[pair.name]
        value = floats[pair.exact.result]
        grid = quantized.grids[pair.quantized.result]
        _add_as_it_runs(found, value, values[pair.quantized.result], grid)
        if pair.comparable:
            _add_alone(found, pair, partners, quantized, exact, floats, ends[1])
        else:
            found.alone = False
        partners[pair.quantized.result] = pair.exact.result


def _values(side: _Side, tensor: np.ndarray) -> dict[int, np.ndarray]:
    """Everything that a file's operations give for its input, as stored, and the input."""
    file = side.file
    indices = [index for each in file.operations for index in each.outputs]
    found = dict(zip(indices, run_piece(file.content, [tensor], indices), strict=True))
    return found | {file.inputs[0]: tensor}


def _add_as_it_runs(found: _Sums, value: np.ndarray, stored: np.ndarray, grid: Grid) -> None:
    axes = tuple(range(value.ndim - 1))
    real = grid.real(stored).reshape(value.shape)
    found.signal += np.sum(np.square(value, dtype=np.float64), axis=axes)
    found.noise += np.sum(np.square(real - value, dtype=np.float64), axis=axes)
    found.low = np.minimum(found.low, value.min(axis=axes))
    found.high = np.maximum(found.high, value.max(axis=axes))
    found.agreeing += float(np.sum(real.astype(np.float64) * value))
    found.power += _power(real)
    found.values += value.size
    if grid.range is not None:
        half = float(grid.scales[0]) / 2
        found.clipped += int(np.sum((value < grid.range[0] - half) | (value > grid.range[1] + half)))
        low, high = int(stored.min()), int(stored.max())
        found.levels = (low, high) if found.levels is None else (min(low, found.levels[0]), max(high, found.levels[1]))
        nearest = grid.real(grid.stored(value))
        found.rounding += _power(nearest - value)
        found.cut += _power(np.where((value < grid.range[0]) | (value > grid.range[1]), nearest - value, 0))


def _add_alone(
    found: _Sums, pair: Pair, partners: Mapping[int, int], quantized: _Side, exact: _Side,
    floats: Mapping[int, np.ndarray], end: int,
) -> None:  # fmt: skip
    """The layer on the same values in both files, and what the difference does to the logits."""
    ours, theirs = [], []
    for index in pair.quantized.sources:
        partner = partners[index]
        shape = _shape(quantized.file, index, len(floats[partner]))
        ours.append(quantized.grids[index].stored(floats[partner].reshape(shape)))
        theirs.append((partner, quantized.grids[index].real(ours[-1]).reshape(floats[partner].shape)))
    given = dict(theirs)
    stored = _run(quantized.file, pair.quantized, ours, pair.quantized.sources)
    real = quantized.grids[pair.quantized.result].real(stored)
    same = _run(exact.file, pair.exact, [given[index] for index in pair.exact.sources], pair.exact.sources)
    difference = real.reshape(same.shape) - same
    found.own += _power(difference)
    found.own_signal += _power(same)
    found.logits += _power(_through(exact.file, pair.exact.result, difference, floats, end) - floats[end])


def _run(file: TFLiteFile, layer: Layer, inputs: list[np.ndarray], sources: tuple[int, ...]) -> np.ndarray:
    return run_piece(piece(file, layer.places, sources, [layer.result]), inputs, [layer.result])[0]


def _through(
    file: TFLiteFile, start: int, difference: np.ndarray, values: Mapping[int, np.ndarray], end: int
) -> np.ndarray:
    """The logits when ``difference`` is added to the tensor ``start`` and all else stays exact."""
    changed = values[start] + difference
    if start == end:
        return changed
    touched, kept = {start}, []
    for place, operation in enumerate(file.operations):
        if touched & set(operation.inputs):
            touched.update(operation.outputs)
            kept.append(place)
    made = {index for place in kept for index in file.operations[place].outputs}
    needed = {index for place in kept for index in file.operations[place].inputs if index >= 0}
    inputs = [start, *sorted(index for index in needed - made - {start} if not file.tensors[index].constant)]
    if end not in made:
        return values[end]
    given = [changed, *(values[index] for index in inputs[1:])]
    return run_piece(piece(file, kept, inputs, [end]), given, [end])[0]


def _shape(file: TFLiteFile, index: int, images: int) -> tuple[int, ...]:
    return (images, *file.tensors[index].shape[1:])


def _power(values: np.ndarray) -> float:
    return float(np.sum(np.square(values, dtype=np.float64)))


@dataclass(frozen=True)
class _Weights:
    whole: float  # dB
    worst: float  # dB of the worst output channel
    spread: float  # the largest channel's largest weight over the middle channel's


def _weights(pairs: tuple[Pair, ...], quantized: _Side, exact: _Side) -> dict[str, _Weights]:
    """What rounding leaves of each layer's weights, where both files hold the same ones."""
    both = {pair.name: (pair.quantized.weight, pair.exact.weight) for pair in pairs}
    held = {name: (one, other) for name, (one, other) in both.items() if one is not None and other is not None}
    ours = constants(quantized.file.content, [one for one, _ in held.values()])
    theirs = constants(exact.file.content, [other for _, other in held.values()])
    found = {}
    for name, (one, other) in held.items():
        grid, value = quantized.grids[one], theirs[other].astype(np.float64)
        if ours[one].shape != value.shape or ours[one].dtype.name in FLOATING:
            continue
        axis = grid.axis if len(grid.scales) > 1 else 0
        rows = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
        noise = np.moveaxis(grid.real(ours[one]) - value, axis, 0).reshape(rows.shape)
        live = np.any(rows != 0, axis=1)
        if not live.any():
            continue
        channels = [decibels(*each) for each in zip(_rows(rows[live]), _rows(noise[live]), strict=True)]
        peaks = np.abs(rows[live]).max(axis=1)
        found[name] = _Weights(decibels(_power(rows), _power(noise)), min(channels), _over_middle(peaks))
    return found


def _rows(values: np.ndarray) -> list[float]:
    return [float(each) for each in np.sum(np.square(values), axis=1)]


def _over_middle(peaks: np.ndarray) -> float:
    return float(peaks.max() / np.median(peaks))


def _layer(
    pair: Pair, found: _Sums, names: Mapping[int, str], quantized: _Side, weights: _Weights | None, whole: _Whole,
    total: float,
) -> LayerError:  # fmt: skip
    grid = quantized.grids[pair.quantized.result]
    live = found.high > found.low
    by_channel = [decibels(signal, noise) for signal, noise in zip(found.signal, found.noise, strict=True)]
    candidates = [channel for channel in range(len(live)) if live[channel]]
    worst = min(candidates, key=by_channel.__getitem__, default=None)
    peaks = np.maximum(np.abs(found.low), np.abs(found.high))
    middle = float(np.median(peaks[live])) if candidates else 0.0
    wide = tuple(channel for channel in candidates if middle > 0 and peaks[channel] > WIDE * middle)
    scale = float(np.sqrt(found.power * float(np.sum(found.signal))))
    stored = len(grid.scales) == 1
    limits = np.iinfo(grid.dtype) if stored else None
    return LayerError(
        name=pair.name,
        operation=pair.quantized.operation,
        takes=tuple(names[index] for index in pair.quantized.sources if index in names),
        channels=len(live),
        sqnr_db=decibels(float(np.sum(found.signal)), float(np.sum(found.noise))),
        cosine=found.agreeing / scale if scale > 0 else 1.0,
        alone_db=decibels(found.own_signal, found.own) if found.alone else None,
        logits_db=decibels(whole.signal, found.logits) if found.alone else None,
        loss_db=decibels(total, total - found.logits) if found.alone and total > 0 else None,
        clipped=found.clipped / found.values if stored else None,
        used=None if found.levels is None or limits is None
        else (found.levels[1] - found.levels[0] + 1) / (int(limits.max) - int(limits.min) + 1),
        range=grid.range,
        reached=(float(found.low.min()), float(found.high.max())),
        typical=float(np.sqrt(np.sum(found.signal) / max(found.values, 1))),
        worst_channel=worst,
        worst_channel_db=None if worst is None else by_channel[worst],
        wide_channels=wide,
        width=float(np.median(peaks[list(wide)])) / middle if wide else 1.0,
        dead_channels=len(live) - len(candidates),
        weight_db=None if weights is None else weights.whole,
        weight_worst_db=None if weights is None else weights.worst,
        weight_spread=None if weights is None else weights.spread,
        cut_share=found.cut / found.own if found.own > 0 else 0.0,
        rounding_share=found.rounding / found.own if found.own > 0 else 0.0,
        channel_db=tuple(each if alive else EXACT for each, alive in zip(by_channel, live, strict=True)),
        channel_peak=tuple(float(each) for each in peaks),
    )  # fmt: skip
