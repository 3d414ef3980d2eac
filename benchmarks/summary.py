"""The table of the README: ``python -m benchmarks.summary [--data cifar10] [--rounds 20] [--record] [--json]``.

Quantizes every model with the weights that ship, scores float32 and static_w8a8 on all test images, and times both
files by turns (see benchmarks/latency.py; with Intel AMX withheld, where the CPU has it). ``--record`` writes the
accuracy of static_w8a8 into the headers of the shipped weights, where ``edgecnn models`` finds it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.latency import measure
from edgecnn import checkpoint

HEADERS = (
    "model", "float32", "static_w8a8", "change, points (95 %)", "bytes float32", "bytes static_w8a8", "ratio",
    "us float32", "us static_w8a8", "ratio of times",
)  # fmt: skip
MODELS = ("lenet", "mod_cnn", "depthwise", "depth_res", "resnet8")


@dataclass(frozen=True)
class Row:
    """One model: accuracies as shares, change in points, microseconds per image on one thread."""

    model: str
    images: int
    float_accuracy: float
    quantized_accuracy: float
    change: float
    change_interval: tuple[float, float]
    agreement: float
    float_bytes: int
    quantized_bytes: int
    float_microseconds: float
    quantized_microseconds: float
    time_ratio: float


def run(model: str, data: str, rounds: int, folder: Path) -> Row:
    """Quantize through the command line, as a user does, and time the two TFLite files."""
    words = ["quantize", "--model", model, "--data", data, "--format", "tflite", "--out", str(folder / model), "--json"]
    done = subprocess.run([sys.executable, "-m", "edgecnn", *words], stdout=subprocess.PIPE, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    floats, quantized = document["float"], document["quantized"]
    files = [folder / model / each["file"] for each in (floats, quantized)]
    withheld = {each.file: each for each in reversed(measure(files, rounds))}
    low, high = quantized["change_interval_points"]
    plain, small = (withheld[str(file)] for file in files)
    return Row(
        model, floats["images"], floats["accuracy"], quantized["accuracy"], quantized["change_points"], (low, high),
        quantized["agreement"], floats["bytes"], quantized["bytes"],
        plain.microseconds, small.microseconds, small.ratio,
    )  # fmt: skip


def markdown(rows: list[Row]) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(HEADERS) + " |", "|---" + "|---:" * (len(HEADERS) - 1) + "|"]
    for row in rows:
        cells = [
            f"`{row.model}`", f"{100 * row.float_accuracy:.2f} %", f"{100 * row.quantized_accuracy:.2f} %",
            f"{row.change:+.2f} ({row.change_interval[0]:+.2f} to {row.change_interval[1]:+.2f})",
            f"{row.float_bytes:,}", f"{row.quantized_bytes:,}", f"{row.quantized_bytes / row.float_bytes:.3f}",
            f"{row.float_microseconds:.1f}", f"{row.quantized_microseconds:.1f}", f"{row.time_ratio:.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.summary", description="Float against static_w8a8.")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        rows = [run(model, options.data, options.rounds, Path(folder)) for model in MODELS]
    for row in rows if options.record else ():
        path = checkpoint.shipped(row.model, options.data)
        assert path is not None  # or it could not have been quantized
        checkpoint.annotate(path, {"static_w8a8_accuracy": row.quantized_accuracy})
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
