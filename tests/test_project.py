"""The project's own files: pinned versions, and an environment that is never made over somebody's folder."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import edgecnn
from edgecnn.cli.main import VERBS

ROOT = Path(edgecnn.__file__).parent.parent
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINS = [
    line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")
]


def make_venv(*words):
    return subprocess.run([sys.executable, ".ci/make_venv.py", *words], cwd=ROOT, capture_output=True, text=True)


def test_constraints_are_exact_versions_and_name_no_source():
    for line in PINS:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*(; [a-z_]+ .*)?", line), line
    text = (ROOT / "constraints.txt").read_text("utf-8")
    assert not re.search(r"--|://|http:|https:|file:", text)


def test_every_declared_requirement_is_pinned():
    optional = DECLARED["optional-dependencies"]
    wanted = DECLARED["dependencies"] + optional["train"] + optional["dev"]
    pinned = {line.partition("==")[0] for line in PINS}
    assert {re.split(r"[^a-z0-9-]", requirement)[0] for requirement in wanted} <= pinned


def test_a_folder_of_somebody_else_is_never_made_an_environment(tmp_path):
    (tmp_path / "precious").write_text("kept")
    run = make_venv(str(tmp_path))
    assert run.returncode == 1
    assert "was not made by make" in run.stderr
    assert (tmp_path / "precious").read_text() == "kept"


def test_the_key_of_an_environment_is_stable():
    first, second = make_venv("--key"), make_venv("--key")
    assert first.stdout == second.stdout
    assert re.fullmatch(r"[0-9a-f]{20}\n", first.stdout)


def test_the_readme_lists_every_verb_once():
    rows = re.findall(r"^\| `edgecnn ([a-z-]+)` \|", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert sorted(rows) == sorted(VERBS)
