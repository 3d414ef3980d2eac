"""Whether quantization made a file faster, and if not, why: from facts that were looked at, never from guesses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from edgecnn.measure import stats
from edgecnn.measure.figures import medians
from edgecnn.measure.measurement import Case, Measurement, Session
from edgecnn.measure.stats import Interval

FASTER = 1.3  # how much faster than float32 a file should be for its accuracy to be worth it
FLOAT = "float32"
DOT_PRODUCTS = ("asimddp", "i8mm", "avx_vnni", "avx512_vnni")  # of machine.FEATURES; amx_int8 is withheld
CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
SMALL = 0.2  # share of a call that is spent before anything is computed, from which on it matters
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``reason`` is what speaks against speed, None when nothing does."""

    about: str
    reason: str | None


@dataclass(frozen=True)
class Speed:
    """How fast a quantized file is beside the float32 one of the same bundle, runtime, threads and batch.

    ``quantized`` and ``float32`` are places in the session's measurements. ``ratio`` is how many times as fast, by
    the medians of the runs, ``interval`` its 95 % interval, and ``p`` that of stats.differ that they are the same.
    ``reasons`` are given when it is not FASTER, and ``checked`` is what was looked at without finding one; both empty
    otherwise.
    """

    quantized: int
    float32: int
    ratio: float
    interval: Interval | None
    p: float
    fast: bool
    reasons: tuple[str, ...]
    checked: tuple[str, ...]


def speeds(session: Session) -> list[Speed]:
    """A verdict for every quantized measurement of the session that has a float32 one beside it."""
    rows = session.measurements
    done = [place for place, row in enumerate(rows) if row.runs and row.failure is None]
    floats = {_key(rows[place].case): place for place in done if rows[place].case.recipe == FLOAT}
    return [
        _judge(session, place, floats[_key(rows[place].case)])
        for place in done
        if rows[place].case.recipe not in (None, FLOAT) and _key(rows[place].case) in floats
    ]


def _key(case: Case) -> tuple[object, ...]:
    return case.bundle, case.model, case.runtime, case.threads, case.batch


def _judge(session: Session, quantized: int, plain: int) -> Speed:
    row, other = session.measurements[quantized], session.measurements[plain]
    new, old = medians(row), medians(other)
    ratio = float(np.median(old) / np.median(new))
    fast = ratio >= FASTER
    found = [] if fast else list(findings(row, other, session.machine.features))
    return Speed(
        quantized, plain, ratio, stats.ratio_interval(old, new), stats.differ(old, new, stats.BY_TURNS), fast,
        tuple(each.reason for each in found if each.reason is not None),
        tuple(each.about for each in found if each.reason is None),
    )  # fmt: skip


def findings(row: Measurement, other: Measurement, features: Iterable[str]) -> Iterator[Finding]:
    """Everything that can be looked at in a quantized measurement, ``other`` being the float32 one.

    What was not measured, such as the graph of a file that is not TFLite, yields nothing.
    """
    recipe = row.case.recipe or ""
    in_float = recipe.startswith(("weight_", "float"))
    yield Finding("the recipe", _of_recipe(recipe, in_float))
    if not in_float:
        lacking = not set(DOT_PRODUCTS) & set(features)
        reason = f"this CPU has no dot product of int8 (none of {', '.join(DOT_PRODUCTS)})" if lacking else None
        yield Finding("int8 instructions", reason)
    yield from _of_graph(row, other)
    if row.engine is not None and "AMX" in row.engine:
        forced = "Intel AMX is in force, which slows small CNNs down; unset EDGECNN_AMX"
        yield Finding("AMX", forced if "AMX allowed" in row.engine else None)
    if row.floor is not None and other.floor is not None:
        yield _of_floor(row, other, row.floor, other.floor)


def _of_recipe(recipe: str, in_float: bool) -> str | None:
    if in_float:
        return f"{recipe} computes in float: it makes the file smaller, not faster"
    if recipe.startswith("dynamic_"):
        return f"{recipe} finds the ranges of every layer anew in each call, and keeps float between layers"
    return None


def _of_graph(row: Measurement, other: Measurement) -> Iterator[Finding]:
    if row.graph is None:
        return
    graph, plain = row.graph, other.graph
    total = len(graph.operations)
    outside = _counted(graph.outside)
    same = " (as in the float32 file)" if plain is not None and graph.outside == plain.outside else ""
    yield Finding(
        "operations outside the delegate",
        f"{len(graph.outside)} of {total} operations are outside the delegate: {outside}{same}" if outside else None,
    )
    for about, names in (("transposes", ("TRANSPOSE",)), ("conversions between types", CONVERSIONS)):
        kinds = _counted(name for name in graph.operations if name in names)
        yield Finding(about, f"{about} among its {total} operations: {kinds}" if kinds else None)
    pieces = f"the delegate runs it in {graph.partitions} pieces, and every change between the two costs time"
    yield Finding("partitions", pieces if graph.partitions > 1 else None)


def _of_floor(row: Measurement, other: Measurement, floor: int, plain_floor: int) -> Finding:
    """Whether a call is too short to matter: how much of it is spent before anything is computed."""
    taken, plain = (float(np.median(medians(each))) * each.case.batch for each in (row, other))
    fixed, plain_fixed = floor / 1000, plain_floor / 1000
    share = fixed / taken
    about = f"the fixed cost of a call ({share:.0%})"
    if share < SMALL:
        return Finding(about, None)
    rest, plain_rest = taken - fixed, plain - plain_fixed
    without = f"; what it computes is {plain_rest / rest:.2f} times as fast" if min(rest, plain_rest) > 0 else ""
    return Finding(
        about, f"it is too small to matter: {fixed:.1f} of {taken:.1f} us a call ({share:.0%}) compute nothing{without}"
    )


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(names).items())
