"""``edgecnn compare-runs``: two result files of ``edgecnn bench``, and whether anything became worse."""

from __future__ import annotations

from pathlib import Path

import click

from edgecnn.cli.options import json_option, print_json
from edgecnn.errors import CheckFailedError, UsageError


@click.command(name="compare-runs")
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD.json")
@click.argument("new", type=click.Path(path_type=Path), metavar="NEW.json")
@click.option(
    "--fail-on", metavar="LIMITS", default="latency:p50:5%,accuracy:0.5pp,bytes:1%", show_default=True,
    help="METRIC[:STATISTIC]:LIMIT, with commas. Metrics: latency (p50, p90, p99, mean, min), cold_start, energy and "
    "instructions in %; memory and bytes in %, B, kB or MB; accuracy in pp.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Compare different machines or settings; missing files are no regression.")
@click.option(
    "--format", "form", type=click.Choice(["table", "markdown"]), help="What to print. Default: table.",
)  # fmt: skip
@json_option
def command(old: Path, new: Path, fail_on: str, force: bool, form: str | None, as_json: bool) -> None:
    """Hold the bench in NEW.json against that in OLD.json.

    The exit code is 1 when a figure became worse by more than its limit and more than chance explains, or a file that
    was measured before is not any more. Benches that differ in a field that matters to the figures are refused.
    """
    from edgecnn.measure.limits import parse_limits
    from edgecnn.measure.measurement import Session
    from edgecnn.measure.regression import compare
    from edgecnn.report import compare_runs
    from edgecnn.report.table import one_line

    if as_json and form is not None:
        raise UsageError(f"--json prints JSON, and --format {form} something else; give one of the two")
    limits = parse_limits(fail_on)
    before, now = Session.load(old), Session.load(new)
    outcome = compare(before, now, limits, force)
    for line in outcome.warnings:
        click.echo(one_line(f"edgecnn: warning: compared because of --force: {line}"), err=True)
    if as_json:
        print_json(compare_runs.document(before, now, outcome))
    else:
        shown = compare_runs.markdown if form == "markdown" else compare_runs.text
        click.echo(shown(before, now, outcome))
    if outcome.regressions:
        count = len(outcome.regressions)
        raise CheckFailedError(f"{count} regression{'' if count == 1 else 's'}: {outcome.regressions[0]}")
