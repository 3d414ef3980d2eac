"""The files that compete for a target: every set of passes that changes the model, each through the gate first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from torch import fx

from edgecnn.errors import BadFileError, CheckFailedError
from edgecnn.export.drafts import Order
from edgecnn.export.judge import image_of, make_and_check
from edgecnn.export.source import Source
from edgecnn.quantize import passes
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import Recipe
from edgecnn.runtime.manifest import Artifact

ALWAYS = ("flatten_order",)  # it takes an operation away and changes no other


@dataclass(frozen=True, eq=False)
class Candidate:
    """A file in the workshop, or the reason why it is none."""

    order: Order
    path: Path
    artifact: Artifact | None
    failure: str | None = None

    @property
    def rewrites(self) -> tuple[str, ...]:
        """Its passes; every candidate states them."""
        assert self.order.rewrites is not None
        return self.order.rewrites


@dataclass
class Workshop:
    """Makes candidates of ``source`` in ``folder``; ``say`` hears of each.

    ``made`` are the candidates, ``of_order`` what orders came to: of those that give the same bytes, the first's.
    """

    source: Source
    folder: Path
    say: Callable[[str], None]
    made: list[Candidate] = field(default_factory=list)
    of_order: dict[Order, Candidate] = field(default_factory=dict)

    def make(self, orders: Sequence[Order]) -> list[Candidate]:
        """The candidates of these orders, each once; what is there is not made again."""
        for number, order in enumerate(orders, 1):
            if order not in self.of_order:
                self.say(f"candidate {number} of {len(orders)}: {words(order)}")
                self.of_order[order] = self._one(order)
        return list(dict.fromkeys(self.of_order[order] for order in orders))

    def _one(self, order: Order) -> Candidate:
        path = self.folder / f"{len(self.of_order)}_{order.file(self.source.header.model)}"
        artifact, failure = None, None
        try:
            _, artifact = make_and_check(order, path.name, self.source, self.folder, image_of(self.source))
        except (CheckFailedError, BadFileError) as error:
            path.unlink(missing_ok=True)
            failure = str(error).removeprefix(f"{path.name}: ")
        for each in self.made:
            if artifact is not None and each.artifact is not None and each.artifact.sha256 == artifact.sha256:
                path.unlink()
                return each
        self.made.append(Candidate(order, path, artifact, failure))
        return self.made[-1]


def words(order: Order) -> str:
    """A candidate in words: its recipe, its passes, its float layers."""
    text = f"{order.recipe.name}, {' '.join(order.rewrites or ()) or 'no passes'}"
    return text + (f", float32 {' '.join(order.float_layers)}" if order.float_layers else "")


def distinct_passes(source: Source) -> list[tuple[str, ...]]:
    """No passes, and every set with those in ALWAYS that gives another graph than the ones before it."""
    found: dict[str, tuple[str, ...]] = {}
    for names in _sets():
        graph_module = passes.apply(fold(source.model, source.arguments), names, source.arguments)
        found.setdefault(_signature(graph_module), names)
    return list(found.values())


def orders(recipe: Recipe, sets: Iterable[tuple[str, ...]]) -> list[Order]:
    """A TFLite file of the recipe for every set of passes."""
    return [Order("tflite", recipe, names) for names in sets]


def _sets() -> Iterator[tuple[str, ...]]:
    yield ()
    others = [name for name in passes.PASSES if name not in ALWAYS]
    for count in range(len(others) + 1):
        for some in combinations(others, count):
            yield tuple(name for name in passes.PASSES if name in (*ALWAYS, *some))


def _signature(graph_module: fx.GraphModule) -> str:
    """What the graph calls, in text; passes change that wherever they change anything."""
    calls = [(str(node.args), str(graph_module.get_submodule(str(node.target))) if node.op == "call_module" else "")
             for node in graph_module.graph.nodes]  # fmt: skip
    return f"{graph_module.graph}{calls}"
