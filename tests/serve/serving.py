"""A real server for tests: ``edgecnn serve`` in a process of its own, asked over loopback."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image

from tests import tiny_artifacts

ROOT = Path(__file__).parents[2]
GUARD = 60.0  # seconds after which a test that waits for what never comes fails


def png(number: int = 0) -> bytes:
    """One of the images of tiny_artifacts, which its classifiers know."""
    file = io.BytesIO()
    Image.fromarray(tiny_artifacts.images(number + 1)[number]).save(file, "PNG")
    return file.getvalue()


class Served:
    """A running server: its URL, its process, and the lines it wrote on standard error."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.lines = process, list[str]()
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        ready = self.line(" serves ")
        self.url = ready.split()[2].rstrip("/")
        self.port = int(self.url.rpartition(":")[2])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def line(self, part: str) -> str:
        """The first line with ``part`` in it, waited for."""

        def found() -> list[str]:
            return [line for line in self.lines if part in line]

        with self._news:
            assert self._news.wait_for(lambda: found() or self.process.poll() is not None, GUARD), self.lines
            assert found(), self.lines
            return found()[0]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower-case names) and body of one request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=GUARD)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and document of one request."""
        status, _, content = self.ask(method, path, body, **headers)
        return status, json.loads(content)

    def classify(self, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and document of the answer to a picture."""
        body = png() if body is None else body
        return self.json("POST", "/v1/classify", body, **({"Content_Type": "image/png"} | headers))

    def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The answer of /healthz as soon as the condition holds."""
        for _ in range(100_000):
            health: dict[str, Any] = self.json("GET", "/healthz")[1]
            if condition(health):
                return health
        raise AssertionError(health)

    @property
    def worker(self) -> int:
        """The number of the process that runs the model."""
        (one,) = children(self.process.pid)
        return one

    @contextmanager
    def stopped_worker(self) -> Iterator[int]:
        """The worker does nothing in this block, so that pictures stay where they are."""
        worker = self.worker
        os.kill(worker, signal.SIGSTOP)
        try:
            yield worker
        finally:
            with suppress(ProcessLookupError):  # it was ended for that
                os.kill(worker, signal.SIGCONT)

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal; every line is there then."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The exit code, waited for; every line is there then."""
        code = self.process.wait(GUARD)
        self.join()
        return code

    def join(self) -> None:
        """Wait for the last line; the process must have ended."""
        self._reader.join()


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


@contextmanager
def serving(
    bundle: Path, *words: object, env: Mapping[str, str] | None = None, settings: Mapping[str, object] | None = None
) -> Iterator[Served]:
    """``edgecnn serve BUNDLE --port 0`` with more words, until the block ends; it must not have failed meanwhile.

    ``settings`` are constants of edgecnn.serve with other values, such as ``{"http.BODY_SECONDS": 0.1}``.
    """
    setting = "".join(
        f"import edgecnn.serve.{name.partition('.')[0]}\nedgecnn.serve.{name} = {value!r}\n"
        for name, value in (settings or {}).items()
    )
    start = f"{setting}from edgecnn.cli.main import entry\nentry()"
    command = [sys.executable, "-c", start, "serve", str(bundle), "--port", "0", *map(str, words)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | dict(env or {}),
    )
    served = None
    try:
        served = Served(process)
        yield served
        assert not [line for line in served.lines if "internal error" in line], served.lines
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if served is not None:
            served.join()
        assert process.stderr is not None
        process.stderr.close()


def run(*words: object) -> tuple[int, list[str]]:
    """Exit code and lines of a server that is not to start."""
    command = [sys.executable, "-m", "edgecnn", "serve", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=GUARD, check=False)
    return done.returncode, done.stderr.splitlines()
