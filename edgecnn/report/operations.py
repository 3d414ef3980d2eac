"""A profile for reports: a bar for each operation, and the same as a table."""

from __future__ import annotations

from edgecnn.measure.dissection import Cost, Profile
from edgecnn.report.charts.bars import Bar, bars
from edgecnn.report.charts.frame import Heading, Series
from edgecnn.report.markup import Markup
from edgecnn.report.numbers import micro, percent, span, tick
from edgecnn.report.sections import Profiled

SERIES = (Series("inside the delegate", 0, 0), Series("outside the delegate", 1, 2), Series("the call itself", 4, 3))
HEADINGS = ("#", "operation", "where", "time", "95 %", "share")
NOTE = (
    "What each operation adds to a model that ends before it, in the order in which they run; the line at a bar's end "
    "is its 95 % interval. XNNPACK makes a PAD and the convolution after it one, so their times belong together."
)


def chart(profiled: Profiled, where: str, width: float) -> Markup:
    """Bars of all operations and of the call itself."""
    profile, case = profiled.profile, profiled.profile.case
    whole = profile.cost_of_whole()
    drawn = [_bar("the call itself", "before anything is computed", profile.cost_of_call(), whole, 2)]
    for number, (each, cost) in enumerate(zip(profile.operations, profile.costs(), strict=True), 1):
        shape = f"{each.dtype} {'x'.join(map(str, each.shape))}"
        macs = "" if each.macs is None else f", {each.macs:,} multiply-adds"
        facts = f"{shape}{macs}, {'inside' if each.inside else 'outside'} the delegate"
        drawn.append(_bar(" ".join([f"{number} {each.name}", each.module or ""]).strip(), facts, cost, whole,
                          0 if each.inside else 1))  # fmt: skip
    added = profile.cost_of_call().middle + sum(cost.middle for cost in profile.costs())
    told = f"The whole file takes {micro(whole.middle)}; the bars add up to {micro(max(added, 0))}."
    threads = "1 thread" if case.threads == 1 else f"{case.threads} threads"
    subtitle = f"{micro(whole.middle)} in all; {profile.engine}, {threads}, batch {case.batch}; {where}"
    invalid = "; ".join(profile.verdict.reasons) if profile.invalid else None
    heading = Heading(f"Operations of {profiled.file}", subtitle, told, invalid)
    return bars(heading, drawn, SERIES, "µs per image", tick, width)


def table(profile: Profile) -> list[list[str]]:
    """A row under HEADINGS for the call, for each operation, and for the whole file."""
    whole = profile.cost_of_whole()
    rows = [["", "the call itself", "", *_cells(profile.cost_of_call(), whole)]]
    rows += [
        [str(number), " ".join([each.name, each.module or ""]).strip(), "inside" if each.inside else "outside",
         *_cells(cost, whole)]
        for number, (each, cost) in enumerate(zip(profile.operations, profile.costs(), strict=True), 1)
    ]  # fmt: skip
    return [*rows, ["", "the whole file", "", *_cells(whole, whole)]]


def _bar(name: str, facts: str, cost: Cost, whole: Cost, series: int) -> Bar:
    time, interval, share = _cells(cost, whole)
    ends = (max(cost.low, 0), max(cost.high, 0))
    return Bar(name, max(cost.middle, 0), f"{time}, {share}", f"{name}: {time} ({interval}), {facts}", series, ends)


def _cells(cost: Cost, whole: Cost) -> list[str]:
    """Time, interval and share; where it may be nothing, only how much it could be."""
    interval = span(_signed(cost.low), _signed(cost.high))
    if cost.told:
        return [micro(cost.middle), interval, percent(cost.middle / whole.middle, 1)]
    most = max(cost.high, 0.0)
    return [f"< {micro(most)}", interval, f"< {percent(most / whole.middle, 1)}"]


def _signed(microseconds: float) -> str:
    return f"-{micro(-microseconds)}" if microseconds < 0 else micro(microseconds)
