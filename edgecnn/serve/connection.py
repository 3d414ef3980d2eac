"""uvicorn's HTTP/1.1 connection, with an end to patience: slow heads and slow readers are cut off.

A client has so long to send the head of a request, and so long to take what is written to it; there are only so many
connections. What is no HTTP at all gets the same JSON as any other error. ``refused`` hears of each answer given here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
TAKE_SECONDS = 20.0
CONNECTIONS = 64


class Connection(H11Protocol):
    """One client. ``refused`` is told the status and the reason of an answer to what is not yet a request."""

    def __init__(self, *words: Any, refused: Callable[[int, str], None], **more: Any) -> None:
        super().__init__(*words, **more)
        self._refused = refused

    _waiting: asyncio.TimerHandle | None = None  # for a head
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Answer 503 when there are too many, else wait for a head."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self._refuse(503, "too many connections; ask again later", (b"retry-after", b"1"))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a head is complete."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()

    def on_response_complete(self) -> None:
        """Wait for the next head; also for a connection that closes, whose last bytes must be taken."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._await_head()

    def pause_writing(self) -> None:
        """The client takes nothing: it has so long to go on."""
        super().pause_writing()
        self._writing = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It goes on."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        if self.flow is not None:
            super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers to what is no HTTP."""
        self._refuse(400, "the request is no HTTP/1.1")

    def _await_head(self) -> None:
        self._stop()
        self._waiting = self.loop.call_later(HEAD_SECONDS, self._end)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _end(self) -> None:
        if self.transport.is_closing():
            self.transport.abort()
        elif not self.conn.trailing_data[0]:
            self.transport.close()  # browsers connect ahead of time; there is nothing to answer
        else:
            self._refuse(408, f"the head of the request did not come within {HEAD_SECONDS:g} seconds")
            self._await_head()  # for as long again it may take the answer

    def _refuse(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        """Answer and close, if no other answer has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": message}).encode()
            named = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
                     (b"connection", b"close"), *headers]  # fmt: skip
            for event in (h11.Response(status_code=status, headers=named), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self._refused(status, message)
        self.transport.close()
