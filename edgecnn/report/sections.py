"""Result files sorted by machine, and each of their rows with a name that no other row has."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecnn.measure.dissection import Profile
from edgecnn.measure.figures import Figures, figures
from edgecnn.measure.machine import Machine
from edgecnn.measure.measurement import Case, Measurement, Session
from edgecnn.measure.stats import Interval, wilson
from edgecnn.measure.trust import INVALID, LEVELS, Verdict
from edgecnn.report.charts.frame import Series
from edgecnn.report.charts.marks import SHAPES
from edgecnn.report.charts.theme import SERIES
from edgecnn.report.pareto import front

NO_RECIPE = "recipe not recorded"


@dataclass(frozen=True)
class Source:
    """A result file's name and what is in it."""

    name: str
    session: Session


@dataclass(frozen=True)
class Profiled:
    """The name of a file with a profile, and the profile."""

    name: str
    profile: Profile

    @property
    def file(self) -> str:
        """``bundle/file`` without the folders above, or a bare file as it was given."""
        case = self.profile.case
        return case.file if case.bundle is None else f"{Path(case.bundle).name}/{Path(case.file).name}"


@dataclass(frozen=True)
class Row:
    """A measurement that did not fail: ``name`` is its file as tables show it, ``label`` as plots do.

    ``figures`` is None where it was emulated. ``series`` is an index into the section's. ``fronts`` says in which of
    "latency", "instructions" and "bytes" it lies on the Pareto front against accuracy.
    """

    number: int
    source: Source
    measurement: Measurement
    figures: Figures | None
    name: str
    label: str
    series: int
    fronts: tuple[str, ...] = ()

    @property
    def invalid(self) -> bool:
        """Whether none of its figures may be used."""
        return self.source.session.invalid or self.measurement.verdict.level == INVALID

    @property
    def level(self) -> str:
        """Its verdict, INVALID if its session is."""
        return INVALID if self.invalid else self.measurement.verdict.level

    @property
    def accuracy(self) -> tuple[float, Interval] | None:
        """Share of right answers and its interval, if it was scored."""
        scored = self.measurement.accuracy
        return None if scored is None else (scored.correct / scored.images, wilson(scored.correct, scored.images))

    @property
    def cost(self) -> tuple[float, Interval | None]:
        """Microseconds per image and their interval; where it was emulated, instructions and their span."""
        if self.figures is not None:
            return self.figures.p50, self.figures.p50_interval
        emulation = self.measurement.emulation
        assert emulation is not None
        return float(emulation.middle), Interval(min(emulation.instructions), max(emulation.instructions))


@dataclass(frozen=True)
class Section:
    """Everything from one machine. Nothing of another machine is ever compared or drawn with it."""

    machine: Machine
    sources: tuple[Source, ...]
    rows: tuple[Row, ...]
    failed: tuple[tuple[Source, Measurement], ...]
    series: tuple[Series, ...]
    profiles: tuple[Profiled, ...] = ()

    @property
    def cost(self) -> str:
        """What a file costs to run here: "latency", or "instructions" where time means nothing."""
        return "instructions" if self.machine.emulated else "latency"

    @property
    def level(self) -> str:
        """The worst verdict on any session or row."""
        levels = [source.session.verdict.level for source in self.sources] + [row.level for row in self.rows]
        levels += [each.profile.verdict.level for each in self.profiles]
        return max(levels, key=LEVELS.index)

    @property
    def verdicts(self) -> list[tuple[str, Verdict]]:
        """The verdicts on whole files, benches first, with the files' names."""
        of_profiles = [(each.name, each.profile.verdict) for each in self.profiles]
        return [(each.name, each.session.verdict) for each in self.sources] + of_profiles

    @property
    def invalid(self) -> str | None:
        """Why plots of this section's rows must not be used, or None."""
        reasons = [reason for source in self.sources if source.session.invalid
                   for reason in source.session.verdict.reasons]  # fmt: skip
        reasons += [reason for row in self.rows if row.invalid for reason in row.measurement.verdict.reasons]
        return "; ".join(dict.fromkeys(reasons)) if any(row.invalid for row in self.rows) else None


def sections(sources: Sequence[Source], profiles: Sequence[Profiled] = ()) -> tuple[Section, ...]:
    """One section per machine, in the order of the files. Two machines are the same if all of their fields are."""
    benched, profiled = [each.session.machine for each in sources], [each.profile.machine for each in profiles]
    return tuple(
        _section(
            machine, tuple(each for each in sources if each.session.machine == machine),
            tuple(each for each in profiles if each.profile.machine == machine),
        )
        for machine in dict.fromkeys([*benched, *profiled])
    )  # fmt: skip


def _section(machine: Machine, sources: tuple[Source, ...], profiles: tuple[Profiled, ...]) -> Section:
    every = [(source, each) for source in sources for each in source.session.measurements]
    done = [(source, each) for source, each in every if each.failure is None]
    kinds = list(dict.fromkeys(_kind(each.case) for _, each in done))
    labels = _labels(done)
    rows = [
        Row(number, source, each, figures(each) if each.runs else None, each.case.name, label,
            kinds.index(_kind(each.case)))
        for number, ((source, each), label) in enumerate(zip(done, labels, strict=True), 1)
    ]  # fmt: skip
    section = Section(
        machine, sources, tuple(rows),
        tuple((source, each) for source, each in every if each.failure is not None), _series(kinds), profiles,
    )  # fmt: skip
    return _with_fronts(section)


def _with_fronts(section: Section) -> Section:
    """The section with its Pareto fronts, from rows that were scored and may be used."""
    usable = [row for row in section.rows if row.accuracy is not None and not row.invalid]
    gains = [row.accuracy[0] for row in usable if row.accuracy is not None]
    on_cost = front(list(zip([row.cost[0] for row in usable], gains, strict=True)))
    on_size = front(list(zip([row.measurement.case.bytes for row in usable], gains, strict=True)))
    found = {
        row.number: tuple(name for name, is_on in ((section.cost, by_cost), ("bytes", by_size)) if is_on)
        for row, by_cost, by_size in zip(usable, on_cost, on_size, strict=True)
    }
    rows = tuple(dataclasses.replace(row, fronts=found.get(row.number, ())) for row in section.rows)
    return dataclasses.replace(section, rows=rows)


def _kind(case: Case) -> tuple[str, str]:
    return case.recipe or NO_RECIPE, case.runtime


def _series(kinds: Sequence[tuple[str, str]]) -> tuple[Series, ...]:
    """A shape for each recipe in each runtime; a colour as well, or one for each recipe where colours run out."""
    recipes = list(dict.fromkeys(recipe for recipe, _ in kinds))
    several = len({runtime for _, runtime in kinds}) > 1
    return tuple(
        Series(
            f"{recipe} in {runtime}" if several else recipe,
            (number if len(kinds) <= SERIES else recipes.index(recipe)) % SERIES,
            number % SHAPES,
        )
        for number, (recipe, runtime) in enumerate(kinds)
    )


def _labels(done: Sequence[tuple[Source, Measurement]]) -> list[str]:
    """The model, with as much more as is needed to tell apart rows of the same recipe and runtime."""
    tries = [
        [_label(source, each, whole, told) for source, each in done]
        for whole in (False, True)
        for told in (False, True)
    ]
    kinds = [_kind(each.case) for _, each in done]
    counts = [Counter(zip(labels, kinds, strict=True)) for labels in tries]
    return [
        next((labels[place] for labels, count in zip(tries, counts, strict=True) if count[labels[place], kind] == 1),
             tries[-1][place])
        for place, kind in enumerate(kinds)
    ]  # fmt: skip


def _label(source: Source, measurement: Measurement, whole: bool, told: bool) -> str:
    """A label with the ``whole`` name of the file instead of its model's, and with that of its result file."""
    case = measurement.case
    words = [measurement.case.name if whole or case.model is None else case.model]
    words += [f"{case.threads} threads"] if case.threads > 1 else []
    words += [f"batch {case.batch}"] if case.batch > 1 else []
    return ", ".join([*words, *([Path(source.name).stem] if told else [])])
