"""``edgecnn wheelhouse``: a folder from which a board without a network installs edgecnn."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from edgecnn.cli.options import json_option, print_json


@click.command(name="wheelhouse")
@click.option("--python", "version", required=True, help="The board's Python: 3.11 (Bookworm), 3.12 or 3.13 (Trixie).")
@click.option("--arch", required=True, help="The board's architecture: aarch64, armv7l or x86_64.")
@click.option("--serve", is_flag=True, help="Also what `edgecnn serve` needs.")
@click.option("--camera", is_flag=True, help="Also what picamera2 needs beside it (install.sh --camera).")
@click.option("--out", type=click.Path(path_type=Path), help="Default: wheelhouse-PYTHON-ARCH.")
@click.option("--force", is_flag=True, help="Replace a wheelhouse that is in --out.")
@json_option
def command(version: str, arch: str, serve: bool, camera: bool, out: Path | None, force: bool, as_json: bool) -> None:
    """Fetch all wheels of the light install for a board, with their SHA-256, and put install.sh beside them.

    Copy the folder to the board and run there: sh FOLDER/install.sh
    """
    from edgecnn.deploy.wheel import requirements
    from edgecnn.deploy.wheelhouse import CAMERA, build_wheelhouse, platform_for

    platform = platform_for(version, arch)
    folder = Path(f"wheelhouse-{version}-{arch}") if out is None else out
    besides = [*(requirements("serve") if serve else ()), *([CAMERA] if camera else ())]
    wheels = build_wheelhouse(folder, platform, besides, force, lambda line: click.echo(line, err=True))
    total = sum(wheel.bytes for wheel in wheels)
    if as_json:
        rows = [dataclasses.asdict(wheel) for wheel in wheels]
        print_json({"folder": str(folder), "python": version, "arch": arch, "bytes": total, "wheels": rows})
        return
    for wheel in wheels:
        click.echo(f"{wheel.bytes:>13,}  {wheel.file}")
    click.echo(f"{folder}: {len(wheels)} wheels, {total:,} bytes")
    click.echo(f"copy it to the board and run there: sh {folder.name}/install.sh")
