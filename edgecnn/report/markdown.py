"""A report as GitHub-flavoured Markdown, for a pull request or a README."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgecnn.measure.trust import INVALID
from edgecnn.report import operations, words
from edgecnn.report.cells import columns, recipe
from edgecnn.report.markup import clean
from edgecnn.report.plots import machine_name
from edgecnn.report.sections import Profiled, Row, Section
from edgecnn.report.table import markdown_table


def markdown(sections: Sequence[Section], title: str) -> str:
    """The document: for each machine its verdict, its table, what failed, and what it is."""
    return "\n\n".join([f"# {title}", *(block for section in sections for block in _section(section))]) + "\n"


def code(text: str) -> str:
    """The text as a code span, in which nothing is markup, a link or a mention; also within a table."""
    text = " ".join(clean(text).split()).replace("|", "\\|") or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def _section(section: Section) -> list[str]:
    word, sentence = words.verdict(section.level, section.machine.emulated)
    blocks = [f"## {code(machine_name(section.machine))}", f"**{word}.** {sentence}"]
    doubts = words.reasons(section)
    if doubts:
        blocks.append("\n".join(f"- {code(each)}" for each in doubts))
    if section.rows:
        blocks += [_table(section), f"★ is on the Pareto front of accuracy against {section.cost} or bytes."]
    gained = []
    for said, why in words.speed(section):
        gained.append(f"- {code(said)}{''.join(f'; {code(each)}' for each in why)}")
    blocks += ["\n".join(["What quantization gains in speed:", "", *gained])] if gained else []
    if section.failed:
        lines = [f"- {code(each.case.name)} in {code(each.case.runtime)}: {code(each.failure or '')}"
                 for _, each in section.failed]  # fmt: skip
        blocks.append("\n".join(["Could not be measured:", "", *lines]))
    blocks += [block for each in section.profiles for block in _operations(each)]
    facts = "; ".join(f"{name} {code(said)}" for name, said in words.facts(section.machine))
    if not section.sources:
        return [*blocks, f"Machine: {facts}."]
    asked = [] if section.machine.emulated else [words.settings(source) for source in section.sources]
    how = dict.fromkeys([*asked, *(_said(name, said) for name, said in words.method(section))])
    return [*blocks, "\n".join(["How it was measured:", "", *(f"- {each}" for each in how)]), f"Machine: {facts}."]


def _said(name: str, said: str) -> str:
    """A line on the method; what stands in a result file in its own words is no markup."""
    return f"{name}: {code(said) if name == words.ENERGY else said}"


def _operations(profiled: Profiled) -> list[str]:
    """A heading and the table of a profile."""
    mark = "**INVALID** " if profiled.profile.invalid else ""
    rows = [[number, code(name), *rest] for number, name, *rest in operations.table(profiled.profile)]
    shown = markdown_table(operations.HEADINGS, rows, "rllrrr")
    return [f"{mark}Operations of {code(profiled.file)} in {code(profiled.profile.engine)}:", shown]


def _table(section: Section) -> str:
    shown = columns(section)
    heads = ["file", "recipe", "verdict", "front", *(each.heading for each in shown)]
    if len(section.sources) > 1:
        heads.insert(0, "result file")
    numbers = {each.heading for each in shown if each.number}
    rows = []
    for row in section.rows:
        cells = [code(row.name), code(recipe(row)), _verdict(row), _front(row)]
        cells += [str(each.cell(row)) if each.number else code(str(each.cell(row))) for each in shown]
        rows.append([code(row.source.name), *cells] if len(section.sources) > 1 else cells)
    return markdown_table(heads, rows, "".join("r" if name in numbers else "l" for name in heads))


def _verdict(row: Row) -> str:
    return f"**{INVALID}**" if row.invalid else row.level


def _front(row: Row) -> str:
    return f"★ {', '.join(row.fronts)}" if row.fronts else ""
