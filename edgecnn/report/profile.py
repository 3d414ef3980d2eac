"""A profile as text for people; pure formatting."""

from __future__ import annotations

from edgecnn.measure.dissection import SUM_LIMIT, Cost, Operation, Profile
from edgecnn.measure.stats import FEWEST_RUNS, median_method
from edgecnn.report.table import table

HEADERS = ("#", "operation", "output", "module", "where", "kMAC", "us", "95 %", "share", "alone us")
FUSING = ("CONV_2D", "DEPTHWISE_CONV_2D")


def text(profile: Profile) -> str:
    """Operations in their order with what each costs, what the costs add up to, and every reason for doubt."""
    whole, call = profile.cost_of_whole(), profile.cost_of_call()
    rows = [
        _row(number, operation, cost, alone, whole)
        for number, (operation, cost, alone) in enumerate(
            zip(profile.operations, profile.costs(), profile.costs_alone(), strict=True), 1
        )
    ]
    fixed = ["-", "(the call itself)", "", "", "", "", *_cost(call, whole), ""]
    total = ["-", "the whole file", "", "", _pieces(profile), _macs(profile), *_cost(whole, whole), ""]
    case = profile.case
    lines = [
        f"{profile.case.name} in {profile.engine}, {_count(case.threads, 'thread')}, batch {case.batch}",
        "",
        table(HEADERS, [fixed, *rows, total], "rllllrrrrr"),
        "",
        *_notes(profile),
        *_verdict(profile),
    ]
    if profile.invalid:
        lines.insert(0, f"INVALID: {'; '.join(profile.verdict.reasons)}. These figures are not to be used.\n")
    return "\n".join(lines)


def _row(number: int, operation: Operation, cost: Cost, alone: Cost | None, whole: Cost) -> list[str]:
    shape = f"{operation.dtype} {'x'.join(map(str, operation.shape))}"
    where = "inside" if operation.inside else "outside"
    macs = "" if operation.macs is None else f"{operation.macs / 1000:,.1f}"
    mark = "" if operation.alike else " *"
    lonely = "-" if alone is None else _micro(alone.middle)
    return [
        str(number), operation.name, shape, operation.module or "", where + mark, macs, *_cost(cost, whole), lonely
    ]  # fmt: skip


def _cost(cost: Cost, whole: Cost) -> list[str]:
    """Time, interval and share; of a cost that may be nothing only how large it could be."""
    interval = f"{_micro(cost.low)} to {_micro(cost.high)}"
    if cost.told or cost.high <= 0:
        return [_micro(cost.middle), interval, f"{cost.middle / whole.middle:.1%}"]
    return [f"< {_micro(cost.high)}", interval, f"< {cost.high / whole.middle:.1%}"]


def _micro(microseconds: float) -> str:
    return f"{microseconds:,.2f}" if abs(microseconds) < 100 else f"{microseconds:,.0f}"


def _pieces(profile: Profile) -> str:
    return _count(profile.partitions, "partition")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _macs(profile: Profile) -> str:
    return f"{sum(operation.macs or 0 for operation in profile.operations) / 1000:,.1f}"


def _notes(profile: Profile) -> list[str]:
    runs = len(profile.whole)
    interval = median_method(runs) if runs >= FEWEST_RUNS else f"needs {FEWEST_RUNS} runs; shown is the whole span"
    notes = [
        f"us      per image: what the operation adds to a model that ends before it; median of {_count(runs, 'run')}",
        "        '<' where that may be nothing, and below 0 where the longer model is the faster one",
        f"95 %    {interval}",
        "where   inside the delegate (XNNPACK) or outside it, in TFLite's own kernels",
        "alone   the operation as a model of its own, without the call",
    ]
    changed = [str(number) for number, each in enumerate(profile.operations, 1) if not each.alike]
    if changed:
        notes.append(f"*       the delegate takes other operations when the model ends here: {', '.join(changed)}")
    padded = [str(number) for number, each in enumerate(profile.operations, 1) if _is_fused(profile, number, each)]
    if padded:
        notes.append(
            f"fused   XNNPACK makes a PAD and the convolution after it one: take {', '.join(padded)} with the next"
        )
    failures = {each.failure: each for each in profile.operations if each.failure is not None}
    notes += [f"-       {each.name} alone: {failure}" for failure, each in failures.items()]
    return [*notes, "", *_sums(profile), ""]


def _is_fused(profile: Profile, number: int, operation: Operation) -> bool:
    after = profile.operations[number : number + 1]
    return operation.name == "PAD" and operation.inside and any(each.name in FUSING and each.inside for each in after)


def _sums(profile: Profile) -> list[str]:
    """What the costs add up to beside the whole file, and whether that is too far off."""
    whole, call = profile.cost_of_whole().middle, profile.cost_of_call().middle
    added = call + sum(cost.middle for cost in profile.costs())
    alone = profile.costs_alone()
    lines = [_sum("the costs add up to", added, whole)]
    if None not in alone:
        lines.append(_sum("alone they add up to", call + sum(cost.middle for cost in alone if cost), whole))
    return lines


def _sum(what: str, total: float, whole: float) -> str:
    off = total / whole - 1
    doubt = ""
    if abs(off) > SUM_LIMIT:
        doubt = f": more than {SUM_LIMIT:.0%} off, so operations cost something else among the others than here"
    return f"sum     {what} {_micro(total)} us, {off:+.1%} against the whole file's {_micro(whole)} us{doubt}"


def _verdict(profile: Profile) -> list[str]:
    return [f"verdict {profile.verdict.level}", *(f"        {reason}" for reason in profile.verdict.reasons)]
