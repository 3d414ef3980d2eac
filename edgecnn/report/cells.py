"""The table of a report, cell by cell, for every form it is written in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgecnn.measure.figures import Figures
from edgecnn.report.numbers import counted, micro, percent, size, span
from edgecnn.report.sections import NO_RECIPE, Row, Section


@dataclass(frozen=True)
class Cell:
    """What a cell says, and in lines of smaller letters what goes with it."""

    main: str
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.main} ({', '.join(self.more)})" if self.more else self.main


@dataclass(frozen=True)
class Column:
    """A heading and how a row's cell under it comes about; ``number`` aligns it to the right."""

    heading: str
    cell: Callable[[Row], Cell]
    number: bool = True


def columns(section: Section) -> tuple[Column, ...]:
    """The columns after the file's name: a machine that is emulated has no times, no memory and no energy.

    Where no row has a figure of energy, words.method says why, and a column would say nothing.
    """
    engine = Column("runtime, threads, batch", _engine, number=False)
    shared = (engine, Column("bytes", _bytes), Column("accuracy", _accuracy))
    if section.machine.emulated:
        return (*shared, Column("instructions per image, emulated", _instructions), Column("outputs", _outputs))
    metered = any(row.measurement.energy.joules is not None for row in section.rows)
    return (
        *shared, Column("p50", _p50), Column("p90", _timed(lambda known: micro(known.p90))),
        Column("p99", _timed(lambda known: micro(known.p99))), Column("cold start", _cold), Column("memory", _memory),
        *((Column("energy", _energy),) if metered else ()),
    )  # fmt: skip


def recipe(row: Row) -> str:
    """The recipe, or that it is not known."""
    return row.measurement.case.recipe or NO_RECIPE


def own_reasons(row: Row) -> list[str]:
    """Why a row is doubted beyond what is said of its whole session."""
    return [each for each in row.measurement.verdict.reasons if each not in row.source.session.verdict.reasons]


def _engine(row: Row) -> Cell:
    case = row.measurement.case
    threads = "1 thread" if case.threads == 1 else f"{case.threads} threads"
    return Cell(row.measurement.engine or case.runtime, (threads, f"batch {case.batch}"))


def _bytes(row: Row) -> Cell:
    return Cell(f"{row.measurement.case.bytes:,}")


def _accuracy(row: Row) -> Cell:
    if row.accuracy is None or row.measurement.accuracy is None:
        return Cell("not scored")
    share, (low, high) = row.accuracy
    images = row.measurement.accuracy.images
    return Cell(percent(share), (f"{100 * low:.1f} to {100 * high:.1f}", f"{images:,} images"))


def _timed(show: Callable[[Figures], str]) -> Callable[[Row], Cell]:
    return lambda row: Cell("-" if row.figures is None else show(row.figures))


def _p50(row: Row) -> Cell:
    if row.figures is None:
        return Cell("-")
    interval = row.figures.p50_interval
    return Cell(micro(row.figures.p50), (span(*map(micro, interval)) if interval else "too few runs",))


def _cold(row: Row) -> Cell:
    if row.figures is None:
        return Cell("-")
    known = row.figures
    parts = (f"load {known.cold_load:.1f} ms", f"first run {known.cold_first:.1f} ms")
    return Cell(f"{known.cold_start:.0f} ms", parts)


def _memory(row: Row) -> Cell:
    known = None if row.figures is None else row.figures.memory_bytes
    arena = None if row.measurement.graph is None else row.measurement.graph.arena_bytes
    return Cell("-" if known is None else size(round(known)), () if arena is None else (f"arena {size(arena)}",))


def _energy(row: Row) -> Cell:
    energy = row.measurement.energy
    if energy.joules is None:
        return Cell("unavailable")
    return Cell(f"{1000 * energy.joules:.4g} mJ", ("estimate",) if energy.estimate else ())


def _instructions(row: Row) -> Cell:
    count, interval = row.cost
    return Cell(counted(count), (span(*map(counted, interval)),) if interval else ())


def _outputs(row: Row) -> Cell:
    emulation = row.measurement.emulation
    if emulation is None:
        return Cell("-")
    off = emulation.largest_difference
    return Cell("the same" if off == 0 else f"within {off:.2g}", (f"{emulation.images:,} images",))
