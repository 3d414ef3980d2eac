"""The result file that a board sends back: it may hold anything, and is believed only as far as it fits the order."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecnn import __version__
from edgecnn.deploy.ssh.address import cleaned
from edgecnn.errors import BadFileError
from edgecnn.measure.cases import Order
from edgecnn.measure.measurement import LIMIT, Case, Measurement, Session
from edgecnn.runtime.records import read_json
from edgecnn.runtime.terminal import printable_lines


def read_result(path: Path, order: Order, cases: Sequence[Case]) -> Session:
    """The session in a file, with the paths of these cases in place of those on the board.

    Text loses what a terminal would obey. Raises BadFileError when it is no session, or not of this order, these
    cases and this edgecnn.
    """
    clean = path.with_name(f"{path.name}.clean")
    try:
        clean.write_text(json.dumps(cleaned(read_json(path, LIMIT), _one_line)))
    except RecursionError as error:
        raise BadFileError(f"{path} is nested too deep") from error
    session = Session.load(clean)
    wrong = next(_differences(session, order, cases), None)
    if wrong is not None:
        raise BadFileError(wrong)
    rows = zip(session.measurements, cases, strict=True)
    return dataclasses.replace(session, measurements=tuple(_renamed(row, case) for row, case in rows))


def _one_line(text: str) -> str:
    return printable_lines(text).replace("\n", " ").replace("\t", " ")


def _differences(session: Session, order: Order, cases: Sequence[Case]) -> Iterator[str]:
    if session.edgecnn != __version__:
        yield f"edgecnn is {session.edgecnn}, not {__version__}"
    if session.settings != order.settings:
        yield f"settings are {session.settings}, not {order.settings}"
    if len(session.measurements) != len(cases):
        yield f"it has {len(session.measurements)} rows, not {len(cases)}"
    for row, case in zip(session.measurements, cases, strict=False):
        if dataclasses.replace(row.case, file=case.file, bundle=case.bundle) != case:
            yield f"a row is of {row.case.sha256[:12]} in {row.case.runtime}, not {case.sha256[:12]} in {case.runtime}"
        if row.failure is None and len(row.runs) != order.settings.runs:
            yield f"a row has {len(row.runs)} runs, not {order.settings.runs}"
        if row.emulation is not None or session.machine.emulated:
            yield "it is of an emulated machine"
    if len(session.states) < 2:
        yield "it does not say how the machine was"


def _renamed(row: Measurement, case: Case) -> Measurement:
    failure = row.failure and row.failure.replace(str(Path(row.case.file).parent), str(Path(case.file).parent))
    return dataclasses.replace(row, case=case, failure=failure)
