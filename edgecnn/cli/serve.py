"""``edgecnn serve``: a bundle as a page and a JSON API."""

from __future__ import annotations

from pathlib import Path

import click

from edgecnn.cli.options import signature_option
from edgecnn.errors import MissingExtraError

EXTRA = ("uvicorn", "h11", "python_multipart")


@click.command(name="serve")
@click.argument("bundle", metavar="BUNDLE_OR_FILE", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes any that is free."
)
@click.option(
    "--token-file", metavar="FILE", type=click.Path(path_type=Path),
    help="A file with a secret that requests must show; needed where other machines can reach the address.",
)  # fmt: skip
@signature_option
def command(bundle: Path, host: str, port: int, token_file: Path | None, public_key: Path | None) -> None:
    """Serve a bundle over HTTP: a page for people at /, and POST /v1/classify for programs.

    The page takes images or the browser's camera. /openapi.json describes the API, /v1/model the model; /healthz and
    /metrics are for whoever looks after it. One image runs at a time; when eight are read, wait or run, the next is
    answered with status 503. Programs send 'Authorization: Bearer TOKEN' where there is a token.

    SIGTERM and Ctrl-C finish what is in flight. SIGHUP reads the bundle again, and so does a link that leads to another
    bundle now: the new one is opened beside the old and takes its place at once, or, when it is bad, not at all.
    """
    try:
        from edgecnn.serve.server import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise MissingExtraError("'edgecnn serve'", str(error.name), "serve") from error
    run(bundle, host, port, token_file, public_key)
