"""The emulator's parts: a tool that is missing, a build that fails or is interrupted, and two at the same time."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

import pytest

from edgecnn.deploy.emulated_arm import plugin, root
from edgecnn.deploy.emulated_arm.cache import cache_root, once
from edgecnn.deploy.emulated_arm.cpus import ARM64, ARMHF, CPU, CPUS
from edgecnn.deploy.emulated_arm.plugin import QEMU, find_qemu, plugin_for
from edgecnn.deploy.emulated_arm.root import packages, root_of, wheels
from edgecnn.errors import EdgeCNNError, OutputError, UsageError
from edgecnn.measure.machine import read_machine
from tests.tools import tool

QEMU_HELP = 'case $1 in --version) echo "qemu-aarch64 version {version} (Debian)";; -help) echo "{options}";; esac'


def quiet(_line: str) -> None:
    pass


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that programs are found in, and a cache that is empty."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    return folder


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.delenv("EDGECNN_CACHE", raising=False)
    assert cache_root() == Path("/xdg/edgecnn/emulated-arm")
    monkeypatch.setenv("EDGECNN_CACHE", "/chosen")
    assert cache_root() == Path("/chosen/emulated-arm")


def test_an_interrupted_build_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    def make(work: Path) -> None:
        (work / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once(tmp_path / "part", make, quiet)
    assert kept(tmp_path) == []
    made = once(tmp_path / "part", lambda work: (work / "whole").touch(), quiet)
    assert kept(made) == ["whole"]


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".part.killed.tmp").mkdir()
    (tmp_path / ".part.killed.tmp" / "half").touch()
    once(tmp_path / "part", lambda work: (work / "whole").touch(), quiet)
    assert kept(tmp_path) == ["part"]


def test_of_two_builds_at_once_one_waits_and_makes_nothing(tmp_path: Path) -> None:
    made: list[str] = []
    said: list[str] = []
    first_is_at_it, go_on = threading.Event(), threading.Event()

    def first(work: Path) -> None:
        first_is_at_it.set()
        assert go_on.wait(30)
        made.append("first")

    def told(line: str) -> None:
        said.append(line)
        go_on.set()

    thread = threading.Thread(target=once, args=(tmp_path / "part", first, quiet))
    thread.start()
    assert first_is_at_it.wait(30)
    once(tmp_path / "part", lambda _work: made.append("second"), told)
    thread.join()
    assert made == ["first"]
    assert said == [f"waiting for another process that makes {tmp_path / 'part'}"]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write .*set EDGECNN_CACHE to another folder"):
        once(tmp_path / "file" / "part", lambda _work: None, quiet)


def test_without_apt_it_says_what_kind_of_system_is_needed(tools: Path) -> None:
    with pytest.raises(UsageError, match="no apt-get, apt-config, dpkg; run it on Debian"):
        root_of(ARM64, quiet)


def test_without_debians_key_it_says_what_to_install(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("apt-get", "apt-config", "dpkg"):
        program(tools, name, "exit 0")
    monkeypatch.setattr(root, "KEYRING", tools / "none.gpg")
    with pytest.raises(UsageError, match="run: apt-get install debian-archive-keyring"):
        root_of(ARM64, quiet)


def test_without_a_network_the_reason_is_one_line_and_nothing_is_kept(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "seen.conf"
    mirror = '[ "$1" != indextargets ] || { echo "Debian|Debian|http://localhost/debian"; exit 0; }\n'
    failing = mirror + f'[ "$1" = update ] || exit 0\n/bin/cat "$APT_CONFIG" > {configuration}\n'
    program(tools, "apt-get", failing + 'echo "W: slow" >&2; echo "E: Failed to fetch it" >&2; exit 100')
    program(tools, "apt-config", "exit 0")
    program(tools, "dpkg", "exit 0")
    key = tmp_path / "key.gpg"
    key.touch()
    monkeypatch.setattr(root, "KEYRING", key)
    with pytest.raises(EdgeCNNError, match="apt-get failed with exit code 100: E: Failed to fetch it .*a network") as e:
        root_of(ARM64, quiet)
    assert "\n" not in str(e.value)
    assert kept(tmp_path / "cache" / "emulated-arm") == []
    # Nothing of the system's apt is read or written: no hook of its configuration, no list, no source.
    places = [line.split('"')[1] for line in configuration.read_text().splitlines() if line.startswith("Dir::")]
    assert {"parts", "sourcelist", "sourceparts", "main"} <= {
        line.partition("::")[2].partition("::")[2].split(" ")[0]
        for line in configuration.read_text().splitlines()
        if line.startswith("Dir::Etc")
    }
    assert all(place == "/dev/null" or str(tmp_path) in place for place in places)


def test_an_apt_that_was_never_updated_is_told_so(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("apt-get", "apt-config", "dpkg"):
        program(tools, name, "exit 0")
    key = tmp_path / "key.gpg"
    key.touch()
    monkeypatch.setattr(root, "KEYRING", key)
    with pytest.raises(UsageError, match="run, as root: apt-get update"):
        root_of(ARM64, quiet)


@pytest.mark.parametrize("system", [ARM64, ARMHF])
def test_every_wheel_is_pinned_to_its_content(system) -> None:
    lines = [line for line in wheels(system).read_text().splitlines() if not line.startswith("#")]
    assert lines and all(" --hash=sha256:" in line and "==" in line for line in lines)
    assert {"libc6", "python3.11-minimal"} <= set(packages(system))


def test_without_qemu_it_says_what_to_install(tools: Path) -> None:
    with pytest.raises(UsageError, match="qemu-aarch64 is not installed; on Debian 12: apt-get install qemu-user"):
        find_qemu(ARM64)


def test_a_qemu_without_plugins_is_refused(tools: Path) -> None:
    program(tools, "qemu-aarch64", QEMU_HELP.format(version="10.0.2", options="-cpu"))
    with pytest.raises(UsageError, match=r"version 10.0.2\) was built without plugins"):
        find_qemu(ARM64)


def test_a_qemu_with_plugins_tells_its_version(tools: Path) -> None:
    path = program(tools, "qemu-aarch64", QEMU_HELP.format(version="7.2.22", options="-plugin"))
    assert find_qemu(ARM64) == QEMU(str(path), "qemu-aarch64 7.2.22", (7, 2))


def test_without_a_compiler_it_says_what_to_install(tools: Path) -> None:
    with pytest.raises(UsageError, match="needs a C compiler .* apt-get install gcc libc6-dev"):
        plugin_for(QEMU("", "", (7, 2)), quiet)


def test_a_compiler_that_fails_leaves_no_counter(tools: Path, tmp_path: Path) -> None:
    program(tools, "cc", 'echo "count.c:1: error: no such header" >&2; exit 1')
    with pytest.raises(EdgeCNNError, match="could not compile .*count.c:1: error: no such header"):
        plugin_for(QEMU("", "", (7, 2)), quiet)
    assert kept(tmp_path / "cache" / "emulated-arm") == []


@pytest.mark.parametrize(("version", "api"), [((7, 2), 1), ((8, 2), 1), ((9, 0), 2), ((10, 0), 2)])
def test_the_counter_is_compiled_for_the_interface_of_the_qemu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], api: int
) -> None:
    tool("gcc")
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path))
    library = ctypes.CDLL(str(plugin_for(QEMU("", "", version), quiet)), mode=os.RTLD_LAZY)
    assert ctypes.c_int.in_dll(library, "qemu_plugin_version").value == api


def test_a_counter_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool("gcc")
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path))
    first = plugin_for(QEMU("", "", (7, 2)), quiet)
    before = first.stat().st_mtime_ns
    monkeypatch.setattr(plugin, "COMPILERS", ())
    assert plugin_for(QEMU("", "", (7, 2)), quiet).stat().st_mtime_ns == before


@pytest.mark.parametrize("cpu", CPUS.values(), ids=CPUS)
def test_what_the_board_says_of_its_cpu_is_what_it_is(cpu: CPU, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(cpu.cpuinfo)
    machine = read_machine(tmp_path)
    assert (machine.cpu, machine.cores) == (cpu.title, 4)
    assert machine.features == (("asimddp",) if cpu.name == "cortex-a76" else ())
