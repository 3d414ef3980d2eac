"""A real browser for tests of pages: the system's Chromium, driven by Playwright, which downloads none of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.tools import tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE, DESKTOP = (390, 844), (1280, 900)
QUIET = [
    "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--no-default-browser-check",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, of its own for each test module: Playwright's event loop ends with it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # No sandbox: tests may run as root, and open only pages of their own.
        chromium = playwright.chromium.launch(executable_path=tool("chromium"), chromium_sandbox=False, args=QUIET)
        yield chromium
        chromium.close()


@contextmanager
def visit(
    browser: Browser, url: str, size: tuple[int, int] = DESKTOP, dark: bool = False, javascript: bool = True
) -> Iterator[Page]:
    """The page at ``url``, in a window of (width, height) pixels. The block fails at its end if the page complained.

    That is: an error or a warning on its console, an error in a script of its own, or a request for anything that is
    not below the origin of ``url`` (for a file, anything but that file).
    """
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
        java_script_enabled=javascript, has_touch=width < 600, is_mobile=width < 600,
    )  # fmt: skip
    home = url if url.startswith("file:") else "/".join(url.split("/")[:3])
    trouble: list[str] = []

    def within(asked: str) -> bool:
        return asked.removeprefix("blob:").startswith(home)  # a blob is what the page itself holds

    try:
        page = context.new_page()
        page.on("console", lambda said: trouble.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda sent: None if within(sent.url) else trouble.append(f"asked for {sent.url}"))
        page.goto(url)
        yield page
        assert not trouble, trouble
    finally:
        context.close()


def too_wide(page: Page) -> list[str]:
    """Every visible element that reaches out of the window to the side, but for those in a box that scrolls."""
    found: list[str] = page.evaluate("""() => {
        const wide = [];
        const scrolls = (node) => node && node !== document.body &&
            (["auto", "scroll", "hidden"].includes(getComputedStyle(node).overflowX) || scrolls(node.parentElement));
        for (const node of document.body.querySelectorAll("*")) {
            const box = node.getBoundingClientRect();
            if (box.width && (box.right > innerWidth + 0.5 || box.left < -0.5) && !scrolls(node.parentElement))
                wide.push(`${node.tagName} ${node.className} ${box.left} to ${box.right}`);
        }
        if (document.documentElement.scrollWidth > innerWidth) wide.push("the page scrolls sideways");
        return wide;
    }""")
    return found
