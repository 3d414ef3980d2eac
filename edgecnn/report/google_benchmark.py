"""A bench session as Google Benchmark's JSON, for what reads that: its compare.py, dashboards; pure formatting.

After ``ReportContext`` and ``PrintRunData`` in Google Benchmark's src/json_reporter.cc. An iteration is one image, a
repetition one of our runs, and ``real_time`` the mean time of its images, as there; our p50 and its neighbours are
counters beside it. A row that is INVALID has another name, so that nothing compares it with one that is not.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from edgecnn.measure.figures import figures
from edgecnn.measure.measurement import Measurement, Run, Session
from edgecnn.measure.trust import INVALID, VALID

AGGREGATES: dict[str, tuple[str, Callable[[list[float]], float]]] = {
    "mean": ("time", statistics.mean),
    "median": ("time", statistics.median),
    "stddev": ("time", statistics.stdev),
    "cv": ("percentage", lambda values: statistics.stdev(values) / statistics.mean(values)),
}


def google_benchmark(session: Session) -> str:
    """The JSON document."""
    rows = [entry for place, row in enumerate(session.measurements) for entry in _entries(row, place)]
    return json.dumps({"context": _context(session), "benchmarks": rows}, indent=2, allow_nan=False)


def full_name(row: Measurement) -> str:
    """A name that tells a row from all others of its bench, and an INVALID one from a valid one."""
    case = row.case
    mark = f" {INVALID}" if row.verdict.level == INVALID else ""
    return f"{case.name}/{case.runtime}/batch:{case.batch}/threads:{case.threads}{mark}"


def _context(session: Session) -> dict[str, Any]:
    machine, state = session.machine, session.states[0]
    return {
        "date": session.created, "host_name": machine.board or machine.cpu, "executable": "edgecnn bench",
        "num_cpus": machine.cores, "mhz_per_cpu": round(state.mhz or 0),
        "cpu_scaling_enabled": state.governor not in (None, "performance"), "caches": [], "load_avg": [],
        "library_version": session.edgecnn, "library_build_type": "release", "json_schema_version": 1,
        "cpu": machine.cpu, "verdict": session.verdict.level, "verdict_reasons": "; ".join(session.verdict.reasons),
    }  # fmt: skip


def _entries(row: Measurement, family: int) -> list[dict[str, Any]]:
    """One for every run and, from two runs on, the aggregates over them; a failed row has one that says so."""
    known: dict[str, Any] = {
        "family_index": family, "per_family_instance_index": 0, "run_name": full_name(row),
        "repetitions": len(row.runs), "threads": row.case.threads,
    }  # fmt: skip
    doubt: dict[str, Any] = {}
    if row.verdict.level != VALID:
        doubt["label"] = f"{row.verdict.level}: {'; '.join(row.verdict.reasons)}"
    if row.verdict.level == INVALID:
        doubt |= {"error_occurred": True, "error_message": doubt["label"]}
    if row.failure is not None or not row.runs:
        reason = row.failure or "no time is measured on an emulated CPU"
        failed = {"name": full_name(row), "run_type": "iteration", "error_occurred": True, "error_message": reason}
        return [known | failed]
    times = [_times(row, run) for run in row.runs]
    rest = figures(row)
    counters = {"bytes": row.case.bytes, "images_per_second": rest.images_per_second}
    counters |= {} if rest.memory_bytes is None else {"memory_bytes": rest.memory_bytes}
    counters |= {} if row.accuracy is None else {"accuracy": row.accuracy.correct / row.accuracy.images}
    entries = [
        known | {"name": full_name(row), "run_type": "iteration", "repetition_index": place}
        | {"iterations": len(run.samples) * row.case.batch, **times[place], "time_unit": "us"}
        | _percentiles(row, run) | counters | doubt
        for place, run in enumerate(row.runs)
    ]  # fmt: skip
    for word, (unit, compute) in AGGREGATES.items() if len(row.runs) > 1 else ():
        over = {each: compute([time[each] for time in times]) for each in times[0]}
        entries.append(
            known | {"name": f"{full_name(row)}_{word}", "run_type": "aggregate", "aggregate_name": word}
            | {"aggregate_unit": unit, "iterations": len(row.runs), **over, "time_unit": "us"} | doubt
        )  # fmt: skip
    return entries


def _times(row: Measurement, run: Run) -> dict[str, float]:
    """Microseconds per image, by the clock and of the CPU; the latter only when every run has it."""
    times = {"real_time": float(np.mean(run.samples)) / 1000 / row.case.batch}
    if all(each.cpu is not None for each in row.runs) and run.cpu is not None:
        times["cpu_time"] = run.cpu / 1000 / row.case.batch
    return times


def _percentiles(row: Measurement, run: Run) -> dict[str, float]:
    shares = {"min_us": 0, "p50_us": 50, "p90_us": 90, "p99_us": 99}
    return {word: float(np.percentile(run.samples, share)) / 1000 / row.case.batch for word, share in shares.items()}
