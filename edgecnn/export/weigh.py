"""What other weights or widths of a model cost as a file: the static_w8a8 TFLite file of each, beside the model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from edgecnn.errors import CheckFailedError
from edgecnn.export.drafts import Order, make
from edgecnn.export.judge import image_of, make_and_check
from edgecnn.export.source import Source
from edgecnn.measure.costs import Measure, Runs, middle
from edgecnn.quantize.recipe import STATIC_W8A8
from edgecnn.runtime.files import write_bytes

ORDER = Order("tflite", STATIC_W8A8)


@dataclass(frozen=True)
class Weighed:
    """Two files, the model's first: their bytes, the microseconds of an image, and what speaks against those."""

    bytes: tuple[int, int]
    microseconds: tuple[float, float]
    doubts: tuple[str, ...] = ()


class Scale:
    """Holds the file of another network against that of ``source``'s; files lie in ``folder``, ``timer`` times them."""

    def __init__(self, source: Source, folder: Path, timer: Measure) -> None:
        self._source, self._folder, self._timer = source, folder, timer
        self._whole: Path | None = None

    def bytes(self, network: nn.Module) -> float:
        """The bytes of the network's file as a share of the model's."""
        return self._made(network).stat().st_size / self._model().stat().st_size

    def latency(self, network: nn.Module) -> float:
        """The same of the time for an image, both measured now, by turns. Raises CheckFailedError where one fails."""
        whole, other = times_of(self._timer.screen([self._model(), self._made(network)]))
        return other / whole

    def weigh(self, network: nn.Module, well: bool) -> Weighed:
        """Both files, which are put through the gate first; timed in enough runs for a test if ``well``.

        Raises CheckFailedError for a file that fails.
        """
        paths = []
        for name, model in (("whole", self._source.model), ("other", network)):
            file = f"{name}_{ORDER.file(self._source.header.model)}"
            make_and_check(ORDER, file, replace(self._source, model=model), self._folder, image_of(self._source))
            paths.append(self._folder / file)
        if well:
            costs = self._timer.decide(paths)
            times, doubts = times_of(costs.rows), costs.doubts
        else:
            times, doubts = times_of(self._timer.screen(paths)), ()
        return Weighed((paths[0].stat().st_size, paths[1].stat().st_size), times, doubts)

    def _model(self) -> Path:
        if self._whole is None:
            self._whole = self._write("model.tflite", self._source.model)
        return self._whole

    def _made(self, network: nn.Module) -> Path:
        return self._write("network.tflite", network)

    def _write(self, name: str, network: nn.Module) -> Path:
        """The file as quantization makes it. A network that was cut and not trained need not pass the gate."""
        write_bytes(self._folder / name, make(ORDER, replace(self._source, model=network)).content)
        return self._folder / name


def times_of(rows: Sequence[Runs | str]) -> tuple[float, float]:
    """What stands for the runs of two files. Raises CheckFailedError where one has none."""
    times = []
    for row in rows:
        if isinstance(row, str):
            raise CheckFailedError(f"a {STATIC_W8A8.name} file could not be timed: {row}")
        times.append(middle(row))
    return times[0], times[1]
