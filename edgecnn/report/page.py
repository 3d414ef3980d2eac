"""A report as one HTML page that needs nothing beside itself: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgecnn.measure.machine import State
from edgecnn.measure.measurement import Measurement
from edgecnn.measure.trust import INVALID, LEVELS, VALID
from edgecnn.report import words
from edgecnn.report.cells import Cell, Column, columns, recipe
from edgecnn.report.markup import Markup, join, tag
from edgecnn.report.plots import groups, machine_name
from edgecnn.report.sections import Row, Section, Source
from edgecnn.report.sheet import plotted, sheet


def page(sections: Sequence[Section], title: str) -> str:
    """The HTML document of one or more sections."""
    worst = max((section.level for section in sections), key=LEVELS.index)
    word = words.verdict(worst, emulated=False)[0]
    several = len(sections) > 1
    return sheet(
        f"{title}: {word}", tag("h1", title), tag("p", _summary(sections), class_="note"),
        _contents(sections, worst) if several else _verdict(sections[0]),
        *(_section(section, number, several) for number, section in enumerate(sections, 1)), _footer(sections),
    )  # fmt: skip


def _summary(sections: Sequence[Section]) -> str:
    benches = [(each.name, each.session.created) for section in sections for each in section.sources]
    profiles = [(each.name, each.profile.created) for section in sections for each in section.profiles]
    rows = sum(len(section.rows) + len(section.failed) for section in sections)
    counts = [f"{rows} measurements"] if rows else []
    counts += [f"{len(profiles)} {'profile' if len(profiles) == 1 else 'profiles'}"] if profiles else []
    where = machine_name(sections[0].machine) if len(sections) == 1 else f"{len(sections)} machines"
    days = sorted({f"{created[:16].replace('T', ' ')} UTC" for _, created in (*benches, *profiles)})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{' and '.join(counts)} from {', '.join(name for name, _ in (*benches, *profiles))}; {where}; {when}"


def _verdict(section: Section) -> Markup:
    word, sentence = words.verdict(section.level, section.machine.emulated)
    doubts = [tag("li", each) for each in words.reasons(section)]
    return tag(
        "div", tag("strong", word), tag("p", sentence), tag("ul", *doubts) if doubts else "",
        class_=f"verdict {section.level.lower()}", role="status" if section.level == VALID else "alert",
    )  # fmt: skip


def _contents(sections: Sequence[Section], worst: str) -> Markup:
    word, _ = words.verdict(worst, emulated=False)
    links = [
        tag("li", tag("a", machine_name(section.machine), href=f"#machine-{number}"), f": {section.level}")
        for number, section in enumerate(sections, 1)
    ]
    said = "The worst verdict on any machine. Each has a section of its own: their figures are not to be compared."
    return tag("nav", tag("strong", word), tag("p", said), tag("ul", *links), class_=f"verdict {worst.lower()}",
               aria_label="Machines")  # fmt: skip


def _section(section: Section, number: int, several: bool) -> Markup:
    parts = [tag("h2", machine_name(section.machine), id=f"machine-{number}"), _verdict(section)] if several else []
    if section.rows:
        parts += [tag("h3", "Results"), _table(section)]
    if section.failed:
        parts += [tag("h3", "Could not be measured"), _failures(section.failed)]
    speed = words.speed(section)
    if speed:
        parts += [tag("h3", "What quantization gains in speed"), _speed(speed)]
    parts += [plotted(group) for group in groups(section)]
    parts += [tag("h3", "How it was measured"), _method(section)] if section.sources else []
    parts += [tag("h3", "The machine"), _definitions(words.facts(section.machine))]
    looks = [(each.name, each.session.states) for each in section.sources]
    looks += [(each.name, each.profile.states) for each in section.profiles]
    parts += [_states(f"Its state, {name}" if len(looks) > 1 else "Its state", states) for name, states in looks]
    return tag("section", *parts)


def _table(section: Section) -> Markup:
    shown = columns(section)
    headings = [tag("th", "file", scope="col", role="columnheader")]
    headings += [
        tag("th", each.heading, scope="col", role="columnheader", class_="number" if each.number else None)
        for each in shown
    ]
    head = tag("thead", tag("tr", *headings, role="row"), role="rowgroup")
    rows = tag("tbody", *(_row(row, shown, section) for row in section.rows), role="rowgroup")
    name = f"Results on {machine_name(section.machine)}"
    return tag("div", tag("table", head, rows, role="table", aria_label=name), class_="scroll cards", role="region",
               aria_label=f"{name}, table", tabindex="0")  # fmt: skip


def _row(row: Row, shown: Sequence[Column], section: Section) -> Markup:
    several = len(section.sources) > 1
    pills = [] if row.level == VALID else [tag("span", row.level, class_=f"pill {row.level.lower()}")]
    pills += [tag("span", f"Pareto: {' and '.join(row.fronts)}", class_="pill front")] if row.fronts else []
    more = f"{recipe(row)}, {row.source.name}" if several else recipe(row)
    name = join(tag("span", str(row.number), class_="index"), _breakable(row.name), tag("span", more, class_="more"))
    head = tag("th", name, *pills, scope="row", role="rowheader")
    cells = [
        tag("td", *_cell(each.cell(row)), role="cell", data_label=each.heading,
            class_="number" if each.number else None)
        for each in shown
    ]  # fmt: skip
    return tag("tr", head, *cells, role="row", class_="invalid" if row.invalid else None)


def _breakable(name: str) -> Markup:
    """The name with places where a line may end: after a slash or an underscore."""
    parts = re.split(r"(?<=[/_])", name)
    return Markup("<wbr>".join(join(part) for part in parts))


def _cell(cell: Cell) -> list[str]:
    return [cell.main, *(tag("span", each, class_="more") for each in cell.more)]


def _failures(failed: Sequence[tuple[Source, Measurement]]) -> Markup:
    lines = [
        tag("li", tag("strong", each.case.name), f" in {each.case.runtime} ({source.name}): {each.failure}")
        for source, each in failed
    ]
    return tag("div", tag("ul", *lines), class_="failed")


def _speed(found: Sequence[tuple[str, list[str]]]) -> Markup:
    lines = []
    for said, reasons in found:
        why = tag("ul", *(tag("li", each) for each in reasons)) if reasons else ""
        lines.append(tag("li", said, why, class_="bad" if said.startswith(INVALID) else None))
    return tag("ul", *lines, class_="speed")


def _method(section: Section) -> Markup:
    several = len(section.sources) > 1
    # What an emulation is asked for is not a number of runs or seconds.
    asked = (
        []
        if section.machine.emulated
        else [(f"settings of {each.name}" if several else "settings", words.settings(each)) for each in section.sources]
    )
    return _definitions([*asked, *words.method(section)])


def _definitions(pairs: Sequence[tuple[str, str]]) -> Markup:
    return tag("dl", *(join(tag("dt", name), tag("dd", said)) for name, said in pairs))


def _states(name: str, looks: Sequence[State]) -> Markup:
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in ("state", "before", "after"))))
    rows = [
        tag("tr", tag("th", what, scope="row"), tag("td", before), tag("td", after))
        for what, before, after in words.states(looks)
    ]
    return join(tag("h3", name), tag("div", tag("table", head, tag("tbody", *rows), aria_label=name), class_="scroll",
                                     role="region", aria_label=f"{name}, table", tabindex="0"))  # fmt: skip


def _footer(sections: Sequence[Section]) -> Markup:
    versions = [each.session.edgecnn for section in sections for each in section.sources]
    versions += [each.profile.edgecnn for section in sections for each in section.profiles]
    made = sorted({f"edgecnn {version}" for version in versions})
    return tag("footer", f"Measured with {', '.join(made)}. Every raw sample is in the result files.")
