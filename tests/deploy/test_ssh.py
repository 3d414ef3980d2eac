"""A bench on a board behind a real SSH server on loopback."""

from __future__ import annotations

import getpass
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecnn import __version__
from edgecnn.cli.main import main
from edgecnn.cli.targets import bench_on, bench_on_all
from edgecnn.deploy.ssh import board as board_module
from edgecnn.deploy.ssh import environment
from edgecnn.deploy.ssh.address import Address
from edgecnn.deploy.ssh.board import Board
from edgecnn.deploy.ssh.environment import Environment, Install
from edgecnn.deploy.wheel import build_wheel
from edgecnn.errors import CheckFailedError, EdgeCNNError
from edgecnn.measure.cases import Order
from edgecnn.measure.measurement import Session, Settings
from tests import tiny_artifacts
from tests.conftest import Once
from tests.deploy.scripted_board import ScriptedBoard
from tests.deploy.ssh_server import SshServer, python_folder, ssh_server
from tests.deploy.wheels import repack_light

ROOT = Path(__file__).parent.parent.parent
WHEEL = f"edgecnn-{__version__}-py3-none-any.whl"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    with ssh_server(tmp_path / "server") as running:
        monkeypatch.setenv("EDGECNN_SSH_CONFIG", str(running.folder / "ssh_config"))
        yield running


@pytest.fixture
def board(server: SshServer, once: Once, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedBoard]:
    monkeypatch.setattr(board_module, "PAUSES", (0.05, 0.2))
    monkeypatch.setattr(environment, "build_wheel", lambda folder: once("wheel", build_wheel) / WHEEL)
    scripted = ScriptedBoard(server)
    yield scripted
    scripted.close()


@pytest.fixture
def second(board: ScriptedBoard, tmp_path: Path) -> Iterator[ScriptedBoard]:
    """Another board that takes the same key."""
    with ssh_server(tmp_path / "second") as server:
        known = board.server.folder / "known_hosts"
        known.write_text(known.read_text() + (server.folder / "known_hosts").read_text())
        (server.folder / "authorized_keys").write_bytes((board.server.folder / "user_key.pub").read_bytes())
        scripted = ScriptedBoard(server)
        yield scripted
        scripted.close()


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order((tiny_artifacts.bundle(tmp_path / "b"),), ("litert",), settings=Settings(runs=2, min_seconds=0.01))


def words(order: Order, target: str) -> list[str]:
    """The command line of an order of this file."""
    return [
        "bench",
        str(order.paths[0]),
        "--runtime",
        "litert",
        "--runs",
        "2",
        "--min-seconds",
        "0.01",
        "--target",
        target,
    ]


def nothing(_line: str) -> None:
    """Nobody listens."""


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    """The last line on standard error, the only one of an error."""
    out, err = capfd.readouterr()
    assert out == ""
    errors = [line for line in err.splitlines() if line.startswith("edgecnn: ")]
    assert errors == err.splitlines()[-1:]
    return errors[0]


def test_a_real_bench_on_a_board_that_gets_edgecnn_from_wheels(
    server: SshServer, order: Order, once: Once, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python cannot make virtual environments; on Debian: apt-get install python3-venv")
    wheels = once("light-wheels", repack_light)
    result = tmp_path / "run.json"
    assert main([*words(order, server.target), "--json", str(result), "--offline", str(wheels)]) == 0
    assert tiny_artifacts.INT8_FILE in capfd.readouterr().out
    session, here = Session.load(result), bench_on("local", order, nothing)
    assert [row.case for row in session.measurements] == [row.case for row in here.measurements]
    assert [row.accuracy for row in session.measurements] == [row.accuracy for row in here.measurements]
    assert [len(row.runs) for row in session.measurements] == [2, 2]
    assert session.machine.cpu == here.machine.cpu
    assert (server.left(), server.processes()) == ([], [])


def test_what_is_run_there_and_that_nothing_stays(board: ScriptedBoard, order: Order) -> None:
    expected = board.answers(order)
    assert bench_on(board.target, order, nothing) == expected
    assert len(board.begun()) == 1
    assert "--runtime litert --threads 1 --batch 1 --runs 2 --min-seconds 0.01 --cooldown 0.0" in board.begun()[0]
    assert board.left() == []


def test_an_order_for_a_board_that_names_no_runtime_is_for_litert(board: ScriptedBoard, order: Order) -> None:
    board.answers(order)
    bench_on(board.target, Order(order.paths, settings=order.settings), nothing)
    assert "--runtime litert " in board.begun()[0]


def test_a_cut_connection_is_made_again_and_the_bench_goes_on(board: ScriptedBoard, order: Order) -> None:
    expected = board.answers(order)
    board.hold()
    said = []

    def hear(line: str) -> None:
        said.append(line)
        if line == "round 1 of 2":
            board.server.cut()
        if line.endswith("connected again"):
            board.let_go()

    assert bench_on(board.target, order, hear) == expected
    assert [line.removeprefix(f"{board.target}: ") for line in said[-4:]] == [
        "round 1 of 2", "the connection was lost; trying again for 120 seconds", "connected again", "round 2 of 2",
    ]  # fmt: skip
    assert len(board.begun()) == 1
    assert board.left() == []


def test_after_a_server_was_gone_for_good_the_same_command_takes_up_the_bench(
    board: ScriptedBoard, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "PATIENCE", 0.2)
    expected = board.answers(order)
    board.hold()

    def leave(line: str) -> None:
        if line == "round 1 of 2":
            board.server.close()

    with pytest.raises(EdgeCNNError, match="connection refused.*could not be made again for 0.2 seconds") as caught:
        bench_on(board.target, order, leave)
    assert caught.value.exit_code == 1
    board.server.reopen()
    said = []

    def go_on(line: str) -> None:
        said.append(line)
        if line == "round 1 of 2":
            board.let_go()

    assert bench_on(board.target, order, go_on) == expected
    assert "this bench was begun before and goes on" in said
    assert len(board.begun()) == 1
    assert board.left() == []


def test_the_same_command_from_elsewhere_takes_the_bench_over(board: ScriptedBoard, order: Order) -> None:
    expected = board.answers(order)
    board.hold()
    outcomes = []

    def take_over() -> None:
        outcomes.append(bench_on(board.target, order, lambda line: board.let_go() if "round 1" in line else None))

    other = threading.Thread(target=take_over, daemon=True)
    with pytest.raises(CheckFailedError, match="was started again elsewhere and goes on there"):
        bench_on(board.target, order, lambda line: other.start() if "round 1" in line else None)
    other.join()
    assert outcomes == [expected]
    assert board.left() == []


def test_two_benches_do_not_run_on_one_board(board: ScriptedBoard, order: Order) -> None:
    board.answers(order)
    board.hold()
    another = Order(order.paths, order.runtimes, batches=(2,), settings=order.settings)
    errors = []

    def hear(line: str) -> None:
        if line == "round 1 of 2":
            errors.append(bench_on_all([board.target], another, nothing)[board.target])
            board.let_go()

    bench_on(board.target, order, hear)
    assert "another bench runs on it" in str(errors[0])
    assert board.left() == []


def test_ctrl_c_ends_the_bench_there_and_leaves_nothing(board: ScriptedBoard, order: Order) -> None:
    board.answers(order)
    board.hold()
    command = [sys.executable, "-m", "edgecnn", *words(order, board.target)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "round 1 of 2\n")
        assert not any(line.startswith("edgecnn: ") for line in lines)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that did not leave its session
        rest = process.stderr.read()
    assert (process.returncode, rest) == (130, "edgecnn: interrupted\n")
    assert board.left() == []


def test_a_file_whose_copying_was_cut_is_copied_again(board: ScriptedBoard, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    pipe, whole = tmp_path / "pipe", tmp_path / "whole"
    os.mkfifo(pipe)
    whole.write_bytes(content)

    def feed() -> None:
        with pipe.open("wb") as half:
            half.write(content[:50_000])
            half.flush()
            board.server.cut()

    def hear(line: str) -> None:
        if line.endswith("connected again"):
            whole.replace(pipe)

    feeding = threading.Thread(target=feed, daemon=True)
    digest = hashlib.sha256(content).hexdigest()
    with Board(Address.parse(board.target), threading.Event(), hear) as there:
        there.open()
        feeding.start()
        assert there.ask("put", pipe, name="bench-1/file", bytes=len(content), sha256=digest) == {"whole": True}
        feeding.join()
        assert (board.server.home / ".cache/edgecnn/bench-1/file").read_bytes() == content
        assert there.ask("missing", files=[["bench-1/file", len(content), digest]]) == {"missing": []}
        assert there.ask("put", pipe, name="bench-1/bad", bytes=len(content), sha256="0" * 64) == {"whole": False}
        assert not (board.server.home / ".cache/edgecnn/bench-1/bad").exists()


def test_a_file_that_does_not_arrive_as_it_was_is_refused(
    board: ScriptedBoard, order: Order, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(board_module, "sha256", lambda _path: "0" * 64)
    assert main(words(order, board.target)) == 1
    assert "changed while it was copied" in one_line(capfd)
    assert board.left() == []


def test_two_boards_at_once(board: ScriptedBoard, second: ScriptedBoard, order: Order) -> None:
    both = {each.target: each for each in (board, second)}
    expected = {target: each.answers(order) for target, each in both.items()}
    begun: set[str] = set()
    for each in both.values():
        each.hold()

    def hear(line: str) -> None:
        if line.endswith(": round 1 of 2"):
            begun.add(line.removesuffix(": round 1 of 2"))
            if begun == set(both):  # neither ends before both began
                board.let_go()
                second.let_go()

    assert bench_on_all(list(both), order, hear) == expected
    assert (board.left(), second.left()) == ([], [])


def test_the_results_of_two_boards_are_told_apart(
    board: ScriptedBoard, second: ScriptedBoard, order: Order, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    both = [board, second]
    for each in both:
        each.answers(order)
    line = [*words(order, board.target), "--target", second.target, "--json", str(tmp_path / "run.json")]
    assert main([*line, "--format", "json"]) == 0
    out, err = capfd.readouterr()
    documents = json.loads(out)
    assert list(documents) == [board.target, second.target]
    assert f"{second.target}: round 2 of 2" in err
    for each in both:
        name = f"run.{getpass.getuser()}@127.0.0.1-{each.server.port}.json"
        assert json.loads((tmp_path / name).read_text()) == documents[each.target]
    assert main([*line, "--format", "json"]) == 2
    assert "already exists" in one_line(capfd)


def test_of_two_targets_one_may_fail(board: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    board.answers(order)
    assert main([*words(order, board.target), "--target", "ssh://-oProxyCommand=false"]) == 2
    assert "-oProxyCommand=false' is no address" in one_line(capfd)
    assert main([*words(order, board.target), "--target", "ssh://127.0.0.1:1", "--format", "csv"]) == 1
    out, err = capfd.readouterr()
    assert err.splitlines()[-1].startswith("edgecnn: error: ssh://127.0.0.1:1: connection refused")
    assert [line.split(",")[0] for line in out.splitlines()] == ["target", board.target, board.target]


def test_a_kept_environment_is_used_again_and_goes_when_it_is_not_to_be_kept(
    board: ScriptedBoard, order: Order
) -> None:
    board.answers(order)
    runs: list[list[str]] = [[], [], []]
    for said, keep in zip(runs, (True, True, False), strict=True):
        bench_on(board.target, order, said.append, Install(keep=keep))
        assert (board.left() == []) is not keep
    assert ["installing edgecnn there" in said for said in runs] == [True, False, False]
    assert "a run without --keep removes it" in runs[0][-1]


@pytest.fixture
def throttled(board: ScriptedBoard, order: Order) -> ScriptedBoard:
    """A board whose result is of a throttled machine."""
    board.answers(order)
    document = json.loads(board.result.read_text())
    document["verdict"] = {"level": "INVALID", "reasons": ["throttled during the run"]}
    board.result.write_text(json.dumps(document))
    board.ends_with(3)
    return board


def test_a_throttled_board_makes_the_figures_invalid(
    throttled: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(order, throttled.target)) == 3
    out, err = capfd.readouterr()
    assert out.startswith("INVALID: throttled during the run.")
    assert err.splitlines()[-1] == "edgecnn: error: the figures are INVALID: throttled during the run"


def test_of_several_errors_the_worst_is_the_exit_code(
    throttled: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ["ssh://127.0.0.1:1", throttled.target, "ssh://127.0.0.1:2"]
    assert main([*words(order, names[0]), "--target", names[1], "--target", names[2]]) == 3
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("edgecnn: error: ")]
    assert [line.split()[2] for line in errors] == [f"{names[0]}:", f"{names[2]}:", f"{names[1]}:"]


def test_an_order_that_the_board_refuses(board: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    reason = "--threads 1 is more than the 0 CPUs there are for them"
    said = f"edgecnn: error: {reason}"
    board.program("bench.py", f"import sys\nprint({said!r}, file=sys.stderr)\nsys.exit(2)")
    assert main(words(order, board.target)) == 2
    assert one_line(capfd) == f"edgecnn: error: {board.target}: {reason}"
    assert board.left() == []


def test_a_bench_that_is_killed_there(board: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    board.program("bench.py", "import os\nos.kill(os.getpid(), 9)")
    assert main(words(order, board.target)) == 1
    assert "the bench there ended with exit code -9" in one_line(capfd)
    assert board.left() == []


def test_a_hostile_result_is_refused_in_one_line(
    board: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]
) -> None:
    board.result.write_text("\x1b[2J{")
    assert main(words(order, board.target)) == 1
    line = one_line(capfd)
    assert line.startswith(
        f"edgecnn: error: {board.target}: what came back is no result of this bench: raw.json is not"
    )
    assert "\x1b" not in line
    assert board.left() == []


def test_a_wrong_host_key(server: SshServer, order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    server.make_key("other_key")
    server.know((server.folder / "other_key.pub").read_text())
    assert main(words(order, server.target)) == 2
    line = one_line(capfd)
    assert f"its host key is not the one in {server.folder}/known_hosts line 1" in line
    assert "ssh-keygen -lf" in line


def test_an_unknown_host_key(server: SshServer, order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    (server.folder / "known_hosts").write_text("")
    assert main(words(order, server.target)) == 2
    line = one_line(capfd)
    assert "its host key is not in your known_hosts" in line
    assert f"-p {server.port} 127.0.0.1)" in line
    assert (server.folder / "known_hosts").read_text() == ""


def test_a_key_that_the_board_does_not_take(server: SshServer, order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    server.make_key("user_key")
    assert main(words(order, server.target)) == 2
    assert "it takes none of your keys" in one_line(capfd)


def test_nobody_listens(server: SshServer, order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    server.close()
    assert main(words(order, server.target)) == 1
    assert "connection refused; is the board's SSH server on?" in one_line(capfd)


PATCHED = "#!/bin/sh\nexec {python}/python3 -I -c '{patch}; exec(sys.argv[1])' \"$3\"\n"
UNFIT = {
    "import sys; sys.version_info = (3, 9, 2)": "its python3 is 3.9.2, but edgecnn needs 3.11 or later",
    "import sys, struct; struct.calcsize = lambda _: 4": "its python3 is a 32-bit one",
    "import sys, importlib.util as u; u.find_spec = lambda _: None": "no venv module; run there: sudo apt install",
    'import sys; print("EDGECNN {{\\"python\\": 7}}"); sys.exit()': "it answered nonsense",
}


@pytest.mark.parametrize("patch", UNFIT)
def test_a_python_that_does_not_do(
    patch: str, board: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]
) -> None:
    board.program("python3", PATCHED.format(python=python_folder(), patch=patch.replace("{{", "{").replace("}}", "}")))
    assert main(words(order, board.target)) == (1 if "nonsense" in UNFIT[patch] else 2)
    assert UNFIT[patch] in one_line(capfd)
    assert board.left() == []


def test_no_python_there(
    tmp_path: Path, order: Order, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with ssh_server(tmp_path / "server", path=[]) as server:
        monkeypatch.setenv("EDGECNN_SSH_CONFIG", str(server.folder / "ssh_config"))
        assert main(words(order, server.target)) == 2
        assert "no python3 there; on Debian: sudo apt install python3 python3-venv" in one_line(capfd)


def test_pip_fails_there(board: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    reason = "ERROR: No matching distribution found for numpy>=2"
    board.program("pip", f"#!/bin/sh\necho '{reason}' >&2\necho bye >&2\nexit 1\n")
    assert main(words(order, board.target)) == 1
    assert one_line(capfd).endswith(f"there ended with exit code 1: {reason}")
    assert board.left() == []


@pytest.fixture
def small_disk(board: ScriptedBoard) -> Iterator[Path]:
    """The board's cache on a disk of 1 MB."""
    cache = board.server.home / ".cache"
    cache.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(cache)]
    if os.getuid() != 0 or subprocess.run(mounting, capture_output=True).returncode != 0:
        pytest.skip("a small disk can only be mounted by root, and not in every container")
    yield cache
    subprocess.run(["umount", str(cache)], check=True)


def test_a_disk_with_too_little_room(
    small_disk: Path, board: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(order, board.target)) == 2
    assert "is too full: edgecnn needs 400 MB in ~/.cache, there are 0 MB" in one_line(capfd)
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_while_copying(
    small_disk: Path,
    board: ScriptedBoard,
    order: Order,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Environment, "_check_room", lambda *_: None)
    (order.paths[0] / "labels.txt").write_text("ant\nbee\ncat" + "\n" * 2_000_000)
    tiny_artifacts.relist(order.paths[0])
    big = order.paths[0].parent / "big.tflite"
    big.write_bytes(os.urandom(2_000_000))
    assert main(words(Order((big,)), board.target)) == 2
    assert "the disk there is full (No space left on device" in one_line(capfd)
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_while_installing(
    board: ScriptedBoard, order: Order, capfd: pytest.CaptureFixture[str]
) -> None:
    board.program("pip", "#!/bin/sh\necho 'ERROR: OSError: [Errno 28] No space left on device' >&2\nexit 1\n")
    assert main(words(order, board.target)) == 2
    assert "the disk there is full" in one_line(capfd)
    assert board.left() == []
