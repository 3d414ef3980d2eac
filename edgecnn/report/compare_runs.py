"""The comparison of two benches as text, as Markdown and as a JSON document; pure formatting."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgecnn.measure.limits import POINTS, RELATIVE
from edgecnn.measure.measurement import Session
from edgecnn.measure.regression import Change, Outcome
from edgecnn.report.markdown import code
from edgecnn.report.table import markdown_table, one_line, table

HEADERS = ("file", "runtime", "threads", "batch", "figure", "old", "new", "change", "limit", "verdict", "p")
SIDES = "llrrlrrrrlr"


def text(old: Session, new: Session, outcome: Outcome) -> str:
    """What a person reads."""
    return "\n".join([
        *(one_line(f"{name}  {_session(session)}") for name, session in (("old", old), ("new", new))),
        "",
        table(HEADERS, [_cells(each) for each in outcome.changes], SIDES),
        "",
        *map(one_line, _lines(outcome)),
    ])  # fmt: skip


def markdown(old: Session, new: Session, outcome: Outcome) -> str:
    """The same for a pull request."""
    rows = [[*map(code, cells[:2]), *cells[2:]] for cells in map(_cells, outcome.changes)]
    return "\n".join([
        *(f"- {name}: {code(_session(session))}" for name, session in (("old", old), ("new", new))),
        "",
        markdown_table(HEADERS, rows, SIDES),
        "",
        *(f"- {code(line)}" for line in _lines(outcome)),
    ])  # fmt: skip


def document(old: Session, new: Session, outcome: Outcome) -> dict[str, Any]:
    """The JSON document; accuracies are shares, times micro- or milliseconds as in the result file's figures."""
    return {
        **{name: {"created": session.created, "edgecnn": session.edgecnn, "verdict": session.verdict.level}
           for name, session in (("old", old), ("new", new))},
        "changes": [dataclasses.asdict(each) for each in outcome.changes],
        "absences": [dataclasses.asdict(each) for each in outcome.absences],
        "warnings": list(outcome.warnings),
        "remarks": list(outcome.remarks),
        "doubts": list(outcome.doubts),
        "regressions": outcome.regressions,
    }  # fmt: skip


def _session(session: Session) -> str:
    return f"{session.created}, edgecnn {session.edgecnn}, {session.machine.cpu}, {session.machine.cores} CPUs"


def _cells(each: Change) -> list[str]:
    case = each.case
    verdict = f"{each.verdict} (unstable)" if each.unstable else each.verdict
    return [
        case.name, case.runtime, str(case.threads), str(case.batch), each.limit.name, _value(each, each.old),
        _value(each, each.new), _difference(each), each.limit.text, verdict, "-" if each.p is None else f"{each.p:.2g}",
    ]  # fmt: skip


def _value(each: Change, value: float) -> str:
    match each.limit.metric:
        case "accuracy":
            return f"{100 * value:.2f} %"
        case "latency":
            return f"{value:,.1f} us" if value < 1000 else f"{value:,.0f} us"
        case "cold_start":
            return f"{value:,.1f} ms"
        case "energy":
            return f"{1000 * value:.4g} mJ"
    return f"{value:,.0f}"


def _difference(each: Change) -> str:
    """The change as it is, not as it is judged: minus where the figure fell."""
    if each.limit.unit == POINTS:
        return f"{0.0 - each.worse:+.2f} pp"
    return f"{each.worse:+.1f} %" if each.limit.unit == RELATIVE else f"{each.worse:+,g} {each.limit.unit}"


def _lines(outcome: Outcome) -> list[str]:
    tests = dict.fromkeys(f"test of {each.limit.name}: {each.test}" for each in outcome.changes)
    count = len(outcome.regressions)
    return [
        *(f"{'REGRESSION: ' if each.regression else ''}{each.case.name} in {each.case.runtime} {each.text}"
          for each in outcome.absences),
        *tests,
        *(f"WARNING, compared because of --force: {line}" for line in outcome.warnings),
        *(f"also different: {line}" for line in outcome.remarks),
        *(f"doubt, {line}" for line in outcome.doubts),
        f"{count} regression{'' if count == 1 else 's'} in {len(outcome.changes)} comparisons",
    ]  # fmt: skip
