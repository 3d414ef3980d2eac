"""The ASGI application: which path does what, who is turned away, and a line for each request.

Without a framework: there are six paths, and what takes care here, the order of checks and the bounds on what is not
read yet, would have to be written beside one as well.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from edgecnn.runtime.terminal import printable
from edgecnn.serve import form
from edgecnn.serve.access import check_host, check_site, check_token
from edgecnn.serve.http import ClientGoneError, Receive, Refusal, Reply, Request, Scope, Send, send
from edgecnn.serve.keeper import BusyError, Keeper
from edgecnn.serve.metrics import TEXT, Metrics
from edgecnn.serve.openapi import TOP, TOP_LIMIT, document
from edgecnn.serve.page import page
from edgecnn.serve.worker import WorkerEndedError, WorkerLateError

QUEUE = 8  # pictures that are read, wait or run at one time; with BODY_BYTES a bound on memory
RETRY_SECONDS = "1"
HEADERS = (
    ("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"), ("cross-origin-opener-policy", "same-origin"),
)  # fmt: skip

OTHER = "other"  # the path of what has none that counts

Say = Callable[[str], None]
Handler = Callable[[Request], Awaitable[Reply]]


class App:
    """The server's answers. ``names`` are those that a Host header may have, None for any."""

    def __init__(
        self, keeper: Keeper, metrics: Metrics, token: str | None, names: frozenset[str] | None, say: Say
    ) -> None:
        self._keeper, self._metrics, self._token, self._names, self._say = keeper, metrics, token, names, say
        self._admitted = 0
        self._refused_at = -math.inf  # when a connection was refused last with a line of its own
        self._page = page(token is not None)
        self._document = Reply.json(document(token is not None))
        # By path: the method, the handler, and whether the token is needed.
        self._routes: dict[str, tuple[str, Handler, bool]] = {
            "/": ("GET", self._get_page, False),
            "/v1/classify": ("POST", self._classify, True),
            "/v1/model": ("GET", self._get_model, True),
            "/healthz": ("GET", self._get_health, False),
            "/metrics": ("GET", self._get_metrics, True),
            "/openapi.json": ("GET", self._get_document, False),
        }

    async def __call__(self, scope: Scope, receive: Receive, transmit: Send) -> None:
        """Answer one request; whatever goes wrong becomes a reply and a line."""
        start = time.perf_counter()
        request = Request(scope, receive)
        try:
            reply = await self._answer(request)
        except Refusal as refusal:
            reply = refusal.reply
        except ClientGoneError:
            return self._log(request, 499, start)
        except Exception as error:  # a fault of ours: the server goes on, and the line says what it was
            self._say(f"internal error: {type(error).__name__}: {error}")
            reply = Refusal(500, "internal error; the server's log has more").reply
        self._log(request, reply.status, start)
        await send(reply, request, transmit, HEADERS)

    async def _answer(self, request: Request) -> Reply:
        check_host(request, self._names)
        if request.path not in self._routes:
            raise Refusal(404, f"there is nothing here (valid: {', '.join(self._routes)})")
        method, handler, guarded = self._routes[request.path]
        if request.method not in (method, "HEAD" if method == "GET" else method):
            allowed = "GET, HEAD" if method == "GET" else method
            raise Refusal(405, f"the method is {request.method[:20]} (valid: {allowed})", allow=allowed)
        if guarded:
            check_token(request, self._token)
        return await handler(request)

    def _log(self, request: Request, status: int, start: float) -> None:
        """Count the request and write its line: no query, no headers, no body, nothing a terminal obeys."""
        self._metrics.requests[request.path if request.path in self._routes else OTHER, status] += 1
        path = printable(request.path[:100])
        took = 1000 * (time.perf_counter() - start)
        self._say(f"{request.client} {request.method[:20]} {path} {status} {took:.1f} ms")

    def refused(self, status: int, reason: str) -> None:
        """Count what was answered before there was a request; a crowd of them has no more than a line a second."""
        self._metrics.requests[OTHER, status] += 1
        now = time.monotonic()
        if now - self._refused_at >= 1:
            self._refused_at = now
            self._say(f"refused a connection: {status} {reason}")

    async def _classify(self, request: Request) -> Reply:
        check_site(request)
        top = _top(request)
        if self._admitted >= QUEUE:
            raise _busy()
        self._admitted += 1
        try:
            picture = await form.picture(request)
            gone = asyncio.create_task(request.disconnected())
            try:
                answer = await self._keeper.classify(picture, top, gone.done)
            finally:
                gone.cancel()
        except BusyError as error:
            raise _busy() from error
        except WorkerLateError as error:
            raise Refusal(422, f"the image cannot be used: its process {error}") from error
        except WorkerEndedError as error:
            raise Refusal(500, f"the process at this image {error}; it is started again") from error
        finally:
            self._admitted -= 1
        if answer is None:
            raise ClientGoneError
        if "error" in answer:
            raise Refusal(answer["status"], answer["error"])
        self._metrics.classified(answer["milliseconds"])
        return Reply.json(answer)

    async def _get_page(self, request: Request) -> Reply:
        return self._page

    async def _get_document(self, request: Request) -> Reply:
        return self._document

    async def _get_model(self, request: Request) -> Reply:
        return Reply.json(self._keeper.card)

    async def _get_health(self, request: Request) -> Reply:
        ready = self._keeper.ready
        state = {
            "status": "ok" if ready else "starting", "sha256": self._keeper.card["sha256"], "queue": self._admitted,
            "reload_error": self._keeper.reload_error,
        }  # fmt: skip
        return Reply.json(state, 200 if ready else 503)

    async def _get_metrics(self, request: Request) -> Reply:
        keeper = self._keeper
        gauges = {
            "edgecnn_queue": (self._admitted, "Pictures that are read, wait or run."),
            "edgecnn_queue_limit": (QUEUE, "Pictures above which requests are refused."),
            "edgecnn_ready": (int(keeper.ready), "Whether the process that runs the model is there."),
            "edgecnn_last_reload_ok": (int(keeper.reload_error is None), "Whether the last new bundle was taken."),
        }
        return Reply(200, self._metrics.text(keeper.card, gauges, keeper.pids).encode(), TEXT)


def _busy() -> Refusal:
    return Refusal(503, "too many images wait; ask again later", retry_after=RETRY_SECONDS)


def _top(request: Request) -> int:
    """The parameter ``top``."""
    given = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)
    unknown = next((name for name, _ in given if name != "top"), None)
    if unknown is not None or len(given) > 1:
        raise Refusal(400, "the query may only have 'top', once")
    text = given[0][1] if given else str(TOP)
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= TOP_LIMIT):
        raise Refusal(400, f"top must be a whole number from 1 to {TOP_LIMIT}")
    return int(text)
