"""Who may ask: the token, and the names by which a server on loopback may be called."""

from __future__ import annotations

import hmac
import ipaddress
import stat
from pathlib import Path

from edgecnn.errors import BadFileError
from edgecnn.serve.http import Refusal, Request

TOKEN_LIMIT = 4096  # bytes
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def read_token(path: Path) -> str:
    """The token in a file, without the white space around it.

    Raises BadFileError unless it is one word of printable ASCII in a plain file that not everybody may read.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise BadFileError(f"the token file {path} is no plain file")
        with path.open("rb") as file:
            content = file.read(TOKEN_LIMIT + 1)
    except OSError as error:
        raise BadFileError(f"the token file {path} cannot be read: {error.strerror}") from error
    if mode & stat.S_IROTH:
        raise BadFileError(f"the token file {path} can be read by everybody; run: chmod 600 {path}")
    token = content.decode("latin-1").strip()
    if not token or len(content) > TOKEN_LIMIT or not all("!" <= each <= "~" for each in token):
        raise BadFileError(
            f"the token file {path} must hold one word of printable ASCII, up to {TOKEN_LIMIT} bytes; make one with: "
            f"(umask 077; openssl rand -hex 32 > {path})"
        )
    return token


def is_loopback(address: str) -> bool:
    """Whether a numeric address can be reached from this machine only."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def check_token(request: Request, token: str | None) -> None:
    """Refuse (401) a request without ``Authorization: Bearer`` and the token, if one is needed; in constant time."""
    if token is None:
        return
    scheme, _, given = request.header("authorization").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise Refusal(
            401, "the request needs the header 'Authorization: Bearer TOKEN', with the token of this server",
            www_authenticate='Bearer realm="edgecnn"',
        )  # fmt: skip


def check_host(request: Request, names: frozenset[str] | None) -> None:
    """Refuse (400) a request that calls this server by none of ``names``, unless they are None.

    A page from elsewhere whose name was made to lead to 127.0.0.1 is so kept out (DNS rebinding).
    """
    host = request.header("host")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if names is not None and name.lower().rstrip(".") not in names:
        raise Refusal(400, f"the Host header must name one of {', '.join(sorted(names))}")


def check_site(request: Request) -> None:
    """Refuse (403) work that a page from another site asks for, which browsers say."""
    if request.header("sec-fetch-site") in ("cross-site", "same-site"):
        raise Refusal(403, "pages of other sites may not use this server")
