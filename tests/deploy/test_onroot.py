"""What runs on a board as root: each step of it failed and killed, with systemctl played by a program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgecnn.deploy.ssh import onroot, service
from edgecnn.deploy.ssh.board import command_words
from tests import tiny_artifacts
from tests.deploy.homes import manifest
from tests.deploy.manager import UNIT, Manager

ENV = "env-0123456789abcdef"
CALLS = 4  # of systemctl, to serve a version


class Root:
    """A board on which versions were tested in a user's folder, and whose root serves them."""

    def __init__(self, folder: Path) -> None:
        self.staged = folder / "staged"
        programs = folder / "programs"
        programs.mkdir()
        self.manager = Manager(folder, programs)
        self.environment = self.staged / ENV
        (self.environment / "venv/bin").mkdir(parents=True)
        (self.environment / "venv/bin/python").symlink_to("/usr/bin/python3")
        (self.environment / "install.exit").write_text("0")
        self.versions: dict[str, Path] = {}
        for seed, version in enumerate(("first", "second", "third")):
            home = self.staged / "name/versions" / version
            home.mkdir(parents=True)
            self.versions[version] = tiny_artifacts.bundle(home / "bundle", seed=seed)

    def install(self, version: str, env: Path | None = None) -> str | None:
        """Serve a version; what was said where that failed, '' where it was killed."""
        words = {"staged": str(self.staged), "name": "name", "version": version, "text": service.UNIT.read_text()}
        return self._asked("install", env=str(env or self.environment), **words)

    def rollback(self) -> str | None:
        """Serve the version before; like ``install``."""
        return self._asked("rollback")

    def settle(self) -> str | None:
        """Put back what a trial that was cut short left; like ``install``."""
        return self._asked("settle")

    def served(self) -> str | None:
        """Which version runs and would run after a boot; both are the same."""
        running = self.manager.running()
        assert running == self.manager.at_boot()
        return next((name for name, bundle in self.versions.items() if manifest(bundle) == running), None)

    def _asked(self, do: str, **words: str) -> str | None:
        request = {"do": do, "unit": UNIT, **self.manager.places, **words}
        run = subprocess.run(
            command_words(onroot, request), env={"PATH": f"{self.manager.programs}:/usr/bin:/bin"},
            capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode in (0, 1, -9), run.stderr
        assert "Traceback" not in run.stderr
        return None if run.returncode == 0 else run.stderr.strip()


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


@pytest.mark.parametrize("step", range(1, CALLS + 1))
def test_a_step_of_systemd_that_fails_leaves_what_was_served(root: Root, step: int) -> None:
    assert root.install("first") is None
    root.manager.tell(fail_at=step)
    said = root.install("second")
    if root.manager.asked()[step - 1].startswith("reset-failed"):  # of no consequence
        assert (said, root.served()) == (None, "second")
        return
    assert said is not None and said.endswith("; what was served before is served now")
    assert root.served() == "first"
    assert root.rollback() == "there is no version to go back to"


@pytest.mark.parametrize("step", range(1, CALLS + 1))
def test_a_kill_is_put_back_by_the_next_request(root: Root, step: int) -> None:
    assert root.install("first") is None
    root.manager.tell(kill_at=step)
    assert root.install("second") == ""
    assert manifest(root.versions["first"]) == root.manager.running(), "systemd never heard of another"
    assert root.manager.at_boot() in [manifest(root.versions[name]) for name in ("first", "second")]
    root.manager.tell()
    assert root.settle() is None
    assert (root.served(), root.manager.kept()) == ("first", ["current", ENV, "first", "versions"])


@pytest.mark.parametrize("step", range(1, CALLS + 1))
def test_what_was_on_trial_when_it_was_killed_is_not_what_ran_before(root: Root, step: int) -> None:
    assert root.install("first") is None
    root.manager.tell(kill_at=step)
    assert root.install("second") == ""
    root.manager.tell(bad=(root.versions["third"],))
    assert "port 8765 is taken" in str(root.install("third"))
    assert root.served() == "first"


@pytest.mark.parametrize("step", range(1, CALLS + 1))
def test_a_first_version_that_is_killed_leaves_nothing_to_start(root: Root, step: int) -> None:
    root.manager.tell(kill_at=step)
    assert root.install("first") == ""
    root.manager.tell()
    assert root.settle() is None
    assert (root.served(), root.manager.kept()) == (None, ["versions"])
    assert list(root.manager.units.iterdir()) == []


def test_a_kill_while_what_failed_is_put_back_is_mended_by_the_next_request(root: Root) -> None:
    assert root.install("first") is None
    for step in range(CALLS + 1, 2 * CALLS + 1):
        root.manager.tell(bad=(root.versions["second"],), kill_at=step)
        assert root.install("second") == ""
        root.manager.tell()
        assert root.settle() is None
        assert root.served() == "first"


def test_a_manager_that_fails_for_good_is_said_and_mended_later(root: Root) -> None:
    assert root.install("first") is None
    root.manager.tell(fail_from=1)
    assert "what was served before could not be put back" in str(root.install("second"))
    root.manager.tell()
    assert root.settle() is None
    assert root.served() == "first"


def test_where_neither_the_new_version_nor_the_old_one_starts_another_may(root: Root) -> None:
    assert root.install("first") is None
    root.manager.tell(bad=(root.versions["first"], root.versions["second"]))
    assert "what was served before could not be put back" in str(root.install("second"))
    assert "port 8765 is taken" in str(root.settle())
    assert root.install("third") is None
    assert root.served() == "third"


def test_a_version_that_is_ready_when_the_kill_comes_is_kept(root: Root) -> None:
    assert root.install("first") is None
    assert root.install("second") is None
    (root.manager.home / "previous").unlink()
    (root.manager.home / "trial").write_text('{"before": "first", "ready": true}')  # as the kill leaves it
    assert root.settle() is None
    assert root.served() == "second"
    assert root.rollback() is None
    assert root.served() == "first"


def test_a_failure_keeps_the_version_before_that_there_was(root: Root) -> None:
    for version in ("first", "second"):
        assert root.install(version) is None
    kept = root.manager.kept()
    root.manager.tell(bad=(root.versions["third"],))
    assert root.install("third") is not None
    assert (root.served(), root.manager.kept()) == ("second", kept)
    assert root.rollback() is None
    assert root.served() == "first"


def test_a_version_before_that_does_not_get_ready_leaves_what_was_served(root: Root) -> None:
    for version in ("first", "second"):
        assert root.install(version) is None
    root.manager.tell(bad=(root.versions["first"],))
    assert "what was served before is served now" in str(root.rollback())
    assert root.served() == "second"


def test_a_version_that_was_damaged_there_is_copied_again(root: Root) -> None:
    assert root.install("first") is None
    labels = root.manager.home / "current/bundle/labels.txt"
    labels.write_text("other")
    assert root.install("first") is None
    assert labels.read_bytes() == (root.versions["first"] / "labels.txt").read_bytes()
    assert root.manager.kept() == ["current", ENV, "first", "versions"]


def test_a_copy_that_fails_leaves_nothing(root: Root) -> None:
    (root.environment / "install.exit").unlink()  # the last that is copied of an environment
    assert "install.exit" in str(root.install("first"))
    assert root.manager.kept() == []
    (root.environment / "install.exit").write_text("0")
    root.versions["first"].rename(root.staged / "elsewhere")
    assert "bundle" in str(root.install("first"))
    assert root.manager.kept() == [ENV, "versions"], "a whole environment is there for the next try"


def test_a_python_that_a_service_cannot_see_is_refused(root: Root, tmp_path: Path) -> None:
    other = tmp_path / "env-other"
    (other / "venv/bin").mkdir(parents=True)
    (other / "venv/bin/python").symlink_to("/home/pi/.pyenv/bin/python3.11")
    assert "which a service cannot see" in str(root.install("first", env=other))
    assert root.manager.kept() == []


def test_a_unit_of_somebody_else_is_not_written_over(root: Root) -> None:
    path = root.manager.units / f"{UNIT}.service"
    path.write_text("mine")
    assert "is not as edgecnn wrote it" in str(root.install("first"))
    assert (path.read_text(), root.manager.asked()) == ("mine", [])


def test_a_unit_that_was_changed_by_hand_is_not_written_over(root: Root) -> None:
    for version in ("first", "second"):
        assert root.install(version) is None
    path = root.manager.units / f"{UNIT}.service"
    path.write_text(path.read_text() + "# mine\n")
    for said in (root.install("third"), root.rollback()):
        assert f"sudo systemctl edit {UNIT}" in str(said)
    assert path.read_text().endswith("# mine\n")
    assert manifest(root.versions["second"]) == root.manager.at_boot()
