"""Which measurement of an old bench belongs to which of a new one, and what makes the two incomparable.

A field keeps two benches from being compared only where it matters: the machine for what is timed or metered, not for
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from edgecnn.measure.measurement import Case, Measurement, Session

# Figures that depend on everything about the machine; instructions, counted one by one, depend on less.
MACHINE_BOUND = frozenset({"latency", "cold_start", "memory", "energy"})
CPU_BOUND = MACHINE_BOUND | {"instructions"}
TAILS = frozenset({"latency min", "latency p99"})  # the fewer samples there are, the less extreme they get

_KEY: tuple[tuple[str, Callable[[Case], Hashable]], ...] = (
    ("bundle", lambda case: None if case.bundle is None else Path(case.bundle).name),
    ("file", lambda case: Path(case.file).name),
    ("model", attrgetter("model")),
    ("recipe", attrgetter("recipe")),
    ("runtime", attrgetter("runtime")),
    ("threads", attrgetter("threads")),
    ("batch", attrgetter("batch")),
)
# What two files of the same name may differ in and still be the ones that were meant to be compared, wrongly.
_MISTAKES = ("threads", "batch", "runtime", "model", "recipe")

# Kernel, system and edgecnn are told where they differ but refuse nothing: they change with every update.
_SESSION_FIELDS: tuple[tuple[str, Callable[[Session], object], frozenset[str]], ...] = (
    ("machine.board", attrgetter("machine.board"), MACHINE_BOUND),
    ("machine.cpu", attrgetter("machine.cpu"), CPU_BOUND),
    ("machine.architecture", attrgetter("machine.architecture"), CPU_BOUND),
    ("machine.cores", attrgetter("machine.cores"), MACHINE_BOUND),
    ("machine.features", lambda session: ", ".join(session.machine.features) or "none", CPU_BOUND),
    ("machine.virtual", attrgetter("machine.virtual"), MACHINE_BOUND),
    ("machine.emulated", attrgetter("machine.emulated"), CPU_BOUND),
    ("machine.python", attrgetter("machine.python"), CPU_BOUND),
    ("governor", lambda session: session.states[0].governor, MACHINE_BOUND),
    ("settings.pin", lambda session: ",".join(map(str, sorted(session.settings.pin))) or "none", MACHINE_BOUND),
    ("settings.cooldown", attrgetter("settings.cooldown"), MACHINE_BOUND),
    ("seconds in each run", lambda session: session.settings.min_seconds / session.settings.runs, MACHINE_BOUND),
    ("thinned", attrgetter("thinned"), TAILS),
    ("machine.system", attrgetter("machine.system"), frozenset()),
    ("machine.kernel", attrgetter("machine.kernel"), frozenset()),
    ("edgecnn", attrgetter("edgecnn"), frozenset()),
)
_PAIR_FIELDS: tuple[tuple[str, Callable[[Measurement], object], frozenset[str]], ...] = (
    ("engine", attrgetter("engine"), CPU_BOUND),
    ("accuracy.images", lambda row: row.accuracy and row.accuracy.images, frozenset({"accuracy"})),
    ("case.sample", lambda row: row.accuracy and row.case.sample and row.case.sample[:12], frozenset({"accuracy"})),
    ("emulation.cpu", lambda row: row.emulation and row.emulation.cpu, frozenset({"instructions"})),
)


@dataclass(frozen=True)
class Pair:
    """The same thing measured twice. ``mistake`` is the field of the case in which it is not the same after all."""

    old: Measurement
    new: Measurement
    mistake: str | None = None

    @property
    def same_images(self) -> bool:
        """Whether both were scored on the images of one and the same file."""
        return self.old.case.sample is not None and self.old.case.sample == self.new.case.sample


@dataclass(frozen=True)
class Pairing:
    """Everything of two benches: pairs, what only the old one measured, and what only the new one did."""

    pairs: tuple[Pair, ...]
    missing: tuple[Measurement, ...]
    added: tuple[Measurement, ...]


def pair(old: Session, new: Session) -> Pairing:
    """Pair measurements by file name, model, recipe, runtime, threads and batch, in the order of ``new``.

    Bundle folders of the same name go together first, so that files of the same name in several bundles do not mix,
    and equal ones in the order they come in. What then is left over with the same file name and one of _MISTAKES
    different is paired as a mistake.
    """
    olds, news = list(old.measurements), list(new.measurements)
    pairs = _match(olds, news, ()) + _match(olds, news, ("bundle",))
    for field in _MISTAKES:
        pairs += _match(olds, news, ("bundle", field), field)
    order = {id(row): place for place, row in enumerate(new.measurements)}
    pairs.sort(key=lambda each: order[id(each.new)])
    return Pairing(tuple(pairs), tuple(olds), tuple(news))


def _match(
    olds: list[Measurement], news: list[Measurement], ignored: Sequence[str], mistake: str | None = None
) -> list[Pair]:
    """Pairs that agree in all but the ``ignored`` parts of the key; they are taken out of both lists."""

    def key(row: Measurement) -> Hashable:
        return tuple(read(row.case) for name, read in _KEY if name not in ignored)

    pairs = []
    for row in list(olds):
        partner = next((other for other in news if key(other) == key(row)), None)
        if partner is not None:
            pairs.append(Pair(row, partner, mistake))
            olds[:] = [each for each in olds if each is not row]
            news[:] = [each for each in news if each is not partner]
    return pairs


def differences(old: Session, new: Session, pairs: Sequence[Pair], metrics: set[str]) -> tuple[list[str], list[str]]:
    """(obstacles, remarks): a line for each field that differs and matters to one of ``metrics``, or to none.

    ``metrics`` holds names with and without the statistic: ``latency``, ``latency p50``. A line names the field and
    both values, and the file where the field is of one measurement.
    """
    obstacles: list[str] = []
    remarks: list[str] = []
    for name, read, matters in _SESSION_FIELDS:
        _note(name, read(old), read(new), obstacles if matters & metrics else remarks)
    for each in pairs:
        if each.mistake:
            old_value, new_value = (getattr(row.case, each.mistake) for row in (each.old, each.new))
            _note(f"{each.mistake} of {Path(each.new.case.file).name}", old_value, new_value, obstacles)
        for field, value, matters in _PAIR_FIELDS:
            before, now = value(each.old), value(each.new)
            if before is not None and now is not None:
                _note(field, before, now, obstacles if matters & metrics else remarks)
    return list(dict.fromkeys(obstacles)), list(dict.fromkeys(remarks))


def _note(field: str, before: object, now: object, lines: list[str]) -> None:
    if before != now:
        lines.append(f"{field} was {_shown(before)} and is {_shown(now)}")


def _shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else "not told" if value is None else str(value)
