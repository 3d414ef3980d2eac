"""The page for people: one document without a request to anywhere else, and the policy that holds it to that."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from edgecnn.serve.http import Reply

ASKS = '<html lang="en" data-token>'  # what tells the script to ask for a token


def page(token: bool) -> Reply:
    """The page, with its Content-Security-Policy; with ``token``, one that asks for it."""
    text = files("edgecnn.serve").joinpath("page.html").read_text("utf-8")
    policy = "; ".join([
        "default-src 'none'", f"style-src {_digest(text, 'style')}", f"script-src {_digest(text, 'script')}",
        "connect-src 'self'", "img-src blob: data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    ])  # fmt: skip
    if token:
        text = text.replace('<html lang="en">', ASKS, 1)
    headers = (("content-security-policy", policy), ("permissions-policy", "camera=(self), microphone=()"))
    return Reply(200, text.encode(), "text/html; charset=utf-8", headers)


def _digest(text: str, tag: str) -> str:
    """What the policy allows: the content of the page's one element ``tag``, byte for byte."""
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
