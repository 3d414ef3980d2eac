"""Whether figures can be trusted: a verdict from what the machine did meanwhile and from how far runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgecnn.errors import UsageError
from edgecnn.measure import stats
from edgecnn.measure.machine import State

VALID, UNSTABLE, INVALID = "valid", "unstable", "INVALID"
LEVELS = (VALID, UNSTABLE, INVALID)

# Bits of `vcgencmd get_throttled`: what is the case now, and, 16 places higher, what has been since boot.
THROTTLE_FLAGS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
SINCE_BOOT = 16

LOAD_LIMIT = 0.25  # CPUs that others may keep busy
STOLEN_LIMIT = 0.02  # share of the CPUs that the hypervisor may give to others
CLOCK_LIMIT = 0.05  # by how much the clock may differ
WARMING_LIMIT = 15  # degrees Celsius
SPREAD_LIMIT = 0.10  # by how much the runs of one file may differ


@dataclass(frozen=True)
class Verdict:
    """A level of LEVELS, and why it is not the best one: a reason per cause, worst first."""

    level: str
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise UsageError(f"level is '{self.level}', but must be one of {', '.join(LEVELS)}")


def judge(states: Sequence[State], cores: int, sustained: Sequence[State] = (), flags: Sequence[int] = ()) -> Verdict:
    """What the machine's states before, between and after the runs say about all of them; two states or more.

    ``sustained`` are states after sustained runs, which may warm the CPU but not throttle it; ``flags`` are what
    vcgencmd said within those.
    """
    everything = (*states, *sustained)
    fatal = [*_throttling(everything, flags), *_x86_throttling(everything)]
    return _verdict(fatal, [*_disturbances(everything, cores), *_warming(states)])


def judge_runs(
    of_all: Verdict, medians: Sequence[float], clocks: Sequence[float], sustained: Sequence[str] = ()
) -> Verdict:
    """The verdict on one file: that on the whole session, and what its own runs say.

    ``medians`` has one value per run; ``clocks`` the MHz read in the runs while the CPU was working; ``sustained`` are
    sustained.doubts of its sustained run.
    """
    reasons = list(sustained)
    if len(medians) < 2:
        reasons.append("1 run tells nothing of the spread; ask for --runs 5")
    elif stats.spread(medians) > SPREAD_LIMIT:
        reasons.append(f"runs of the same file differ by {stats.spread(medians):.0%} (limit {SPREAD_LIMIT:.0%})")
    if clocks and max(clocks) - min(clocks) > CLOCK_LIMIT * max(clocks):
        reasons.append(f"the clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz")
    if of_all.level == INVALID:
        return Verdict(INVALID, (*of_all.reasons, *reasons))
    return _verdict([], [*of_all.reasons, *reasons])


def _verdict(fatal: list[str], doubts: list[str]) -> Verdict:
    level = INVALID if fatal else UNSTABLE if doubts else VALID
    return Verdict(level, (*fatal, *doubts))


def throttling(flags: int) -> str:
    """What ``vcgencmd get_throttled`` says is the case now, in words; nothing when all is well."""
    return ", ".join(name for bit, name in THROTTLE_FLAGS.items() if flags >> bit & 1)


def _throttling(states: Sequence[State], more: Sequence[int]) -> list[str]:
    """Flags that were up when looked at, or that went up since boot between the first look and the last."""
    flags = [state.throttled for state in states if state.throttled is not None]
    seen = flags[-1] >> SINCE_BOOT & ~(flags[0] >> SINCE_BOOT) if flags else 0
    for each in (*flags, *more):
        seen |= each
    return [f"{name} during the run" for bit, name in THROTTLE_FLAGS.items() if seen >> bit & 1]


def _x86_throttling(states: Sequence[State]) -> list[str]:
    counts = [state.throttle_events for state in states if state.throttle_events is not None]
    if not counts or counts[-1] == counts[0]:
        return []
    return [f"the CPU throttled for heat {counts[-1] - counts[0]} times during the run"]


def _disturbances(states: Sequence[State], cores: int) -> list[str]:
    first, last = states[0], states[-1]
    reasons = []
    before = 0 if first.throttled is None else first.throttled >> SINCE_BOOT
    hidden = [name for bit, name in THROTTLE_FLAGS.items() if before >> bit & 1]
    if hidden:
        reasons.append(f"{', '.join(hidden)} since boot, so a short one now would not show; reboot and run again")
    wall = max(last.at - first.at, 1e-9)
    stolen = (last.stolen - first.stolen) / wall
    others = (last.busy - first.busy - (last.own - first.own)) / wall - stolen
    if others > LOAD_LIMIT:
        reasons.append(f"other processes kept {others:.1f} of {cores} CPUs busy")
    if stolen / cores > STOLEN_LIMIT:
        reasons.append(f"the hypervisor gave {stolen / cores:.0%} of the CPUs to others")
    changes = [(one.governor, two.governor) for one, two in pairwise(states) if one.governor != two.governor]
    if changes:
        reasons.append(f"the governor changed from {changes[0][0]} to {changes[0][1]}")
    return reasons


def _warming(states: Sequence[State]) -> list[str]:
    heat = [state.celsius for state in states if state.celsius is not None]
    if not heat or heat[-1] - heat[0] <= WARMING_LIMIT:
        return []
    return [f"the CPU warmed from {heat[0]:.0f} to {heat[-1]:.0f} °C; run again, or give --cooldown"]
