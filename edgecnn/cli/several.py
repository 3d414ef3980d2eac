"""What ``edgecnn bench`` prints and writes when it ran on several targets."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.errors import EdgeCNNError, UsageError
from edgecnn.runtime.files import refuse_folder

if TYPE_CHECKING:
    from edgecnn.measure.measurement import Session

FORMATS = ("table", "json", "csv")


def check_targets(targets: Sequence[str], form: str) -> None:
    """Raises UsageError for a target that is none or there twice, or a format that is only of one target."""
    from edgecnn.cli.targets import EMULATED, LOCAL, SSH
    from edgecnn.deploy.ssh.address import Address

    for target in targets:
        if target != LOCAL and not target.startswith((SSH, EMULATED)):
            raise UsageError(
                f"--target '{target}' is no target (valid: {LOCAL}, {EMULATED}CPU, {SSH}[USER@]HOST[:PORT])"
            )
    names = [str(Address.parse(target)) if target.startswith(SSH) else target for target in targets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--target {twice} is there twice")
    if len(targets) > 1 and form not in FORMATS:
        raise UsageError(f"--format {form} is of one target (valid with several: {', '.join(FORMATS)})")


def files_of(file: Path, targets: Sequence[str]) -> dict[str, Path]:
    """Where each target's result goes: ``file``, or with several its name with the target's before the suffix.

    Raises UsageError when two would have the same name, OutputError for a folder, which has no name to add one to.
    """
    if len(targets) == 1:
        return {targets[0]: file}
    refuse_folder(file)
    names = {target: re.sub(r"[^A-Za-z0-9@._]+", "-", target.removeprefix("ssh://")).strip("-") for target in targets}
    files = {target: file.with_name(f"{file.stem}.{name}{file.suffix}") for target, name in names.items()}
    if len(set(files.values())) < len(files):
        raise UsageError("two targets would be written to the same file; run them one after another")
    return files


def shown(sessions: dict[str, Session], form: str, one: Callable[[Session, str], str]) -> str:
    """All results: tables under the targets' names, a JSON object by target, or CSV with a column ``target``.

    ``one`` formats a single one.
    """
    if form == "json":
        return json.dumps({target: session.document() for target, session in sessions.items()}, allow_nan=False)
    if form == "csv":
        return _csv({target: one(session, form) for target, session in sessions.items()})
    return "\n\n".join(f"{target}\n\n{one(session, form)}" for target, session in sessions.items())


def worst(errors: dict[str, EdgeCNNError], say: Callable[[str], None]) -> EdgeCNNError:
    """The first error with the highest exit code; ``say`` gets a line for each of the others. All name their target."""
    last = max(errors, key=lambda target: errors[target].exit_code)
    lines = {target: f"{target}: {str(error).removeprefix(f'{target}: ')}" for target, error in errors.items()}
    for target, line in lines.items():
        if target != last:
            say(f"edgecnn: error: {line}")
    error = EdgeCNNError(lines[last])
    error.exit_code = errors[last].exit_code
    return error


def _csv(texts: dict[str, str]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for number, (target, text) in enumerate(texts.items()):
        header, *rows = csv.reader(io.StringIO(text))
        if number == 0:
            writer.writerow(["target", *header])
        writer.writerows([target, *row] for row in rows)
    return stream.getvalue().rstrip("\n")
