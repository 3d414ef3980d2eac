"""What quantization does to each layer, as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edgecnn.measure.findings import EXACT, LayerError, Report
from edgecnn.report.charts.bars import Bar, bars
from edgecnn.report.charts.frame import Heading, Series
from edgecnn.report.charts.lines import Panel, lines
from edgecnn.report.debug import HEADERS, NOTES, decibels, remarks, row, word
from edgecnn.report.markup import Markup, join, tag
from edgecnn.report.numbers import tick
from edgecnn.report.plots import Group, Plot
from edgecnn.report.sheet import plotted, sheet

CLOSER = 6  # layers that are shown channel by channel


def page(report: Report) -> str:
    """The HTML document of a report."""
    title = f"Layers of {report.quantized_file}"
    summary = (
        f"held against {report.float_file} on {report.images} sample images; recipe {report.recipe}; bundle "
        f"{report.bundle}; {report.created[:16].replace('T', ' ')} UTC"
    )
    notes = [join(tag("dt", name), tag("dd", said)) for name, said in NOTES]
    notes += [join(tag("dt", "note"), tag("dd", each)) for each in remarks(report)]
    return sheet(
        f"{title}: {word(report.verdict)}", tag("h1", title), tag("p", summary, class_="note"), _verdict(report),
        tag("h3", "Layers in the order of execution"), _table(report), tag("dl", *notes),
        *(plotted(group) for group in _groups(report) if group.plots),
        tag("footer", f"Made by edgecnn {report.edgecnn}. 'edgecnn debug --json' has every figure."),
    )  # fmt: skip


def _verdict(report: Report) -> Markup:
    found = report.verdict
    said = "No layer is to blame" if found.sound else "The loss is spread over the layers"
    if found.findings:
        said = f"To blame: {', '.join(each.layer for each in found.findings)}"
    good = found.sound and not found.findings
    items = [tag("li", f"{each.said}. {each.advice}.") for each in found.findings]
    return tag(
        "div", tag("strong", said), tag("p", found.said), tag("ul", *items) if items else "",
        class_=f"verdict {'valid' if good else 'unstable'}", role="status" if good else "alert",
    )  # fmt: skip


def _table(report: Report) -> Markup:
    blamed = {each.layer for each in report.verdict.findings}
    head = tag("thead", tag("tr", *(
        tag("th", name, scope="col", role="columnheader", class_="number" if place > 1 else None)
        for place, name in enumerate(HEADERS)
    ), role="row"), role="rowgroup")  # fmt: skip
    rows = []
    for number, layer in enumerate(report.layers, 1):
        cells = row(layer)
        pill = [tag("span", "to blame", class_="pill invalid")] if layer.name in blamed else []
        named = tag("th", tag("span", str(number), class_="index"), cells[0], *pill, scope="row", role="rowheader")
        others = [
            tag("td", cell, role="cell", data_label=heading, class_="number" if place else None)
            for place, (heading, cell) in enumerate(zip(HEADERS[1:], cells[1:], strict=True))
        ]
        rows.append(tag("tr", named, *others, role="row"))
    table = tag("table", head, tag("tbody", *rows, role="rowgroup"), role="table", aria_label="Layers")
    return tag("div", table, class_="scroll cards", role="region", aria_label="Layers, table", tabindex="0")


def _groups(report: Report) -> list[Group]:
    return [_along(report), _channels(report)]


def _along(report: Report) -> Group:
    note = (
        "Loss: by how much the ratio of signal to noise in the logits would grow if that layer alone were exact. As it "
        "runs, a layer's values hold the errors of all before it; alone it is given exact values. Gaps: exact."
    )
    known = [(number, each) for number, each in enumerate(report.layers, 1) if each.loss_db]
    plots = [Plot("losses", partial(_loss_bars, known))] if known else []
    if any(each.sqnr_db < EXACT for each in report.layers):
        plots.append(Plot("along", partial(_curves, report)))
    return Group("From the first layer to the last", note, tuple(plots))


def _loss_bars(known: Sequence[tuple[int, LayerError]], width: float) -> Markup:
    drawn = [
        Bar(f"{number} {each.name}", each.loss_db or 0.0, f"{each.loss_db:.1f} dB",
            f"{each.name}: {each.loss_db:.2f} dB", 0)
        for number, each in known
    ]  # fmt: skip
    worst = max(known, key=lambda each: each[1].loss_db or 0.0)[1]
    told = f"The most is lost by {worst.name}: {worst.loss_db:.1f} dB."
    heading = Heading("Loss at the logits", "dB, layers in the order of execution", told)
    return bars(heading, drawn, [Series("loss", 0, 0)], "dB", tick, width)


def _curves(report: Report, width: float) -> Markup:
    panels = [Panel("as it runs, dB", tuple(_known(each.sqnr_db) for each in report.layers), tick, 0, 130)]
    alone = tuple(_known(each.alone_db) for each in report.layers)
    if any(each is not None for each in alone):
        panels.append(Panel("alone, dB", alone, tick, 2, 130))
    first, last = report.layers[0], report.layers[-1]
    told = f"From {decibels(first.sqnr_db)} dB in {first.name} to {decibels(last.sqnr_db)} dB in {last.name}."
    heading = Heading("Signal to noise by layer", "more is better", told)
    places = [float(number) for number in range(1, len(report.layers) + 1)]
    return lines(heading, places, panels, [False] * len(places), "number of the layer in the table", tick, width)


def _known(value: float | None) -> float | None:
    return None if value is None or value >= EXACT else value


def _channels(report: Report) -> Group:
    """The blamed layers channel by channel, or those that lose most."""
    blamed = [each.layer for each in report.verdict.findings]
    ranked = sorted(report.layers, key=lambda each: (each.name in blamed, each.loss_db or 0.0), reverse=True)
    shown = [each for each in ranked if each.channels > 1 and any(map(_known, each.channel_db))][:CLOSER]
    note = (
        "All channels of a layer's values share one range: one that reaches far beyond the rest leaves them few steps. "
        "The layers that lose most come first."
    )
    plots = tuple(Plot(f"channels-{each.name}", partial(_channel_curves, each), small=True) for each in shown)
    return Group("Channel by channel", note, plots)


def _channel_curves(layer: LayerError, width: float) -> Markup:
    panels = [
        Panel("largest value", layer.channel_peak, tick, 1, 70),
        Panel("signal to noise, dB", tuple(map(_known, layer.channel_db)), tick, 0, 70),
    ]
    subtitle = f"{layer.channels} channels"
    if layer.wide_channels:
        subtitle += f", {len(layer.wide_channels)} span {layer.width:.0f}x the rest"
    told = f"Channel {layer.worst_channel} is the worst, {decibels(layer.worst_channel_db or 0.0)} dB."
    places = [float(channel) for channel in range(layer.channels)]
    heading = Heading(layer.name, subtitle, told)
    return lines(heading, places, panels, [False] * layer.channels, "channel", tick, width)
