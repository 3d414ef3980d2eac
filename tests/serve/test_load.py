"""More requests than there is time for, from another process: a bounded queue, and nothing but 200 and 503."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from edgecnn.serve.app import QUEUE
from tests import tiny_artifacts
from tests.serve.serving import Served, serving

CLIENTS, REQUESTS = 3 * QUEUE, 5
GROWTH = 24 << 20  # bytes


def memory(served: Served) -> int:
    """What the server and its worker hold."""
    lines = served.ask("GET", "/metrics")[2].decode().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("edgecnn_resident_memory_bytes"))


def test_under_load_some_are_refused_and_nothing_else_happens(tmp_path: Path) -> None:
    with serving(tiny_artifacts.bundle(tmp_path / "b")) as served:
        sizes = []
        for _ in range(2):
            command = [sys.executable, str(Path(__file__).with_name("load.py")), str(served.port), str(CLIENTS)]
            with subprocess.Popen([*command, str(REQUESTS)], stdout=subprocess.PIPE, text=True) as load:
                queues = []
                while load.poll() is None:
                    status, health = served.json("GET", "/healthz")
                    assert status == 200
                    queues.append(health["queue"])
                assert load.stdout is not None
                counts = json.load(load.stdout)
            assert counts.keys() == {"200", "503"}, counts
            assert sum(counts.values()) == CLIENTS * REQUESTS
            assert 1 < max(queues) <= QUEUE
            sizes.append(memory(served))
        assert sizes[1] < sizes[0] + GROWTH
        assert served.classify()[0] == 200
