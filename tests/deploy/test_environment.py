"""What goes into a board's environment, and the words that are about boards."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgecnn.cli import targets
from edgecnn.cli.main import main
from edgecnn.deploy.ssh.bench import bench_words
from edgecnn.deploy.ssh.environment import Environment, Install, platform_of
from edgecnn.deploy.ssh.facts import Facts
from edgecnn.errors import CheckFailedError, UsageError
from edgecnn.measure.cases import Order
from edgecnn.measure.measurement import Settings

PI = Facts((3, 11, 2), 64, "aarch64", "cpython-311-aarch64-linux-gnu", ("glibc", "2.36"), True)


def key(work: Path, facts: Facts = PI, runtimes: tuple[str, ...] = ("litert",), install: Install = Install()) -> str:  # noqa: B008
    return Environment(facts, runtimes, install, work).key


def test_the_key_of_an_environment_changes_with_what_is_in_it(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "numpy-2-cp311-cp311-manylinux_2_27_aarch64.whl").write_bytes(b"1")
    given = Install(offline=True, wheels=wheels)
    keys = [key(tmp_path), key(tmp_path, runtimes=("litert", "onnxruntime")), key(tmp_path, install=given)]
    keys += [key(tmp_path, dataclasses.replace(PI, python=(3, 13, 1))), key(tmp_path, install=Install(offline=True))]
    (wheels / "numpy-2-cp311-cp311-manylinux_2_27_aarch64.whl").write_bytes(b"2")
    keys.append(key(tmp_path, install=given))
    assert len(set(keys)) == len(keys)
    assert key(tmp_path, install=Install(keep=True)) == keys[0]


@pytest.mark.parametrize("name", ["numpy-2-cp311-cp311-manylinux_2_27_x86_64.whl", "notes.txt", None])
def test_a_folder_without_a_wheel_for_the_board(tmp_path: Path, name: str | None) -> None:
    folder = tmp_path / "wheels"
    if name is not None:
        folder.mkdir()
        (folder / name).write_bytes(b"")
    with pytest.raises(UsageError, match="holds no wheel for aarch64"):
        key(tmp_path, install=Install(offline=True, wheels=folder))


def test_platforms_are_those_of_the_boards_c_library() -> None:
    tags = platform_of(PI).tags
    assert tags[0] == "manylinux_2_36_aarch64"
    assert tags[-3:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]


@pytest.mark.parametrize("libc", [("", ""), (), ("musl", "1.2"), ("glibc", "2.36;reboot"), ("glibc", "3.0")])
def test_a_c_library_that_no_wheel_is_known_for(libc: tuple[str, ...]) -> None:
    with pytest.raises(CheckFailedError, match="collect them yourself"):
        platform_of(dataclasses.replace(PI, libc=libc))


def test_the_command_for_the_board_holds_all_of_an_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(runs=3, min_seconds=0.1 + 0.2, pin=(0, 2), cooldown=1.5, sustained=7.5)
    assert all(getattr(settings, each.name) != each.default for each in dataclasses.fields(Settings))
    order = Order((tmp_path / "a", tmp_path / "b c"), ("litert", "openvino"), (1, 2), (4, 8), settings)
    heard = []

    def bench_on_all(_targets: object, asked: Order, *_rest: object) -> dict[str, UsageError]:
        heard.append(asked)
        return {"local": UsageError("enough")}

    monkeypatch.setattr(targets, "bench_on_all", bench_on_all)
    assert main(bench_words(order, [str(path) for path in order.paths])) == 2
    assert heard == [order]


@pytest.mark.parametrize("words", [["--keep"], ["--offline"], ["--offline", "wheels"]])
def test_words_about_boards_need_one(words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tmp_path), *words]) == 2
    assert "--offline and --keep are of boards" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--target", "ssh://pi", "--target", "ssh://pi/"], "--target ssh://pi is there twice"),
        (["--target", "local", "--target", "local"], "--target local is there twice"),
        (["--target", "local", "--target", "ssh://pi", "--format", "google-benchmark"], "is of one target"),
        (["--target", "ssh://a:2", "--target", "ssh://a-2", "--json", "r.json"], "written to the same file"),
        (["--target", "remote"], "'remote' is no target"),
        (["--target", "ssh://127.0.0.1:1", "--target", "remote"], "'remote' is no target"),
    ],
)
def test_targets_that_do_not_go_together(
    words: list[str], reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(tmp_path), *words]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err
