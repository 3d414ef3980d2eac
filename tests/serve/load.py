"""Clients in a process of their own: ``python load.py PORT CLIENTS REQUESTS`` sends a large picture again and again.

Prints JSON: how many answers had which status, how many requests failed otherwise, and how many of those refused did
not say when to come again.
"""

from __future__ import annotations

import http.client
import io
import json
import sys
import threading
from collections import Counter

from PIL import Image


def large(side: int) -> bytes:
    """A picture that takes far longer to decode than to send."""
    file = io.BytesIO()
    Image.effect_noise((side, side), 64).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def main(port: int, clients: int, requests: int) -> None:
    """Send ``requests`` pictures from each of so many ``clients``, and print what became of them."""
    picture = large(800)
    statuses: Counter[str] = Counter()

    def client() -> None:
        for _ in range(requests):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("POST", "/v1/classify", picture, {"Content-Type": "image/jpeg"})
                reply = connection.getresponse()
                reply.read()
                statuses[str(reply.status)] += 1
                statuses["silent"] += reply.status == 503 and reply.headers["Retry-After"] != "1"
            except (OSError, http.client.HTTPException) as error:
                statuses[type(error).__name__] += 1
            finally:
                connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    print(json.dumps(+statuses))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
