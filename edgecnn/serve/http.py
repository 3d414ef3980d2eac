"""A request, a reply and a refusal: the little of HTTP that lies between the ASGI server and the handlers.

Bodies are bounded in bytes and in time. A reply that is given before the whole body has come closes the connection,
but only after what the client still sends was dropped for a while: a connection that is closed over unread bytes is
reset, and the client would never see the reply.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_BYTES = 1 << 24
BODY_SECONDS = 30.0
LINGER_SECONDS = 2.0
JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    """A status, a body of a kind, and headers besides those that every reply has."""

    status: int
    body: bytes
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def json(cls, document: object, status: int = 200) -> Reply:
        """A document as JSON."""
        return cls(status, json.dumps(document, allow_nan=False).encode())


class Refusal(Exception):
    """A request that is answered with an error: {"error": one line}."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        self.reply = Reply(status, json.dumps({"error": message}).encode(), JSON, named)


class ClientGoneError(Exception):
    """The client closed the connection and waits for nothing."""


class Request:
    """The head of a request, and its body as long as nobody has read it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.client: str = scope["client"][0] if scope.get("client") else "-"
        self._headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:  # of one that came twice the first counts
            self._headers.setdefault(name, value)
        self._receive = receive
        self.unread = b"transfer-encoding" in self._headers or self.header("content-length") not in ("", "0")

    def header(self, name: str) -> str:
        """The value of a header, '' without it."""
        return self._headers.get(name.encode(), b"").decode("latin-1")

    def expect_body(self) -> None:
        """Refuse a body of no declared length, and one that is too long by what it declares."""
        length = self.header("content-length")
        if not length and not self.header("transfer-encoding"):
            raise Refusal(411, "the request has neither Content-Length nor Transfer-Encoding: chunked")
        if length.isdecimal() and int(length) > BODY_BYTES:
            raise _too_long()

    async def read(self, take: Callable[[bytes], object]) -> None:
        """Hand the body to ``take`` piece by piece. Raises Refusal (408, 413), ClientGoneError."""
        total = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while self.unread:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    self.unread = message.get("more_body", False)
                    piece: bytes = message.get("body", b"")
                    total += len(piece)
                    if total > BODY_BYTES:
                        raise _too_long()
                    take(piece)
        except TimeoutError as error:
            raise Refusal(408, f"the body did not come within {BODY_SECONDS:g} seconds") from error

    async def disconnected(self) -> None:
        """Come back when the client has gone; the body must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def drop(self) -> None:
        """Read and forget what the client still sends, for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self.unread:
                    message = await self._receive()
                    self.unread = message["type"] == "http.request" and message.get("more_body", False)


async def send(reply: Reply, request: Request, send: Send, headers: tuple[tuple[str, str], ...]) -> None:
    """Send a reply with ``headers`` besides its own; see the module for a body that nobody has read."""
    unread = request.unread
    named = (("content-type", reply.kind), ("content-length", str(len(reply.body))), *headers, *reply.headers)
    if unread:
        named += (("connection", "close"),)
    lines = [(name.encode(), value.encode("latin-1")) for name, value in named]
    await send({"type": "http.response.start", "status": reply.status, "headers": lines})
    await send({"type": "http.response.body", "body": reply.body, "more_body": unread})
    if unread:
        await request.drop()
        await send({"type": "http.response.body", "body": b""})


def _too_long() -> Refusal:
    return Refusal(413, f"the body is longer than the {BODY_BYTES:,} bytes allowed")
