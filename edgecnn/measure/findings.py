"""What the errors of layers say in plain words: which layer is to blame, for what reason, and what may help.

Noise of independent roundings adds up, so a layer's loss is what the logits would gain if it alone were exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = 1
EXACT = 200.0  # dB; stands for no error at all
SOUND = 20.0  # dB of the logits from which on few classes change
BLAME = 3.0  # dB that a layer must lose to be named: half of all the noise
CLEAR = 35.0  # dB; what leaves this much of the logits harms nothing, however large its share of the noise
CLIPPED = 0.01  # share of a layer's values
NARROW = 0.25  # of the levels; less used is a range that was made for other values
OUTLIERS = 20.0  # times the typical value


@dataclass(frozen=True)
class LayerError:
    """What quantization does to one layer. Ratios of signal to noise are dB, EXACT without an error; shares 0 to 1.

    ``takes`` names the layers whose values it takes. ``sqnr_db`` and ``cosine`` compare its values as the files run;
    ``alone_db`` is its own loss on exact input, and
    ``logits_db`` what that loss alone leaves of the logits, None where it cannot be run alone. ``loss_db`` is what the
    logits would gain if this layer were exact. ``clipped`` values lie outside its range, ``used`` is the share of the
    levels that occur, ``range`` what it can hold; None for a layer that stays float. ``reached`` are the float file's
    lowest and highest value, ``typical`` their root mean square. ``wide_channels`` reach ``width`` times the middle
    one's value, ``dead_channels`` never change. ``cut_share`` and ``rounding_share`` are what cutting off, and cutting
    off and rounding its values, have in its own loss; the rest is its weights. ``channel_db`` is as it runs,
    ``channel_peak`` the largest magnitude of each channel in the float file.
    """

    name: str
    operation: str
    takes: tuple[str, ...]
    channels: int
    sqnr_db: float
    cosine: float
    alone_db: float | None
    logits_db: float | None
    loss_db: float | None
    clipped: float | None
    used: float | None
    range: tuple[float, float] | None
    reached: tuple[float, float]
    typical: float
    worst_channel: int | None
    worst_channel_db: float | None
    wide_channels: tuple[int, ...]
    width: float
    dead_channels: int
    weight_db: float | None
    weight_worst_db: float | None
    weight_spread: float | None
    cut_share: float
    rounding_share: float
    channel_db: tuple[float, ...]
    channel_peak: tuple[float, ...]


@dataclass(frozen=True)
class Finding:
    """A layer that is to blame: ``cause`` is one word, ``said`` and ``advice`` are for people."""

    layer: str
    cause: str
    said: str
    advice: str


@dataclass(frozen=True)
class Verdict:
    """Whether the quantized file is ``sound``, a sentence that says so, and the layers to blame, worst first."""

    sound: bool
    said: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Report:
    """The layers of a bundle's quantized file in the order of execution; ``named`` after modules, or operations.

    ``logits_db`` and ``agreement`` (share of the images with the same class) are of the whole files. The signal in the
    logits is what differs from image to image: a constant tells no class.
    """

    edgecnn: str
    created: str
    bundle: str
    quantized_file: str
    float_file: str
    recipe: str
    images: int
    named: bool
    layers: tuple[LayerError, ...]
    unmatched: tuple[str, ...]
    logits_db: float
    agreement: float
    verdict: Verdict

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return {"schema": SCHEMA} | asdict(self)


def decibels(signal: float, noise: float) -> float:
    """Power of a signal over that of its noise, -EXACT to EXACT."""
    if noise <= 0:
        return EXACT
    if signal <= 0:
        return -EXACT
    return min(max(10 * math.log10(signal / noise), -EXACT), EXACT)


def conclude(layers: Sequence[LayerError], logits_db: float, agreement: float, images: int) -> Verdict:
    """The verdict on a file by its layers, what is left of its logits, and how often the class stays the same.

    A channel that reaches far beyond the rest also spoils the weights of the layer that takes it: its loss counts
    with the first layer's.
    """
    known = {each.name: each for each in layers if each.loss_db is not None}
    spoilt = {name: [each for each in known.values() if _spoils(layer, each)] for name, layer in known.items()}
    losses = {name: _together([layer, *spoilt[name]]) for name, layer in known.items()}
    whole = (
        f"the logits keep {_decibels(logits_db)}, and {100 * agreement:.1f} % of {images} images get the class of the "
        "float file"
    )
    blamed: list[LayerError] = []
    for name in sorted(losses, key=losses.__getitem__, reverse=True):
        layer = known[name]
        hidden = any(layer in spoilt[each.name] for each in blamed)
        if losses[name] >= BLAME and _left(layer) < CLEAR and not hidden:
            blamed.append(layer)
    sound = logits_db >= SOUND
    if blamed:
        clipped = sum((each.clipped or 0) >= CLIPPED for each in layers)
        findings = tuple(_finding(each, losses[each.name], spoilt[each.name], clipped) for each in blamed)
        return Verdict(sound, f"{whole}; layers that stand out: {len(findings)} of {len(layers)}", findings)
    worst = max(known.values(), key=_loss, default=None)
    most = "no layer could be run alone"
    if worst is not None:
        most = f"no layer loses more than {_loss(worst):.1f} dB ({worst.name})"
    if sound:
        return Verdict(True, f"no layer is to blame: {whole}; {most}", ())
    return Verdict(False, f"the loss is spread over the layers: {whole}; {most}. {_for_all(layers)}", ())


def _for_all(layers: Sequence[LayerError]) -> str:
    """What may help where no layer stands out."""
    ranged = [each for each in layers if each.used is not None]
    clipped = sum((each.clipped or 0) >= CLIPPED for each in ranged)
    unused = sum((each.used or 0) < 0.5 for each in ranged)
    if 2 * clipped > len(ranged):
        return f"{clipped} of {len(ranged)} ranges are too narrow for these images. {_CALIBRATE}"
    if 2 * unused > len(ranged):
        return f"{unused} of {len(ranged)} ranges are more than twice as wide as these images need. {_CALIBRATE}"
    return f"Try {_RETRAIN}"


def _spoils(layer: LayerError, other: LayerError) -> bool:
    return bool(layer.wide_channels) and layer.name in other.takes and _by_weights(other)


def _together(layers: Sequence[LayerError]) -> float:
    """What the logits would gain if all of these were exact."""
    noise = sum(1 - 10 ** (-_loss(each) / 10) for each in layers)
    return decibels(1, 1 - noise)


def _by_weights(layer: LayerError) -> bool:
    return layer.weight_db is not None and layer.rounding_share < 0.5


def _left(layer: LayerError) -> float:
    return EXACT if layer.logits_db is None else layer.logits_db


_EQUALIZE = "'edgecnn quantize --equalize', which reaches channels that only a ReLU parts from the next layer"
_KEEP_FLOAT = "--max-drop 0.3, which leaves the layers that harm most in float32"
_RETRAIN = f"'edgecnn quantize --qat', --recipe static_w8a16, or {_KEEP_FLOAT}"
_CALIBRATE = (
    "Calibrate on images like those it will see, and on more of them ('edgecnn quantize --calibration 2048'); if that "
    "changes nothing, try --qat"
)


def _loss(layer: LayerError) -> float:
    return layer.loss_db or 0.0


def _finding(layer: LayerError, loss: float, spoilt: Sequence[LayerError], clipped: int) -> Finding:
    cause, reason, advice = _cause(layer)
    if spoilt:
        reason += f", which spoils the weights of {', '.join(each.name for each in spoilt)} too"
    if cause == "clipped" and clipped > 1:
        reason += f"; {clipped} layers lose {100 * CLIPPED:g} % of their values or more like this"
    return Finding(layer.name, cause, f"layer {layer.name} loses {loss:.1f} dB: {reason}", advice)


def _cause(layer: LayerError) -> tuple[str, str, str]:
    """(word, reason, advice) for what a layer loses by itself."""
    held = "" if layer.range is None else f"{_short(layer.range[0])} to {_short(layer.range[1])}"
    reached = f"{_short(layer.reached[0])} to {_short(layer.reached[1])}"
    if layer.cut_share >= 0.5 and layer.clipped:
        said = f"{_share(layer.clipped)} of its values lie outside its range of {held}; they reach {reached}"
        return "clipped", said, _CALIBRATE
    if layer.wide_channels:
        count = len(layer.wide_channels)
        span = "spans" if count == 1 else "span"
        which = _listed(layer.wide_channels)
        said = f"{count} of {layer.channels} channels {span} {layer.width:.0f}x the rest ({which})"
        return "channels", said, f"Try {_EQUALIZE}; where that changes little, {_RETRAIN}"
    if _by_weights(layer):
        assert layer.weight_db is not None and layer.weight_worst_db is not None
        said = (
            f"rounding its weights, not its values: they keep {_decibels(layer.weight_db)}, in the worst channel "
            f"{_decibels(layer.weight_worst_db)}"
        )
        return "weights", said, f"Try 'edgecnn quantize --qat', or {_KEEP_FLOAT}"
    if layer.used is not None and layer.used < NARROW:
        said = f"its range is {held}, of which its values use {_share(layer.used)}; they reach {reached}"
        return "unused", said, _CALIBRATE
    peak = max(map(abs, layer.reached))
    if layer.typical > 0 and peak > OUTLIERS * layer.typical:
        said = f"single values reach {peak / layer.typical:.0f}x what is typical, and the steps are as wide for all"
        return "outliers", said, f"Try {_RETRAIN}"
    return "rounding", "its values need finer steps than it has, for no single reason", f"Try {_RETRAIN}"


def _listed(channels: Sequence[int]) -> str:
    shown = ", ".join(map(str, channels[:4]))
    word = "channel" if len(channels) == 1 else "channels"
    return f"{word} {shown}" if len(channels) <= 4 else f"{word} {shown} ..."


def _decibels(value: float) -> str:
    return "everything" if value >= EXACT else f"{value:.1f} dB"


def _short(value: float) -> str:
    return f"{value:.3g}"


def _share(share: float) -> str:
    return f"{100 * share:.2g} %"
