"""The API is what its OpenAPI document says: schemathesis makes requests of all kinds, good and bad, from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecnn.serve.openapi import document
from tests import tiny_artifacts
from tests.serve.serving import ROOT, serving

EXAMPLES, SEED = "60", "1"


@pytest.mark.parametrize("token", [None, "a-secret-word"])
def test_the_server_does_what_its_document_says(tmp_path: Path, token: str | None) -> None:
    """Every check there is: statuses, headers, schemas, wrong methods, wrong bodies, and requests without the token."""
    words: list[object] = []
    if token is not None:
        (tmp_path / "token").write_text(token)
        (tmp_path / "token").chmod(0o600)
        words = ["--token-file", tmp_path / "token"]
    with serving(tiny_artifacts.bundle(tmp_path / "b"), *words) as served:
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json", "--checks", "all",
            "--seed", SEED, "-n", EXAMPLES, "--generation-database", "none",
        ]  # fmt: skip
        command += ["-H", f"Authorization: Bearer {token}"] if token else []
        env = os.environ | {"SCHEMATHESIS_HOOKS": "tests.serve.generated", "PYTHONPATH": str(ROOT)}
        run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        said = "\n".join(served.lines)
        for status in (200, 400, 415, 422, *((401,) if token else ())):
            assert f" POST /v1/classify {status} " in said
        assert served.json("GET", "/openapi.json")[1] == document(token is not None)
