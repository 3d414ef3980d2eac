"""``edgecnn debug``: which layer of a quantized bundle loses what, and why."""

from __future__ import annotations

from pathlib import Path

import click

from edgecnn.cli.options import json_option, print_json, signature_option


@click.command(name="debug")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--images", type=click.IntRange(2), default=256, show_default=True, help="Sample images of the bundle, at most."
)
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write a page with plots.")
@click.option("--force", is_flag=True, help="Replace a page that exists.")
@signature_option
@json_option
def command(bundle: Path, images: int, html: Path | None, force: bool, public_key: Path | None, as_json: bool) -> None:
    """Hold the quantized TFLite file of a bundle against its float one, layer by layer.

    The verdict on top names the layer to blame, the reason, and what may help. Nothing but the bundle is needed, so
    it runs on the device too.
    """
    from edgecnn.measure.layer_errors import find_errors
    from edgecnn.report.debug import text
    from edgecnn.runtime.bundle import open_bundle
    from edgecnn.runtime.files import refuse_existing_file, write_bytes

    opened = open_bundle(bundle, public_key)
    if html is not None:
        refuse_existing_file(html, force)
    found = find_errors(opened, images, say=lambda line: click.echo(line, err=True))
    if html is not None:
        from edgecnn.report.debug_page import page

        write_bytes(html, page(found).encode())
    if as_json:
        print_json(found.document())
        return
    click.echo(text(found))
    if html is not None:
        click.echo(f"wrote {html}")
