"""What quantization does to each layer, as text for people; pure formatting."""

from __future__ import annotations

import textwrap

from edgecnn.measure.findings import EXACT, LayerError, Report, Verdict
from edgecnn.report.table import table

HEADERS = ("layer", "operation", "loses dB", "SQNR dB", "alone dB", "cosine", "clipped", "used", "worst channel",
           "weights dB")  # fmt: skip
NOTES = (
    ("loses", "what the logits would gain if this layer alone were exact"),
    ("SQNR", "power of the float file's values over that of the difference, with the errors of all layers before"),
    ("alone", "the same for exact input, so only what its own weights and range lose"),
    ("clipped", "values of the float file outside its range; used: the share of its levels that occur"),
    ("worst", "the channel with the lowest SQNR, counted from 0; weights: of rounding them (worst output channel)"),
)
UNNAMED = (
    "the files hold no whole names of modules (the bundle is from an older edgecnn), so layers are called after their "
    "operations; quantize again for names"
)


def text(report: Report) -> str:
    """The verdict, the layers in their order, and what could not be matched."""
    lines = [*verdict(report), "", _title(report), ""]
    lines += [table(HEADERS, [row(each) for each in report.layers], "llrrrrrrrr"), ""]
    lines += [f"{name:<8} {said}" for name, said in NOTES]
    lines += [f"note     {each}" for each in remarks(report)]
    return "\n".join(lines)


def verdict(report: Report) -> list[str]:
    """The lines on top: the findings, worst first, each with its advice, after the sentence on the whole file."""
    found = report.verdict
    lines = textwrap.wrap(f"{word(found)}: {found.said}", 118)
    for each in found.findings:
        lines += textwrap.wrap(each.said, 118, initial_indent="  ", subsequent_indent="    ")
        lines += textwrap.wrap(f"{each.advice}.", 118, initial_indent="    ", subsequent_indent="    ")
    return lines


def word(found: Verdict) -> str:
    """The verdict in a word or two."""
    if not found.sound:
        return "LOSSES"
    return "sound, with weak layers" if found.findings else "sound"


def remarks(report: Report) -> list[str]:
    """What a reader must know of this report beside its figures."""
    found = [] if report.named else [UNNAMED]
    if report.unmatched:
        found.append(f"not matched, so not judged: {', '.join(report.unmatched)}")
    alone = [each.name for each in report.layers if each.alone_db is None]
    if alone:
        found.append(f"takes other layers in either file, so it could not be run alone: {', '.join(alone)}")
    dead = [f"{each.name} ({each.dead_channels} of {each.channels})" for each in report.layers if each.dead_channels]
    if dead:
        found.append(f"channels that never change on these images: {', '.join(dead)}")
    return found


def row(layer: LayerError) -> list[str]:
    """One layer, as HEADERS says."""
    worst = "-" if layer.worst_channel_db is None else f"{layer.worst_channel}: {decibels(layer.worst_channel_db)}"
    weights = "-"
    if layer.weight_db is not None and layer.weight_worst_db is not None:
        weights = f"{decibels(layer.weight_db)} ({decibels(layer.weight_worst_db)})"
    loss = "-" if layer.loss_db is None else f"{layer.loss_db:.1f}"
    return [
        layer.name, layer.operation, loss, decibels(layer.sqnr_db),
        "-" if layer.alone_db is None else decibels(layer.alone_db), f"{layer.cosine:.5f}", share(layer.clipped),
        share(layer.used), worst, weights,
    ]  # fmt: skip


def decibels(value: float) -> str:
    """A ratio in dB, or that there is no error."""
    return "exact" if value >= EXACT else f"{value:.1f}"


def share(value: float | None) -> str:
    """A share in percent, ``-`` for none."""
    return "-" if value is None else f"{100 * value:.2f} %"


def _title(report: Report) -> str:
    return (
        f"{report.quantized_file} against {report.float_file}, layer by layer on {report.images} sample images: logits "
        f"{decibels(report.logits_db)} dB, the same class for {100 * report.agreement:.2f} %"
    )
