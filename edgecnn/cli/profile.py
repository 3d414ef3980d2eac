"""``edgecnn profile``: what each operation of a TFLite file costs on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edgecnn.cli.options import json_option, print_json, signature_option
from edgecnn.errors import UntrustworthyError


@click.command(name="profile")
@click.argument("path", metavar="BUNDLE_OR_FILE", type=click.Path(path_type=Path))
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of the engine.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images at once.")
@click.option("--runs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs, each a new process.")
@click.option("--pin", type=click.IntRange(0), metavar="CPU", help="Run on this CPU only.")
@click.option(
    "--target", default="local", show_default=True,
    help="local, or emulated:cortex-a53, -a72, -a76 or -a7, where instructions are counted and nothing is timed.",
)  # fmt: skip
@signature_option
@json_option
def command(
    path: Path,
    threads: int,
    batch: int,
    runs: int,
    pin: int | None,
    target: str,
    public_key: Path | None,
    as_json: bool,
) -> None:
    """Time a TFLite file operation by operation, by cutting it into models that end after each.

    Of a bundle it takes the TFLite file of the bundle's own recipe. The exit code is 3 when the machine throttled,
    which makes every figure INVALID.
    """
    from edgecnn.cli.targets import LOCAL, operations_on
    from edgecnn.measure.cases import Order, find_cases
    from edgecnn.measure.measurement import Settings
    from edgecnn.measure.profile import profile
    from edgecnn.report.emulated import operations_text
    from edgecnn.report.profile import text
    from edgecnn.runtime.bundle import open_bundle
    from edgecnn.runtime.signature import require_signature

    require_signature(path, public_key)
    if path.is_dir():
        path = path / open_bundle(path).artifact().file
    if target != LOCAL:
        order = Order((path,), ("litert",), (threads,), (batch,), Settings(runs, pin=() if pin is None else (pin,)))
        counted = operations_on(target, order, say=lambda line: click.echo(line, err=True))
        if as_json:
            print_json(asdict(counted))
        else:
            rows = [(each.name, each.output, each.instructions) for each in counted.operations]
            click.echo(operations_text(counted.file, counted.cpu, counted.fixed, rows))
        return
    (case,) = find_cases(Order((path,), ("litert",), (threads,), (batch,)))
    found = profile(case, runs, () if pin is None else (pin,), say=lambda line: click.echo(line, err=True))
    if as_json:
        print_json(found.document())
    else:
        click.echo(text(found))
    if found.invalid:
        raise UntrustworthyError(f"the figures are INVALID: {'; '.join(found.verdict.reasons)}")
