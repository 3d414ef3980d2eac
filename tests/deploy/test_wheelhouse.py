"""A folder that installs edgecnn on a board without a network, made from an index on loopback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecnn import __version__
from edgecnn.cli.main import main
from edgecnn.deploy import wheelhouse
from tests.deploy.indexes import Index, index_on_loopback

OWN = f"edgecnn-{__version__}-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.chdir(tmp_path)
    with index_on_loopback(tmp_path / "index", monkeypatch) as running:
        running.add("click", "8.3")
        running.add("numpy", "2.4", "cp313-cp313-manylinux_2_27_aarch64.manylinux_2_28_aarch64")
        running.add("numpy", "2.4", "cp313-cp313-manylinux_2_28_x86_64")
        running.add("pillow", "13.0", "cp313-cp313-manylinux_2_28_aarch64")
        conditions = ["new_part; python_version >= '3.13'", "old_part; python_version < '3.12'"]
        conditions += ["arm_part; platform_machine == 'aarch64'", "intel_part; platform_machine == 'x86_64'"]
        running.add("ai_edge_litert", "2.3", "cp313-cp313-manylinux_2_27_aarch64", conditions)
        for part in ("new_part", "arm_part"):
            running.add(part)
        yield running


def built(*words: str) -> set[str]:
    """The packages of the wheelhouse that a command makes in ``house``."""
    assert main(["wheelhouse", "--out", "house", *words]) == 0
    return {path.name.partition("-")[0] for path in Path("house").glob("*.whl")}


def refused(capfd: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """The one line of an error, after which there is no wheelhouse."""
    assert main(["wheelhouse", "--out", "house", *words]) == code
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("edgecnn: error: ")]
    assert lines == err.splitlines()[-1:]
    return lines[0]


def test_it_holds_the_wheels_for_the_board_and_none_for_this_machine(index: Index) -> None:
    packages = built("--python", "3.13", "--arch", "aarch64")
    assert packages == {"edgecnn", "click", "numpy", "pillow", "ai_edge_litert", "new_part", "arm_part"}
    assert not list(Path("house").glob("*x86_64*"))


def test_the_list_pins_every_wheel_by_its_digest_and_says_what_it_is_for(index: Index) -> None:
    built("--python", "3.13", "--arch", "aarch64")
    first, *lines = Path("house/requirements.txt").read_text().splitlines()
    assert first == "# edgecnn for Python 3.13 on aarch64"
    digests = {
        path.name.split("-")[0].replace("_", "-"): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path("house").glob("*.whl")
    }
    assert {line.split("==")[0]: line.split("--hash=sha256:")[1] for line in lines} == digests
    assert Path("house/install.sh").read_bytes() == wheelhouse.SCRIPT.read_bytes()


def test_the_document_names_folder_and_wheels(index: Index, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["wheelhouse", "--python", "3.13", "--arch", "aarch64", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["folder"] == "wheelhouse-3.13-aarch64"
    files = {wheel["file"]: wheel["bytes"] for wheel in told["wheels"]}
    assert files == {path.name: path.stat().st_size for path in Path(told["folder"]).glob("*.whl")}
    assert OWN in files
    assert told["bytes"] == sum(files.values())


def test_what_serving_and_a_camera_need_comes_when_asked_for(index: Index) -> None:
    for name in ("python_multipart", "uvicorn", "simplejpeg"):
        index.add(name, "99")
    packages = built("--python", "3.13", "--arch", "aarch64", "--serve", "--camera")
    assert packages >= {"python_multipart", "uvicorn", "simplejpeg"}


def test_on_32_bit_arm_the_engine_is_tflite_runtime(index: Index) -> None:
    index.add("numpy", "1.26.4", "cp311-cp311-linux_armv7l")
    index.add("pillow", "12.0", "cp311-cp311-linux_armv7l")
    index.add("tflite_runtime", "2.14.0", "cp311-cp311-manylinux_2_34_armv7l")
    packages = built("--python", "3.11", "--arch", "armv7l")
    assert packages == {"edgecnn", "click", "numpy", "pillow", "tflite_runtime"}


@pytest.mark.parametrize(
    ("python", "arch", "reason"),
    [
        ("3.12", "aarch64", "pillow has no wheel for Python 3.12 on aarch64"),
        (
            "3.11",
            "armv7l",
            "pillow has no wheel for Python 3.11 on armv7l in the package index; piwheels has wheels for",
        ),
        ("3.13", "armv7l", "no TFLite engine has, on 32-bit ARM, from Python 3.12 on"),
    ],
)
def test_a_package_without_a_wheel_is_named(
    index: Index, python: str, arch: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert reason in refused(capfd, "--python", python, "--arch", arch)
    assert not Path("house").exists()


def test_an_index_that_does_not_answer(
    index: Index, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    assert "no answer from the package index" in refused(capfd, "--python", "3.13", "--arch", "aarch64", code=1)
    assert sorted(path.name for path in Path().iterdir()) == ["index"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--python", "3.10", "--arch", "aarch64"], "unknown Python '3.10'"),
        (["--python", "3.13", "--arch", "arm64"], "unknown architecture 'arm64'"),
        (["--python", "3.13"], "Missing option '--arch'"),
    ],
)
def test_what_cannot_be_asked_for(
    index: Index, words: list[str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert reason in refused(capfd, *words)


def test_a_wheelhouse_that_is_there_is_replaced_only_when_told_to(
    index: Index, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("house").mkdir()
    Path("house/gone-1-py3-none-any.whl").touch()
    assert "already exists" in refused(capfd, "--python", "3.13", "--arch", "aarch64")
    assert Path("house/gone-1-py3-none-any.whl").exists()
    assert "edgecnn" in built("--python", "3.13", "--arch", "aarch64", "--force")
    assert "gone" not in built("--python", "3.13", "--arch", "aarch64", "--force")


@pytest.mark.parametrize("place", ["house", "house/mine", "."])
def test_what_is_no_wheelhouse_is_not_replaced_and_nothing_is_fetched(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wheelhouse, "download", lambda *_words: pytest.fail("it is fetched"))
    Path("house").mkdir()
    Path("house/mine").write_text("years of work")
    words = ["wheelhouse", "--python", "3.13", "--arch", "aarch64", "--force", "--out", place]
    assert main(words) == 2
    assert "--force replaces a wheelhouse and nothing else" in capfd.readouterr().err
    assert Path("house/mine").read_text() == "years of work"
