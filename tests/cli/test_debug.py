"""``edgecnn debug`` on small real bundles."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgecnn.cli.main import main
from edgecnn.runtime.manifest import Manifest
from tests import tiny_artifacts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


def test_the_verdict_is_on_top_and_names_that_are_missing_are_said(folder: Path, capfd) -> None:
    assert main(["debug", str(folder), "--images", "40"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("sound: no layer is to blame: the logits keep ")
    assert "fully_connected at 1  FULLY_CONNECTED " in out
    assert "the files hold no whole names of modules" in out
    assert err.splitlines()[-1] == "images 33 to 40 of 40"


def test_json_is_one_document(folder: Path, capfd) -> None:
    assert main(["debug", str(folder), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["schema"], document["images"], document["named"]) == (1, 50, False)
    (layer,) = document["layers"]
    assert layer["channels"] == len(layer["channel_db"]) == 3
    assert document["verdict"]["sound"] is True


def test_a_page_is_written_and_not_replaced(folder: Path, tmp_path: Path, capfd) -> None:
    page = tmp_path / "page.html"
    assert main(["debug", str(folder), "--html", str(page)]) == 0
    assert page.read_text("utf-8").startswith("<!doctype html>")
    page.write_text("mine")
    assert main(["debug", str(folder), "--html", str(page)]) == 2
    assert page.read_text() == "mine"
    assert "page.html" in capfd.readouterr().err
    assert main(["debug", str(folder), "--html", str(page), "--force"]) == 0


def test_a_bundle_of_floats_is_refused(folder: Path, capfd) -> None:
    old = Manifest.load(folder)
    dataclasses.replace(old, recipe="float32").save(folder)
    assert main(["debug", str(folder)]) == 2
    assert "holds float32 files only; give a bundle that 'edgecnn quantize' wrote" in capfd.readouterr().err


def test_a_bundle_without_the_float_file_is_refused(folder: Path, capfd) -> None:
    old = Manifest.load(folder)
    dataclasses.replace(old, artifacts=old.artifacts[1:]).save(folder)
    assert main(["debug", str(folder)]) == 2
    assert "float32 tflite" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere"], "nowhere is not there; give the folder of a bundle"),
        ([], "BUNDLE"),
        (["b", "--images", "1"], "--images"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(words: list[str], reason: str, capfd) -> None:
    assert main(["debug", *words]) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and reason in err
