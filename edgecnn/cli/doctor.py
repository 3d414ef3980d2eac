"""``edgecnn doctor``: what this machine is, what works on it, and how to mend the rest."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import click

from edgecnn.cli.options import json_option, print_json
from edgecnn.errors import CheckFailedError, EdgeCNNError

if TYPE_CHECKING:
    from edgecnn.measure.doctor import Finding

LEAST_FREE = 1 << 30  # bytes; CIFAR-10 unpacked and some bundles


@click.command(name="doctor")
@json_option
def command(as_json: bool) -> None:
    """Look at this machine: system, CPU, runtimes, extras, data and disk, with the command that mends what is missing.

    Works on the light install. The exit code is 1 when no TFLite file can be run here.
    """
    from edgecnn.measure.doctor import LIGHT, check_extras, check_runtimes, int8_speed, runs_tflite
    from edgecnn.measure.machine import read_machine
    from edgecnn.report.table import table

    machine, runtimes = read_machine(), check_runtimes()
    findings = [*runtimes, *check_extras(), _data(), _disk()]
    if as_json:
        known = {"machine": dataclasses.asdict(machine), "int8": int8_speed(machine)}
        print_json(known | {"findings": [dataclasses.asdict(each) for each in findings]})
    else:
        memory = "not told" if machine.memory_bytes is None else f"{machine.memory_bytes / 1e9:.1f} GB"
        facts = [
            ("board", machine.board or "not told"),
            ("system", f"{machine.system}, kernel {machine.kernel}, {machine.architecture}"),
            ("python", machine.python),
            ("cpu", f"{machine.cpu}, {machine.cores} CPUs{', virtual machine' if machine.virtual else ''}"),
            ("memory", memory),
            *(("int8", line) for line in int8_speed(machine)),
        ]
        rows = [[each.about, each.state, each.found, each.mend or ""] for each in findings]
        lines = [f"{name:7} {fact}" for name, fact in facts]
        click.echo("\n".join([*lines, "", table(["", "", "found", "to mend it"], rows)]))
    if not runs_tflite(runtimes):
        raise CheckFailedError(f"no TFLite file can be run here; run: {LIGHT}")


def _data() -> Finding:
    from edgecnn.data import cifar10
    from edgecnn.data.location import VARIABLE, data_root
    from edgecnn.measure.doctor import ABSENT, BROKEN, OK, Finding

    try:
        root = data_root()
        if cifar10.find(root) is None:
            mend = f"only for training: set {VARIABLE}, or let train fetch it"
            return Finding("CIFAR-10", ABSENT, f"not in {root}", mend)
        cifar10.load()
    except (EdgeCNNError, OSError) as error:
        return Finding("CIFAR-10", BROKEN, str(error), f"mend the files, or set {VARIABLE} to another folder")
    return Finding("CIFAR-10", OK, f"in {root}")


def _disk() -> Finding:
    from edgecnn.data.location import data_root
    from edgecnn.measure.doctor import BROKEN, OK, Finding

    try:
        place = data_root().absolute()
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
    except (EdgeCNNError, OSError) as error:
        return Finding("disk", BROKEN, str(error), "make the folder of data sets readable")
    said = f"{free / 1e9:.1f} GB free at {place}"
    return Finding("disk", OK, said) if free >= LEAST_FREE else Finding("disk", BROKEN, said, "free 1 GB there")
