"""``static_w8a8`` within a bound on the accuracy: which layers stay float32 for it, proven by the file, and the price.

Layers are ranked and chosen in simulation on training images that calibrate nothing. The file that is made of the
choice is then held against the float model on other such images; where it does not keep the bound there, one layer
more stays float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgecnn.evaluate import predictor
from edgecnn.export.drafts import Order, make, rewrites_of, simulation
from edgecnn.export.judge import image_of
from edgecnn.export.source import Source
from edgecnn.measure import stats
from edgecnn.measure.bench import bench
from edgecnn.measure.cases import Order as Bench
from edgecnn.measure.cases import find_cases
from edgecnn.measure.figures import medians
from edgecnn.measure.measurement import Settings
from edgecnn.measure.stats import Interval
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.floats import layer_names
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.quantize.sensitivity import Build, Effect, Harm, Layers, Yardstick, fewest, rank
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from edgecnn.runtime.engines import fitting
from edgecnn.runtime.files import sha256

RANKING_IMAGES = 1000  # of those to choose on: noise in the logits shows on few
BENCH = Settings(runs=7, min_seconds=1.4)


@dataclass(frozen=True)
class Made:
    """A file, its layers that stay float32, and what it loses on the images that prove it."""

    path: Path
    float_layers: Layers
    bytes: int
    sha256: str
    effect: Effect


@dataclass(frozen=True)
class Latency:
    """Microseconds per image of a file, and how many times those of the file int8 throughout, measured by turns."""

    microseconds: float
    ratio: float
    interval: Interval | None


@dataclass(frozen=True)
class Cost:
    """What the mixed file and the float32 one take beside the one int8 throughout; ``doubts`` in these figures."""

    plain_microseconds: float
    mixed: Latency
    float32: Latency
    float32_bytes: int
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a search: the ranking, the file that is int8 throughout, and the ``best`` one.

    ``chosen`` is what the best file's simulation lost on the images to choose on. ``within`` says whether that file's
    drop, not the interval of it, is at most ``bound`` points on the images that prove it. ``cost`` is None where it is
    the file int8 throughout.
    """

    bound: float
    ranking_images: int
    choosing: int
    proving: int
    trained_on: bool
    ranking: tuple[Harm, ...]
    plain: Made
    best: Made
    chosen: Effect
    within: bool
    cost: Cost | None


@contextmanager
def searching(order: Order, source: Source, say: Callable[[str], None]) -> Iterator[Search]:
    """A search for the layers that ``order``, a TFLite file of static_w8a8, is to leave in float32.

    It ranks them at once; its files are gone with it. ``say`` is told what is being done. Raises UsageError where there
    are too few images, CheckFailedError if a converter fails.
    """
    choosing, proving = (Yardstick(source.model, split) for split in source.spare())
    rewrites = rewrites_of(order, source)
    build = _builder(source, rewrites)
    folded = passes.apply(fold(source.model, source.arguments), rewrites, source.arguments)
    groups = [group for node in folded.graph.nodes if (group := layer_names(folded, [node]))]
    few = choosing.first(RANKING_IMAGES)
    ranking = rank(groups, build, few, say)
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as folder:
        files = _Files(order, source, proving, Path(folder), say)
        yield Search(groups, ranking, build, choosing, len(few.images), files)


@dataclass
class Search:
    """Layers by harm, and what is known of choices so far; see ``searching``."""

    groups: list[Layers]
    ranking: list[Harm]
    build: Build
    choosing: Yardstick
    ranking_images: int
    files: _Files
    _known: dict[Layers, Effect] = field(default_factory=dict)

    def within(self, bound: float) -> Outcome:
        """The fewest float32 layers found with which the file drops by at most ``bound`` points, or the best there is.

        At least one layer is quantized.
        """
        found = fewest(self.ranking, self._drop, bound)
        prefixes = [self.ranking[:count] for count in range(len(self.ranking))]
        tried = min(prefixes, key=self._drop) if found is None else found
        plain, best = self.files.made(()), self.files.made(self._names(tried))
        while found is not None and best.effect.drop > bound and len(tried) < len(self.groups) - 1:
            tried = [*tried, next(harm for harm in self.ranking if harm not in tried)]
            best = min(best, self.files.made(self._names(tried)), key=lambda made: made.effect.drop)
        return Outcome(
            bound, self.ranking_images, len(self.choosing.images), len(self.files.yardstick.images),
            self.files.source.trained_on, tuple(self.ranking), plain, best, self._effect(best.float_layers),
            best.effect.drop <= bound, None if best is plain else self.files.cost(best, plain),
        )  # fmt: skip

    def _names(self, choice: Sequence[Harm]) -> Layers:
        """Of a choice, in the order of execution."""
        chosen = {harm.layers for harm in choice}
        return tuple(name for group in self.groups if group in chosen for name in group)

    def _drop(self, choice: Sequence[Harm]) -> float:
        return self._effect(self._names(choice)).drop

    def _effect(self, floats: Layers) -> Effect:
        if floats not in self._known:
            self.files.say(f"trying with {', '.join(floats) or 'no layer'} in float32")
            self._known[floats] = self.choosing.effect(predictor(self.build(floats)))
        return self._known[floats]


def _builder(source: Source, rewrites: tuple[str, ...]) -> Build:
    """Simulations with other float layers each, but the same ranges."""
    trained = source.trained
    if trained is not None:
        return lambda floats: trained.graph(source.model, rewrites, floats)
    ranges = simulation(source, rewrites, STATIC_W8A8)
    images = list(source.calibration_batches())
    return lambda floats: ptq.calibrate(
        source.model, source.arguments, images, rewrites, float_layers=floats, ranges=ranges
    )


@dataclass
class _Files:
    """Makes files in ``folder``, each once, and proves and times them."""

    order: Order
    source: Source
    yardstick: Yardstick
    folder: Path
    say: Callable[[str], None]
    _made: dict[Layers, Made] = field(default_factory=dict)

    def made(self, floats: Layers) -> Made:
        """The file with these layers in float32, held against the float model as a device would run it."""
        if floats not in self._made:
            self.say(f"making and proving the file with {', '.join(floats) or 'no layer'} in float32")
            content = make(replace(self.order, float_layers=floats), self.source).content
            path = self._written(f"{len(self._made)}.tflite", content)
            with open_artifact(path, image=image_of(self.source)) as runner:

                def run(images: np.ndarray) -> np.ndarray:
                    return predict(runner, images)

                self._made[floats] = Made(path, floats, len(content), sha256(path), self.yardstick.effect(run))
        return self._made[floats]

    def cost(self, mixed: Made, plain: Made) -> Cost:
        """Both files and the float32 one timed by turns."""
        self.say("timing the file beside the one that is int8 throughout and the float32 one")
        content = make(Order("tflite", FLOAT32), self.source).content
        paths = (plain.path, mixed.path, self._written("float32.tflite", content))
        session = bench(find_cases(Bench(paths, fitting("tflite")[:1], settings=BENCH)), BENCH)
        base, *others = (medians(row) for row in session.measurements)
        latencies = (
            Latency(float(np.median(each)), float(np.median(each) / np.median(base)), stats.ratio_interval(each, base))
            for each in others
        )
        first, second = latencies
        return Cost(float(np.median(base)), first, second, len(content), session.verdict.reasons)

    def _written(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path
