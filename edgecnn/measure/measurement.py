"""The result file of ``edgecnn bench``: raw values that are never changed, and the machine they came from.

``measurement.schema.json`` beside this file says the same as JSON Schema. Times are nanoseconds of the monotonic
clock. The ``figures`` and ``speed`` in the file are for readers without edgecnn; loading leaves them out and they are
computed anew.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.errors import BadFileError, UsageError
from edgecnn.measure.machine import Machine, State
from edgecnn.measure.trust import INVALID, Verdict
from edgecnn.runtime.files import write_bytes
from edgecnn.runtime.manifest import Accuracy
from edgecnn.runtime.records import check_texts, decode_file, read_json, schema_of

SCHEMA = 2  # 1 had no case.sample
LIMIT = 1 << 28  # bytes of a result file
MOST_RUNS = 1000  # of a file; what is computed of runs takes whole numbers of as many bits


@dataclass(frozen=True)
class Case:
    """What is measured: one file in one runtime. ``bundle`` is the folder it was opened from, None for a bare file.

    ``sample`` is the SHA-256 of the bundle's images and labels, which accuracy is of; None where it has none, or where
    an older edgecnn did not say.
    """

    file: str
    bundle: str | None
    bytes: int
    sha256: str
    model: str | None
    recipe: str | None
    runtime: str
    threads: int
    batch: int
    sample: str | None

    def __post_init__(self) -> None:
        for name in ("sha256", "sample"):
            if getattr(self, name) is not None and not re.fullmatch(r"[0-9a-f]{64}", getattr(self, name)):
                raise UsageError(f"{name} of {self.file} must be 64 lower-case hex digits")
        for name in ("bytes", "threads", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, but must be at least 1")

    @property
    def name(self) -> str:
        """The file as tables show it, within its bundle if it is of one."""
        return self.file if self.bundle is None else f"{Path(self.bundle).name}/{Path(self.file).name}"


@dataclass(frozen=True)
class Run:
    """Raw values of one process: how it started, its memory, its clock, and every call of the model.

    A cold start is ``start`` (of the process, to the first line of ours), ``imports``, ``load`` and ``first`` call.
    ``base_bytes`` was resident with the runtime imported and nothing loaded, ``peak_bytes`` at most until the first
    ten calls were done. A sample is one call on ``batch`` images; ``overhead`` is what a sample holds beyond it.
    ``cpu`` is the mean CPU time of a sample, of all threads of the process.
    """

    start: int
    imports: int
    load: int
    first: int
    base_bytes: int | None
    peak_bytes: int | None
    overhead: int
    clocks_mhz: tuple[float, ...]
    warm_ups: tuple[int, ...]
    samples: tuple[int, ...]
    cpu: int | None = None

    def __post_init__(self) -> None:
        if not self.samples or min(self.samples) <= 0:
            raise UsageError(f"samples holds {len(self.samples)} times; there must be some, all above 0")


@dataclass(frozen=True)
class Energy:
    """Joules per image, or None and the reason; ``source`` says what was metered."""

    joules: float | None
    source: str | None
    estimate: bool
    reason: str | None


@dataclass(frozen=True)
class Graph:
    """What the engine makes of a TFLite file.

    ``operations`` are the file's, by name and in order; ``outside`` those of them that no delegate takes, and
    ``partitions`` the pieces that it does take. The tensors between operations need ``arena_bytes`` without a delegate.
    """

    operations: tuple[str, ...]
    outside: tuple[str, ...]
    partitions: int
    arena_bytes: int | None


@dataclass(frozen=True)
class Window:
    """A stretch of a sustained run: its end in seconds after the start, its median call, the state at its end."""

    at: float
    p50: int
    mhz: float | None
    celsius: float | None
    throttled: int | None


@dataclass(frozen=True)
class Emulation:
    """What a file did on an emulated ``cpu``, where time means nothing.

    ``instructions`` were executed per image, once for each repeat of the count. The raw outputs for ``images`` images
    differed by at most ``largest_difference`` from those of the machine that emulates: in steps of an integer output,
    else as float.
    """

    cpu: str
    instructions: tuple[int, ...]
    images: int
    largest_difference: float

    def __post_init__(self) -> None:
        if not self.instructions or min(self.instructions) <= 0:
            raise UsageError(f"instructions holds {len(self.instructions)} counts; there must be some, all above 0")

    @property
    def middle(self) -> int:
        """The count that stands for all of them: their median, the lower of two."""
        return sorted(self.instructions)[(len(self.instructions) - 1) // 2]


@dataclass(frozen=True)
class Measurement:
    """One case: its runs, or why it failed and the runs before that. ``engine`` is what really ran it.

    ``graph`` is of TFLite files only, and so is ``floor``: nanoseconds of a call of the same file without its
    operations, before anything is computed. ``sustained`` is of benches that were asked for it. On an emulated machine
    there are no runs but an ``emulation``.
    """

    case: Case
    engine: str | None
    failure: str | None
    runs: tuple[Run, ...]
    accuracy: Accuracy | None
    energy: Energy
    verdict: Verdict
    graph: Graph | None = None
    sustained: tuple[Window, ...] = ()
    emulation: Emulation | None = None
    floor: int | None = None

    def __post_init__(self) -> None:
        if self.failure is None and not self.runs and self.emulation is None:
            raise UsageError(f"{self.case.file} has neither runs nor a failure")
        if len(self.runs) > MOST_RUNS:
            raise UsageError(f"{self.case.file} has {len(self.runs)} runs (valid: up to {MOST_RUNS})")


@dataclass(frozen=True)
class Settings:
    """How it was measured: ``min_seconds`` are timed for each case, shared by its ``runs``, each a new process.

    Afterwards each case runs for ``sustained`` seconds more without a rest, if that is not 0.
    """

    runs: int = 5
    min_seconds: float = 1.0
    pin: tuple[int, ...] = ()
    cooldown: float = 0.0
    sustained: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= MOST_RUNS:
            raise UsageError(f"runs is {self.runs} (valid: 1 to {MOST_RUNS})")


@dataclass(frozen=True)
class Session:
    """The whole of a result file; ``created`` is UTC in ISO 8601.

    ``states`` are before, between and after rounds, and after each sustained run.
    ``thinned`` is how many samples of a run were kept at most, evenly spaced in time; None for all of them.
    """

    edgecnn: str
    created: str
    machine: Machine
    settings: Settings
    states: tuple[State, ...]
    verdict: Verdict
    measurements: tuple[Measurement, ...]
    schema: int = SCHEMA
    thinned: int | None = None

    def __post_init__(self) -> None:
        for name in ("states", "measurements"):
            if not getattr(self, name):
                raise UsageError(f"{name} is empty; there must be some")

    @property
    def invalid(self) -> bool:
        """Whether the machine did what no figure survives."""
        return self.verdict.level == INVALID

    def thin(self, keep: int) -> Session:
        """The same with at most ``keep`` samples and a tenth as many warm-ups of each run, for a small file."""

        def kept(run: Run) -> Run:
            return dataclasses.replace(
                run, samples=_evenly(run.samples, keep), warm_ups=_evenly(run.warm_ups, keep // 10)
            )

        rows = (dataclasses.replace(row, runs=tuple(map(kept, row.runs))) for row in self.measurements)
        return dataclasses.replace(self, measurements=tuple(rows), thinned=keep)

    def document(self) -> dict[str, Any]:
        """The JSON document, with the figures of every measurement that has runs, and the verdicts on speed."""
        from edgecnn.measure.figures import figures
        from edgecnn.measure.speed import speeds

        document = {"schema": self.schema} | dataclasses.asdict(self)
        for entry, measurement in zip(document["measurements"], self.measurements, strict=True):
            entry["figures"] = dataclasses.asdict(figures(measurement)) if measurement.runs else None
        return document | {"speed": [dataclasses.asdict(each) for each in speeds(self)]}

    def save(self, path: Path) -> None:
        """Write the result file. Raises OutputError when the file system refuses."""
        write_bytes(path, json.dumps(self.document(), allow_nan=False).encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Session:
        """Read a result file. Raises BadFileError naming the file and the field."""
        return cls.parse(read_json(path, LIMIT), path)

    @classmethod
    def parse(cls, document: Any, path: Path) -> Session:
        """The JSON value in the result file ``path``, which is changed. Raises BadFileError naming file and field."""
        check_texts(document, path)
        if isinstance(document, dict) and "measurements" not in document:
            raise BadFileError(f"{path} holds no measurements; give a file that 'edgecnn bench --json' wrote")
        version = schema_of(document, SCHEMA, path)
        entries = document.get("measurements") if isinstance(document, dict) else None
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict):
                entry.pop("figures", None)
                bring_up(entry, version)
        if isinstance(document, dict):
            document.pop("speed", None)
        session: Session = decode_file(cls, document, path)
        return session


def bring_up(entry: dict[str, Any], version: int | None) -> None:
    """Give the case in a part of a result file of schema 1, a profile's too, the sample it did not name."""
    if version == 1 and isinstance(entry.get("case"), dict):
        entry["case"].setdefault("sample", None)


def _evenly(values: tuple[int, ...], keep: int) -> tuple[int, ...]:
    """At most ``keep`` of the values, evenly spaced, in their order."""
    if len(values) <= keep:
        return values
    return tuple(values[place * len(values) // keep] for place in range(keep))
