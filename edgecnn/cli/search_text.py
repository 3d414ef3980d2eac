"""What ``edgecnn search`` says of how far it is: lines on standard error, the page, and the JSON document."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.cli.progress import Progress
from edgecnn.runtime.files import write_bytes

if TYPE_CHECKING:
    from optuna.study import Study

    from edgecnn.report.searched import Searched
    from edgecnn.search.asked import Asked
    from edgecnn.search.standing import Standing, Trained

FULL_EPOCHS = 200  # of the command that trains a design in full
WORDS = {
    "trained": "trained", "stopped": "stopped early", "dear": "over a bound", "failed": "failed", "running": "running",
    "lost": "lost with their worker and tried again",
}  # fmt: skip


class Monitor:
    """Looks at a study now and then: says what is new, and keeps the ``page`` up to date.

    ``more`` are words about the data that every command needs.
    """

    def __init__(self, study: Study, asked: Asked, wanted: int, page: Path, more: list[str], say: Progress) -> None:
        self._study, self._asked, self._wanted, self._page = study, asked, wanted, page
        self._more, self._say = more, say
        self._shown: tuple[object, ...] = ()
        self._front: tuple[Trained, ...] = ()
        self._failed: set[int] = set()

    def look(self) -> Standing:
        """How far the search is now."""
        from edgecnn.report.searched import page, text
        from edgecnn.search.standing import standing

        found = standing(self._study, self._asked, self._wanted)
        now = (found.front, found.beaten, found.counts)
        if now == self._shown:
            return found
        shown = searched(found, self._asked, self._more)
        write_bytes(self._page, page(shown).encode())
        if found.front != self._front:
            for line in text(shown).splitlines():
                self._say(line)
        for number in found.failed.keys() - self._failed:
            self._say(f"trial {number} failed: {found.failed[number]}")
        self._failed = set(found.failed)
        if self._shown or found.ended:
            self._say.passing(state(found))
        self._shown, self._front = now, found.front
        return found

    def tell(self) -> None:
        """Look, for those who only want it said."""
        self.look()


def state(found: Standing) -> str:
    """One line: trials by how they ended, and the time left."""
    words = [f"{count} {WORDS[name]}" for name, count in found.counts.items() if count]
    left = found.seconds_left
    time_left = "" if left is None or found.ended >= found.wanted else f"; about {_duration(left)} left"
    return f"{found.ended} of {found.wanted} trials: {', '.join(words) or 'none begun'}{time_left}"


def searched(found: Standing, asked: Asked, more: list[str]) -> Searched:
    """What a report shows."""
    from edgecnn.report.searched import Searched, Tried
    from edgecnn.search.asked import REFERENCE

    front, beaten = (
        [
            Tried(each.number, _name(each), each.accuracy, each.costs, tuple(commands(each, asked, more).values()))
            for each in trials
        ]
        for trials in (found.front, found.beaten)
    )
    bounds = [f"{name} {most:,.6g}" for name, most in asked.bounds.items()]
    facts = [
        ("objectives", ", ".join(asked.objectives)),
        ("data", f"{asked.data}, {asked.validation:.0%} of the training images held out to judge; no test image"),
        ("a trial", f"{asked.epochs} epochs of batches of {asked.batch_size}, {asked.precision}"),
        ("latency", f"on {asked.target}, as a share of {REFERENCE}'s file" if asked.timed else "not looked at"),
        ("bounds", ", ".join(bounds) or "none"),
        ("seed", str(asked.seed)),
    ]
    return Searched(f"Search on {Path(asked.data).name}", state(found), facts, front, beaten, REFERENCE)


def commands(trained: Trained, asked: Asked, more: list[str]) -> dict[str, str]:
    """By verb, the commands that make a design in full, one after the other: 'train' with the settings it was found
    with, and 'prune' where it was pruned."""
    from edgecnn.search.space import OPTIMIZER
    from edgecnn.train import WEIGHTS

    about = ["--model", trained.design, "--data", asked.data, *more]
    run = Path("runs") / f"{Path(asked.data).name}-trial-{trained.number}"
    words = ["--epochs", str(FULL_EPOCHS), "--batch-size", str(asked.batch_size), "--optimizer", OPTIMIZER]
    for name, value in trained.recipe.items():
        words += [f"--{name.replace('_', '-')}", f"{value:g}"]
    found = {"train": shlex.join(["edgecnn", "train", *about, *words, "--out", str(run)])}
    if trained.kept < 1:
        words = ["--weights", str(run / WEIGHTS), "--target", f"macs:{trained.kept:g}", "--out", f"{run}-pruned"]
        found["prune"] = shlex.join(["edgecnn", "prune", *about, *words])
    return found


def _name(trained: Trained) -> str:
    return trained.design if trained.kept == 1 else f"{trained.design}, pruned to macs:{trained.kept:g}"


def document(found: Standing, asked: Asked, more: list[str]) -> dict[str, Any]:
    """The search as JSON data."""
    front = [
        {
            "trial": each.number, "design": each.design, "kept": each.kept, "recipe": dict(each.recipe),
            "accuracy": each.accuracy, "float_accuracy": each.float_accuracy, **each.costs,
            "commands": commands(each, asked, more),
        }
        for each in found.front
    ]  # fmt: skip
    return {"asked": asked.to_json(), "wanted": found.wanted, "trials": dict(found.counts), "front": front}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
