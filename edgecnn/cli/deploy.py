"""``edgecnn deploy``: a bundle onto a board, tested there before it takes the place of the one that runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecnn.cli.options import json_option, print_json, signature_option
from edgecnn.errors import UsageError

if TYPE_CHECKING:
    from edgecnn.deploy.ssh.versions import Deployed


@click.command(name="deploy")
@click.argument("words", nargs=-1, required=True, metavar="[BUNDLE] ssh://[USER@]HOST[:PORT]")
@click.option("--rollback", is_flag=True, help="Go back to the version before; no BUNDLE then.")
@click.option("--name", help="What it is called on the board. Default: classifier.")
@click.option(
    "--offline", is_flag=False, flag_value="", metavar="[WHEEL_FOLDER]",
    help="The board has no network: carry the wheels along, downloaded here or from this folder.",
)  # fmt: skip
@click.option("--service", is_flag=True, help="Let systemd there keep it running, as edgecnn-NAME (root by sudo).")
@signature_option
@json_option
def command(
    words: tuple[str, ...],
    rollback: bool,
    name: str | None,
    offline: str | None,
    service: bool,
    public_key: Path | None,
    as_json: bool,
) -> None:
    """Put a bundle on a board, below ~/.local/share/edgecnn there.

    Files are verified there by their SHA-256; then the bundle must answer for its sample as it does here, bit for bit
    in static_w8a8, and only then a link is moved to it. What ran before is kept for --rollback. If any step fails, it
    runs on.

    With --service it is then copied to /opt/edgecnn-NAME, and `edgecnn serve` answers for it, started by systemd in a
    sandbox. A version that does not get ready gives way to the one before.
    """
    from edgecnn.deploy.ssh.address import Address
    from edgecnn.deploy.ssh.environment import Install
    from edgecnn.deploy.ssh.versions import DEFAULT_NAME, check_name
    from edgecnn.deploy.ssh.versions import deploy as put
    from edgecnn.deploy.ssh.versions import rollback as go_back

    def say(line: str) -> None:
        click.echo(line, err=True)

    *bundles, target = words
    if len(bundles) != (0 if rollback else 1):
        allowed = "--rollback ssh://[USER@]HOST" if rollback else "BUNDLE ssh://[USER@]HOST"
        raise UsageError(f"got {len(words)} words (valid: edgecnn deploy {allowed})")
    address, called = Address.parse(target), check_name(DEFAULT_NAME if name is None else name)
    if rollback:
        if offline is not None:
            raise UsageError("--offline is of an installation, and --rollback installs nothing; leave it out")
        if public_key is not None:
            raise UsageError("--require-signature is of a BUNDLE, and --rollback takes none; leave it out")
        done = go_back(address, called, say, service=service)
    else:
        install = Install(offline is not None, Path(offline) if offline else None)
        done = put(address, Path(bundles[0]), called, install, say, service=service, key=public_key)
    if as_json:
        print_json(dataclasses.asdict(done) | {"launcher": done.launcher, "bundle": done.bundle})
    else:
        click.echo(_text(done))


def _text(done: Deployed) -> str:
    from edgecnn.deploy.ssh.versions import DEFAULT_NAME

    lines = [f"{done.target} runs {done.name} version {done.version}"]
    if done.engine is not None:
        right = "" if done.correct is None else f", {done.correct} right"
        lines.append(f"self-test there as here: {done.images} images{right}, with {done.engine}")
    if done.previous is None:
        lines.append("no version before it")
    else:
        name = "" if done.name == DEFAULT_NAME else f" --name {done.name}"
        name += "" if done.service is None else " --service"
        lines.append(f"version {done.previous} is kept: edgecnn deploy --rollback {done.target}{name}")
    if done.service is not None:
        lines.append(f"on the board: systemctl status {done.service}, journalctl -u {done.service}")
        lines.append(
            f"it answers there on 127.0.0.1:8765, or where /etc/default/{done.service} says, for the token in "
            f"/etc/edgecnn/{done.service}.token"
        )
    lines.append(f"on the board: {done.launcher} classify {done.bundle} IMAGE")
    return "\n".join(lines)
