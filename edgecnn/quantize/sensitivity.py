"""Which layers quantization harms most, and the fewest of them to keep float32 for a bound on the accuracy.

The harm is measured twice: with a layer quantized and all others in float, which shows what it loses by itself, and
with it in float and all others quantized, which shows what keeping it would bring. The order is that of the first, by
the noise in the logits: noise of independent roundings adds up, while a tenth of a point of accuracy is lost in the
chance of which images were taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import fx, nn

from edgecnn.data.dataset import Split, Subset, batches
from edgecnn.evaluate import predictor
from edgecnn.measure.accuracy import Predict, Score
from edgecnn.measure.comparison import Comparison
from edgecnn.measure.stats import Interval, sqnr

AT_ONCE = 250

Layers = tuple[str, ...]
Build = Callable[[Layers], fx.GraphModule]


@dataclass(frozen=True)
class Effect:
    """What quantization does to a model on some images.

    ``drop`` is the float model's accuracy less the quantized one's, in points, below 0 for a gain, and ``interval``
    its paired 95 % interval (stats.paired_change). ``sqnr_db`` is the signal to quantization noise of the logits, None
    where they are equal.
    """

    drop: float
    interval: Interval
    sqnr_db: float | None

    @property
    def noise(self) -> float:
        """Power of the noise over that of the signal."""
        return 0.0 if self.sqnr_db is None else 10 ** (-self.sqnr_db / 10)


@dataclass(frozen=True)
class Yardstick:
    """Labelled images, and the float model that everything is held against on them."""

    model: nn.Module
    images: Split

    @cached_property
    def _exact(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits [n, classes] of the float model, and the labels [n]."""
        return self._logits(predictor(self.model))

    def _logits(self, predict: Predict) -> tuple[np.ndarray, np.ndarray]:
        pieces = [(predict(images), labels) for images, labels in batches(self.images, AT_ONCE)]
        logits, labels = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        return logits, labels.astype(np.int64)

    def effect(self, predict: Predict) -> Effect:
        """Hold ``predict``, from images uint8 to logits, against the float model."""
        exact, labels = self._exact
        found = self._logits(predict)[0]
        change = Comparison(Score(exact.argmax(1), labels), Score(found.argmax(1), labels))
        low, high = change.interval
        return Effect(0 - change.change, Interval(-high, -low), sqnr(exact, found))

    def first(self, count: int) -> Yardstick:
        """One of the first ``count`` images."""
        return Yardstick(self.model, Subset(self.images, np.arange(min(count, len(self.images)))))


@dataclass(frozen=True)
class Harm:
    """One layer, several names where a pass merged them: with only it quantized, and with only it in float32."""

    layers: Layers
    alone: Effect
    without: Effect


def rank(
    groups: Sequence[Layers], build: Build, yardstick: Yardstick, say: Callable[[str], None] = lambda _line: None
) -> list[Harm]:
    """The layers, those that lose most by themselves first.

    ``build`` gives the simulation in which the named layers stay float32; ``say`` hears of each layer.
    """
    everything = {name for group in groups for name in group}
    found = []
    for place, group in enumerate(groups):
        say(f"layer {place + 1} of {len(groups)}: {', '.join(group)}")
        others = tuple(sorted(everything.difference(group)))
        alone, without = (yardstick.effect(predictor(build(floats))) for floats in (others, group))
        found.append(Harm(group, alone, without))
    return sorted(found, key=lambda harm: harm.alone.noise, reverse=True)


def fewest(ranking: Sequence[Harm], drop: Callable[[Sequence[Harm]], float], bound: float) -> list[Harm] | None:
    """The fewest layers found that, kept float32, leave a drop of at most ``bound`` points; None if none do.

    ``drop`` gives that of a choice. The choice grows in the order of the ranking, and is then tried without each of its
    layers, the least harmful first. At least one layer stays quantized.
    """
    kept: list[Harm] = []
    for harm in [*ranking][: len(ranking) - 1]:
        if drop(kept) <= bound:
            break
        kept.append(harm)
    if drop(kept) > bound:
        return None
    for harm in reversed(kept[:-1]):
        fewer = [each for each in kept if each is not harm]
        if drop(fewer) <= bound:
            kept = fewer
    return kept
