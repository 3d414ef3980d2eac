"""Counters and sums of one server, and the text that Prometheus reads (exposition format 0.0.4)."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path

TEXT = "text/plain; version=0.0.4; charset=utf-8"
PARTS = ("decode", "preprocess", "run")
BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # seconds


class Metrics:
    """What happened so far."""

    def __init__(self) -> None:
        self.started = time.time()
        self.requests: Counter[tuple[str, int]] = Counter()  # by path and status
        self.reloads: Counter[str] = Counter({"ok": 0, "failed": 0})
        self.restarts = 0
        self._counts = {part: [0] * (len(BUCKETS) + 1) for part in PARTS}
        self._sums = dict.fromkeys(PARTS, 0.0)

    def classified(self, milliseconds: Mapping[str, float]) -> None:
        """Count a picture and the milliseconds that each part took."""
        for part in PARTS:
            seconds = milliseconds[part] / 1000
            self._counts[part][bisect_left(BUCKETS, seconds)] += 1
            self._sums[part] += seconds

    def text(self, card: Mapping[str, object], gauges: Mapping[str, tuple[float, str]], pids: Mapping[str, int]) -> str:
        """The page of ``GET /metrics``; ``gauges`` are values of this moment by name, each with its help."""
        model = {name: card[name] for name in ("model", "recipe", "engine", "sha256") if name in card}
        families = [
            _family("edgecnn_model_info", "gauge", "The model that serves.", [("", model, 1)] if model else []),
            _family("edgecnn_requests_total", "counter", "Requests answered.", [
                ("", {"path": path, "code": code}, count) for (path, code), count in sorted(self.requests.items())]),
            _family("edgecnn_classify_seconds", "histogram", "Time of each part of classifying one picture.",
                    self._histograms()),
            _family("edgecnn_reloads_total", "counter", "New bundles that were to be loaded, by outcome.", [
                ("", {"result": result}, count) for result, count in self.reloads.items()]),
            _family("edgecnn_worker_restarts_total", "counter", "Times the model's process ended by itself.",
                    [("", {}, self.restarts)]),
            *(_family(name, "gauge", about, [("", {}, value)]) for name, (value, about) in gauges.items()),
            _family("edgecnn_resident_memory_bytes", "gauge", "Memory that a process holds.", [
                ("", {"process": name}, resident(pid)) for name, pid in pids.items()]),
            _family("edgecnn_start_time_seconds", "gauge", "When the server was started, since 1970.",
                    [("", {}, self.started)]),
        ]  # fmt: skip
        return "".join(families)

    def _histograms(self) -> Iterable[tuple[str, dict[str, object], float]]:
        for part in PARTS:
            for limit, count in zip([*BUCKETS, "+Inf"], accumulate(self._counts[part]), strict=True):
                yield "_bucket", {"part": part, "le": limit}, count
            yield "_sum", {"part": part}, self._sums[part]
            yield "_count", {"part": part}, sum(self._counts[part])


def resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where it has ended or the system does not say."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _family(name: str, kind: str, about: str, samples: Iterable[tuple[str, Mapping[str, object], float]]) -> str:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    for suffix, labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(str(each))}"' for key, each in labels.items())
        lines.append(f"{name}{suffix}{{{inside}}} {value}" if inside else f"{name}{suffix} {value}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
