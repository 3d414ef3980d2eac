"""The API over a real connection: answers, and one line of JSON for everything that is wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgecnn.serve.app import QUEUE
from edgecnn.serve.connection import CONNECTIONS
from edgecnn.serve.http import BODY_BYTES
from tests import tiny_artifacts
from tests.serve.serving import GUARD, Served, png, serving
from tests.tiny_artifacts import FLOAT_FILE, INT8_FILE, LABELS

SECRET = "correct-horse-battery-staple"
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
FORM = "multipart/form-data; boundary=line"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server on loopback."""
    with serving(tiny_artifacts.bundle(tmp_path_factory.mktemp("served") / "b")) as found:
        yield found


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that asks for SECRET, and listens on every address."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "token").write_text(f"{SECRET}\n")
    (folder / "token").chmod(0o640)
    with serving(tiny_artifacts.bundle(folder / "b"), "--token-file", folder / "token", "--host", "0.0.0.0") as found:
        yield found


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without patience."""
    settings = {
        "http.BODY_SECONDS": 0.2, "http.LINGER_SECONDS": 0.1, "connection.HEAD_SECONDS": 0.2, "worker.JOB_SECONDS": 0.2,
        "worker.PING_SECONDS": 0.2, "keeper.WAIT_SECONDS": 2.0, "keeper.SHORT_LIFE": 0.0,
    }  # fmt: skip
    with serving(tiny_artifacts.bundle(tmp_path_factory.mktemp("hasty") / "b"), settings=settings) as found:
        yield found


def form(*fields: tuple[str, bytes]) -> bytes:
    parts = [b'--line\r\nContent-Disposition: form-data; name="%s"; filename="x.png"\r\n\r\n%s\r\n' % (
        name.encode(), content) for name, content in fields]  # fmt: skip
    return b"".join(parts) + b"--line--\r\n"


def raw(served: Served, *pieces: bytes) -> bytes:
    """Everything the server sends back, until it closes, to bytes that may be no HTTP."""
    with socket.create_connection(("127.0.0.1", served.port), GUARD) as line:
        for piece in pieces:
            line.sendall(piece)
        reply = b""
        while more := line.recv(1 << 16):
            reply += more
    return reply


def error_of(reply: bytes) -> str:
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower()
    found = json.loads(body)
    assert found.keys() == {"error"} and "\n" not in found["error"]
    return f"{head.split()[1].decode()} {found['error']}"


# Answers


@pytest.mark.parametrize("number", range(3))
def test_an_answer_is_that_of_the_classifier(served: Served, number: int) -> None:
    status, answer = served.json("POST", "/v1/classify?top=2", png(number), Content_Type="image/png")
    assert status == 200
    expected = tiny_artifacts.logits(tiny_artifacts.images(number + 1)[number:], tiny_artifacts.weights())[0]
    order = np.argsort(-expected)[:2]
    assert [guess["label"] for guess in answer["top"]] == [LABELS[index] for index in order]
    assert [guess["logit"] for guess in answer["top"]] == pytest.approx(expected[order], abs=0.2)  # steps of 0.25
    assert answer["milliseconds"].keys() == {"decode", "preprocess", "run"}
    assert min(answer["milliseconds"].values()) > 0


def test_a_form_and_bytes_of_no_kind_give_the_same(served: Served) -> None:
    bodies = [("image/jpeg", png()), ("application/octet-stream", png()), (FORM, form(("image", png())))]
    tops = [served.classify(body, Content_Type=kind)[1]["top"] for kind, body in bodies]
    assert tops[0] == tops[1] == tops[2]
    assert len(tops[0]) == len(LABELS)


def test_a_body_may_come_in_chunks(served: Served) -> None:
    content = png()
    status, _ = served.classify(iter([content[:10], content[10:]]))
    assert status == 200


def test_the_model_card_is_that_of_the_manifest(served: Served) -> None:
    status, card = served.json("GET", "/v1/model")
    assert status == 200
    assert (card["model"], card["recipe"], card["labels"]) == ("tiny", "static_w8a8", list(LABELS))
    assert card["input"] == {"height": 4, "width": 4, "channels": 3, "color": "RGB"}
    assert served.classify()[1]["sha256"] == card["sha256"] == served.json("GET", "/healthz")[1]["sha256"]


def test_metrics_count(served: Served) -> None:
    def counts() -> dict[str, float]:
        status, headers, text = served.ask("GET", "/metrics")
        assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    served.classify()
    before = counts()
    served.classify()
    after = counts()
    for name in ('edgecnn_requests_total{path="/v1/classify",code="200"}', 'edgecnn_classify_seconds_count{part="run"}',
                 'edgecnn_classify_seconds_bucket{part="decode",le="+Inf"}'):  # fmt: skip
        assert after[name] == before[name] + 1, name
    assert after['edgecnn_resident_memory_bytes{process="worker"}'] > 1 << 20


def test_a_file_of_a_bundle_is_served(tmp_path: Path) -> None:
    with serving(tiny_artifacts.bundle(tmp_path / "b") / INT8_FILE) as served:
        assert served.classify()[0] == 200
        assert served.end() == 0


# What is wrong with a request


@pytest.mark.parametrize(
    ("method", "path", "kind", "body", "status", "part"),
    [
        ("GET", "/v1/nothing", "", None, 404, "there is nothing here (valid: /, /v1/classify"),
        ("GET", "/v1/classify", "", None, 405, "the method is GET (valid: POST)"),
        ("POST", "/healthz", "image/png", b"x" * 100_000, 405, "(valid: GET, HEAD)"),
        ("POST", "/v1/classify", "text/plain", b"x", 415, "the body is 'text/plain' (valid: image/*"),
        ("POST", "/v1/classify", "", b"x", 415, "the body has no Content-Type (valid: image/*"),
        ("POST", "/v1/classify", "image/png", b"", 422, "the image is empty"),
        ("POST", "/v1/classify", "image/png", b"no image", 422, "not an image (valid: JPEG, PNG"),
        ("POST", "/v1/classify", "image/png", png()[:60], 422, "the image cannot be used: "),
        ("POST", "/v1/classify?top=0", "image/png", png(), 400, "top must be a whole number from 1 to 100"),
        ("POST", "/v1/classify?top=x&top=2", "image/png", png(), 400, "'top', once"),
        ("POST", "/v1/classify?token=x", "image/png", png(), 400, "the query may only have 'top'"),
        ("POST", "/v1/classify", "image/png", b"x" * (BODY_BYTES + 1), 413, "longer than the 16,777,216 bytes"),
        ("POST", "/v1/classify", "multipart/form-data", b"x", 400, "names no boundary"),
        ("POST", "/v1/classify", FORM, b"no form", 400, "the form cannot be read: "),
        ("POST", "/v1/classify", FORM, form(("image", png()))[:-4], 400, "its last boundary is missing"),
        ("POST", "/v1/classify", FORM, b"--line--\r\n", 422, "the form has no field 'image'"),
        ("POST", "/v1/classify", FORM, form(("file", png())), 400, "a field 'file' (valid: 'image')"),
        ("POST", "/v1/classify", FORM, form(("image", png()), ("image", png())), 400, "more than once"),
        ("POST", "/v1/classify", FORM, form(("image", b"")), 422, "the image is empty"),
    ],
)  # fmt: skip
def test_an_error_is_a_status_and_a_line(served, method, path, kind, body, status, part) -> None:
    found, answer = served.json(method, path, body, **({"Content_Type": kind} if kind else {}))
    assert (found, answer.keys()) == (status, {"error"})
    assert part in answer["error"] and "\n" not in answer["error"]


def test_a_body_without_a_length_is_refused(served: Served) -> None:
    assert error_of(raw(served, HEAD + b"Connection: close\r\n\r\n")).startswith(
        "411 the request has neither Content-Length"
    )


def test_a_length_that_is_too_long_is_refused_before_the_body_comes(served: Served) -> None:
    """The client, which waits for 100 Continue as curl does, never has to send it."""
    head = HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"
    assert error_of(raw(served, head)).startswith("413 ")


def test_chunks_without_an_end_are_bounded(served: Served) -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    assert error_of(raw(served, head, *[chunk] * 17)).startswith("413 ")


@pytest.mark.parametrize("line", [b"\x16\x03\x01 no HTTP\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"X" * 100_000])
def test_what_is_no_http_gets_the_same_json(served: Served, line: bytes) -> None:
    assert error_of(raw(served, line)) == "400 the request is no HTTP/1.1"


def test_a_chunk_that_is_none_ends_the_request(served: Served) -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert error_of(raw(served, head + b"zz\r\n")) == "400 the request is no HTTP/1.1"
    served.until(lambda health: health["queue"] == 0)


# Who may ask


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "[::2]:80"])
def test_on_loopback_another_name_is_refused(served: Served, host: str) -> None:
    status, answer = served.json("GET", "/v1/model", Host=host)
    assert (status, answer) == (400, {"error": "the Host header must name one of 127.0.0.1, ::1, localhost"})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "[::1]:8765"])
def test_on_loopback_its_own_names_are_taken(served: Served, host: str) -> None:
    assert served.json("GET", "/v1/model", Host=host)[0] == 200


def test_pages_of_other_sites_have_no_use_of_it(served: Served) -> None:
    status, headers, _ = served.ask(
        "POST", "/v1/classify", png(), Content_Type="image/png", Sec_Fetch_Site="cross-site"
    )
    assert status == 403
    assert served.classify(Sec_Fetch_Site="same-origin")[0] == 200
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/v1/model", "/metrics"])
@pytest.mark.parametrize(
    "given", [{}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {SECRET}x"},
              {"Authorization": f"Basic {SECRET}"}, {"Authorization": "Bearer \xff"}, {"Cookie": SECRET}],
)  # fmt: skip
def test_without_the_token_nothing_is_told(locked: Served, path: str, given: dict[str, str]) -> None:
    status, headers, body = locked.ask("GET", path, **given)
    assert status == 401 and headers["www-authenticate"] == 'Bearer realm="edgecnn"'
    assert json.loads(body).keys() == {"error"}
    assert locked.ask("GET", f"{path}?token={SECRET}")[0] == 401


def test_with_the_token_all_is_told_and_it_is_never_written_down(locked: Served) -> None:
    assert locked.classify()[0] == 401
    assert locked.classify(Authorization=f"Bearer {SECRET}")[0] == 200
    assert locked.ask("GET", "/metrics", Authorization=f"bearer {SECRET}")[0] == 200
    assert locked.ask("GET", f"/v1/model?token={SECRET}", Authorization=f"Bearer {SECRET}")[0] == 200
    assert SECRET not in "\n".join(locked.lines)


def test_health_and_page_need_no_token_and_any_name_will_do(locked: Served) -> None:
    for path in ("/healthz", "/", "/openapi.json"):
        assert locked.ask("GET", path, Host="raspberrypi.local:8765")[0] == 200


def test_a_line_of_the_log_shows_what_a_terminal_may_see(served: Served) -> None:
    served.ask("GET", "/%1b%5d0;owned%07%0aedgecnn")
    line = served.line("owned")
    assert "127.0.0.1 GET /?]0;owned??edgecnn 404 " in line


# Those who are slow, and those who are many


def test_a_body_that_does_not_come_is_not_waited_for(hasty: Served) -> None:
    assert (
        error_of(raw(hasty, HEAD + b"Content-Length: 9\r\n\r\nabc")) == "408 the body did not come within 0.2 seconds"
    )


def test_a_head_that_does_not_end_is_not_waited_for(hasty: Served) -> None:
    assert error_of(raw(hasty, b"GET / HTTP/1.1\r\nHost")).startswith("408 the head of the request did not come")
    assert raw(hasty) == b""


def test_also_the_second_head_on_a_connection(hasty: Served) -> None:
    first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert raw(hasty, first, b"GET ").count(b"HTTP/1.1 408") == 1


def test_a_picture_that_takes_too_long_ends_and_the_next_is_answered(hasty: Served) -> None:
    with hasty.stopped_worker() as worker:
        status, answer = hasty.classify()
        assert status == 422
        assert answer["error"] == "the image cannot be used: its process took more than 0.2 seconds and was ended"
    assert hasty.until(lambda health: health["status"] == "ok")
    assert hasty.classify()[0] == 200
    assert hasty.worker != worker


def test_a_picture_that_ends_its_process_is_told_and_the_next_is_answered(tmp_path: Path) -> None:
    answers: list[tuple[int, dict]] = []
    with serving(tiny_artifacts.bundle(tmp_path / "b"), settings={"keeper.SHORT_LIFE": 0.0}) as served:
        with served.stopped_worker() as worker:
            client = threading.Thread(target=lambda: answers.append(served.classify()))
            client.start()
            served.until(lambda health: health["queue"] == 1)
            os.kill(worker, signal.SIGKILL)
            client.join()
        assert answers == [
            (500, {"error": "the process at this image was ended by SIGKILL; it is started again"})
        ]  # fmt: skip
        assert served.classify()[0] == 200


def test_scores_that_are_no_numbers_are_a_fault_of_the_model(tmp_path: Path) -> None:
    folder = tiny_artifacts.bundle(tmp_path / "b")
    matrix = np.full((3, 48), 1e38, np.float32)
    matrix[0] = np.nan
    tiny_artifacts.tflite(folder / FLOAT_FILE, matrix)
    tiny_artifacts.relist(folder)
    with serving(folder / FLOAT_FILE) as served:
        status, answer = served.classify()
        assert status == 500 and "scores that are no finite numbers" in answer["error"]


def test_a_full_queue_is_told_and_health_answers_meanwhile(served: Served) -> None:
    answers: list[int] = []
    with served.stopped_worker():
        clients = [threading.Thread(target=lambda: answers.append(served.classify()[0])) for _ in range(QUEUE)]
        for each in clients:
            each.start()
        served.until(lambda health: health["queue"] == QUEUE)
        status, headers, body = served.ask("POST", "/v1/classify", png(), Content_Type="image/png")
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(body)["error"] == "too many images wait; ask again later"
        assert served.ask("GET", "/metrics")[0] == 200
    for each in clients:
        each.join()
    assert answers == [200] * QUEUE
    served.until(lambda health: health["queue"] == 0)


def test_whoever_has_gone_by_its_turn_is_not_worked_for(served: Served) -> None:
    def count() -> str:
        (line,) = [each for each in served.ask("GET", "/metrics")[2].decode().splitlines()
                   if each.startswith('edgecnn_classify_seconds_count{part="run"}')]  # fmt: skip
        return line

    before = count()
    with served.stopped_worker():
        waiting = threading.Thread(target=served.classify)
        waiting.start()
        served.until(lambda health: health["queue"] == 1)
        with socket.create_connection(("127.0.0.1", served.port), GUARD) as line:
            line.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(png()) + png())
            served.until(lambda health: health["queue"] == 2)
    waiting.join()
    served.until(lambda health: health["queue"] == 0)
    assert served.line(" POST /v1/classify 499 ")
    assert int(count().split()[1]) == int(before.split()[1]) + 1


def test_there_are_only_so_many_connections(served: Served) -> None:
    lines = [socket.create_connection(("127.0.0.1", served.port), GUARD) for _ in range(CONNECTIONS)]
    try:
        reply = raw(served, b"")
        assert b"retry-after: 1" in reply.lower()
        assert error_of(reply) == "503 too many connections; ask again later"
        assert served.line("refused a connection: 503 too many connections")
    finally:
        for line in lines:
            line.close()
    served.until(lambda health: health.get("status") == "ok")
    assert b'edgecnn_requests_total{path="other",code="503"}' in served.ask("GET", "/metrics")[2]


def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    with serving(tiny_artifacts.bundle(tmp_path / "b"), settings={"keeper.SHORT_LIFE": 0.0}) as served:
        first = served.worker
        os.kill(first, signal.SIGKILL)
        served.line("was ended by SIGKILL; it is started again")
        served.until(lambda health: health["status"] == "ok")
        assert served.classify()[0] == 200
        second = served.worker
        assert second != first
        assert b"edgecnn_worker_restarts_total 1" in served.ask("GET", "/metrics")[2]
        assert served.end() == 0
        assert not Path(f"/proc/{second}").exists()
