"""The page in a real browser: an image dropped, chosen and pasted, the camera, the token, keyboard, and a phone."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.serve.page import page
from tests import tiny_artifacts
from tests.browser import DESKTOP, PHONE, QUIET, too_wide, visit
from tests.serve.serving import Served, png, serving
from tests.tiny_artifacts import LABELS
from tests.tools import tool

SECRET = "correct-horse-battery-staple"
SIZES = pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
FILE: Any = {"name": "ant.png", "mimeType": "image/png", "buffer": png()}

# An image is handed to the page as the system would: by a drop or a paste.
HAND = """([kind, content]) => {
    const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0)), transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "ant.png", {type: "image/png"}));
    const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true})
        : new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true});
    (kind === "drop" ? document.getElementById("stage") : document.body).dispatchEvent(event);
}"""
BARS = """() => [...document.querySelectorAll("#bars li")].map(row => [row.children[0].textContent,
    row.children[1].textContent, row.querySelector("i").getBoundingClientRect().width /
    row.querySelector(".track").getBoundingClientRect().width])"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tiny_artifacts.bundle(tmp_path_factory.mktemp("page") / "b")) as found:
        yield found


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "token").write_text(SECRET)
    (tmp_path / "token").chmod(0o600)
    with serving(tiny_artifacts.bundle(tmp_path / "b"), "--token-file", tmp_path / "token") as found:
        yield found


def check_bars(found) -> None:
    """The bars are those of the first image of tiny_artifacts."""
    found.locator("#bars li").nth(2).wait_for()
    expected = tiny_artifacts.logits(tiny_artifacts.images(1), tiny_artifacts.weights())[0]
    found.wait_for_function(f"({BARS})().every(([, share, width]) => Math.abs(parseFloat(share) / 100 - width) < 0.01)")
    bars = found.evaluate(BARS)
    assert [name for name, _, _ in bars] == [LABELS[index] for index in np.argsort(-expected)]
    assert sum(float(share.removesuffix(" %")) for _, share, _ in bars) == pytest.approx(100, abs=0.2)
    for part in ("decode", "preprocess", "run"):
        assert re.search(rf"{part} \d+\.\d\d ms", found.inner_text("#legend"))
    assert re.fullmatch(r"\d+\.\d\d ms on the device, \d+ ms in all", found.inner_text("#total"))


@SIZES
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_chosen_image_is_answered_and_the_page_fits(browser, served, size, dark) -> None:
    with visit(browser, served.url, size, dark) as found:
        found.set_input_files("#file", FILE)
        check_bars(found)
        assert found.locator("#image").is_visible() and not found.locator("#hint").is_visible()
        assert too_wide(found) == []
        assert found.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(18, 22, 28)" if dark else "rgb(255, 255, 255)"
        )


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_is_dropped_and_pasted(browser, served, kind) -> None:
    with visit(browser, served.url) as found:
        found.evaluate(HAND, [kind, base64.b64encode(png()).decode()])
        check_bars(found)


def test_the_model_card_is_shown(browser, served) -> None:
    with visit(browser, served.url) as found:
        found.locator("#card dd").first.wait_for()
        card = found.inner_text("#card")
        assert "insects, 3 classes" in card and "4 × 4 RGB" in card and "bytes tflite" in card
        found.get_by_text("All classes").click()
        assert found.get_by_text("ant, bee, cat").is_visible()
        assert found.title() == "tiny · edgecnn"


def test_all_is_reached_by_keyboard_and_seen_to_be(browser, served) -> None:
    with visit(browser, served.url) as found:
        found.locator("#card dd").first.wait_for()
        reached = []
        for _ in range(5):
            found.keyboard.press("Tab")
            reached.append(found.evaluate("document.activeElement.id || document.activeElement.tagName"))
            outlined = "#stage" if reached[-1] == "file" else ":focus"
            assert found.evaluate(f"getComputedStyle(document.querySelector('{outlined}')).outlineStyle") == "solid"
        assert reached == ["file", "choose", "camera", "SUMMARY", "A"]
        with found.expect_file_chooser() as chosen:
            found.locator("#choose").press("Enter")
        chosen.value.set_files([FILE])
        check_bars(found)


def test_what_is_wrong_is_said(browser, served) -> None:
    context = browser.new_context()
    try:
        found = context.new_page()
        found.goto(served.url)
        found.set_input_files("#file", FILE | {"buffer": b"no image"})
        found.get_by_role("alert").filter(has_text="not an image (valid: JPEG, PNG").wait_for()
        found.set_input_files("#file", FILE)
        check_bars(found)
        assert found.locator("#said").text_content() == ""
    finally:
        context.close()


def test_a_token_is_asked_for_and_kept_in_the_tab_only(browser, locked) -> None:
    context = browser.new_context()
    try:
        found = context.new_page()
        asked: list[str] = []
        found.on("request", lambda sent: asked.append(sent.url))
        found.goto(locked.url)
        for word in ("wrong", SECRET):
            found.locator("#token").fill(word)
            found.get_by_role("button", name="Continue").click()
            if word == "wrong":
                found.get_by_text("That is not the token of this server.").wait_for()
        found.locator("#card dd").first.wait_for()
        found.set_input_files("#file", FILE)
        check_bars(found)
        found.reload()
        found.locator("#card dd").first.wait_for()
        assert found.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
        assert not [url for url in asked if SECRET in url]
    finally:
        context.close()
    assert SECRET not in "\n".join(locked.lines)


def test_the_camera_is_looked_at_until_it_is_stopped(browser, served) -> None:
    """Chromium's own false camera, a green screen with a moving pie."""
    words = [*QUIET, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    filming = browser.browser_type.launch(executable_path=tool("chromium"), chromium_sandbox=False, args=words)
    try:
        with visit(filming, served.url) as found:
            answers: list[int] = []
            found.on("response", lambda reply: answers.append(reply.status) if "classify" in reply.url else None)
            found.get_by_role("button", name="Camera", exact=True).click()
            found.locator("#bars li").first.wait_for()
            while len(answers) < 4:
                found.wait_for_event("response")
            assert found.get_by_role("button", name="Camera", exact=True, pressed=True).is_visible()
            assert found.locator("#video").is_visible()
            found.get_by_role("button", name="Camera", exact=True).click()
            assert not found.locator("#video").is_visible()
            found.wait_for_function("!document.getElementById('video').srcObject")
            assert set(answers) == {200}
    finally:
        filming.close()


def test_the_policy_forbids_what_the_page_does_not_need(served) -> None:
    _, headers, content = served.ask("GET", "/")
    policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert not re.search(rb"""(src|href)=["'](https?:)?//""", content)
    assert len(content) < 20_000


def test_a_page_that_asks_for_a_token_has_the_same_policy() -> None:
    assert b'<html lang="en" data-token>' in page(True).body
    assert page(True).headers == page(False).headers
