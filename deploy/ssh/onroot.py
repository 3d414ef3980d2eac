"""What runs on a board as root, for a service only: sent along like onboard.py, and kept nowhere.

``/opt/UNIT``, where UNIT is ``edgecnn-NAME``, is root's and readable by anyone:

    env-KEY/          edgecnn, LiteRT and what ``edgecnn serve`` needs
    versions/KEY/     a bundle; beside it ``edgecnn`` (a launcher), ``env`` and ``unit``
    current           a link to the version that is served
    previous          a link to the one before it
    trial             while a version has not been ready yet: which one was served before

Everything is copied before anything is stopped. Then ``trial`` is written, the link is moved and the service started
again; when systemd does not hear that it is ready, the link and the unit go back. A trial that was cut short is put
back by the next request, whichever that is.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LAUNCHER = '#!/bin/sh\nexec {home}/{env}/venv/bin/python -P -m edgecnn "$@"\n'
PRIVATE = ("/home/", "/root/", "/run/user/")  # what ProtectHome hides from a service
Request = dict[str, Any]


class Failed(Exception):
    """One line that says why."""


class Service:
    """The service of a request, and the places where its files are."""

    def __init__(self, request: Request) -> None:
        self.unit: str = request["unit"]
        self.home = Path(request["opt"], self.unit)
        self.unit_file = Path(request["units"], f"{self.unit}.service")
        self.token = Path(request["tokens"], f"{self.unit}.token")
        self.trial = self.home / "trial"

    def version(self, link: str) -> str | None:
        """The version that a link leads to, None where it leads nowhere."""
        path = self.home / link
        return path.resolve().name if path.is_symlink() and path.is_dir() else None

    def point(self, link: str, version: str) -> None:
        """Let a link lead to a version, in one step."""
        part = self.home / f".{link}.part"
        part.unlink(missing_ok=True)
        part.symlink_to(Path("versions", version))
        os.replace(part, self.home / link)


def install(service: Service, request: Request) -> None:
    """Copy a version that was tested in a user's folder, and serve it; on a failure what was served is served again."""
    _refuse_foreign(service)
    staged, version = Path(request["staged"]), request["version"]
    environment = Path(request["env"])
    python = os.path.realpath(environment / "venv/bin/python")
    if python.startswith(PRIVATE):
        raise Failed(f"its python3 is {python}, which a service cannot see; make /usr/bin/python3 the first in PATH")
    _copy_environment(environment, service.home / environment.name)
    _copy_version(service, staged / request["name"] / "versions" / version, version, request)
    os.sync()
    _serve(service, version)
    _tidy(service)


def rollback(service: Service, _request: Request) -> None:
    """Serve the version before; on a failure what was served is served again."""
    version = service.version("previous")
    if version is None:
        raise Failed("there is no version to go back to")
    _refuse_foreign(service)
    _serve(service, version)


def settle(service: Service) -> None:
    """End a trial that was cut short: one that was ready counts, any other is put back."""
    text = _read(service.trial)
    if text is None:
        return
    trial = json.loads(text)
    if trial["ready"]:
        _accept(service, trial["before"])
        return
    if trial["before"] is not None:
        service.point("current", trial["before"])
        _start(service)
    else:
        if service.unit_file.exists():
            _systemctl("disable", "--now", service.unit_file.name)
        service.unit_file.unlink(missing_ok=True)
        (service.home / "current").unlink(missing_ok=True)
        _systemctl("daemon-reload")
    service.trial.unlink()
    _tidy(service)


def _serve(service: Service, version: str) -> None:
    before = service.version("current")
    _write(service.trial, json.dumps({"before": before, "ready": False}))
    try:
        service.point("current", version)
        _start(service)
    except (Failed, OSError) as error:
        try:
            settle(service)
        except (Failed, OSError) as worse:
            raise Failed(
                f"{error}; what was served before could not be put back: {worse}; run it again, or deploy another"
            ) from error
        raise Failed(
            f"{error}; {'nothing is' if before is None else 'what was served before is'} served now"
        ) from error
    _write(service.trial, json.dumps({"before": before, "ready": True}))
    _accept(service, before)


def _accept(service: Service, before: str | None) -> None:
    if before is not None and before != service.version("current"):
        service.point("previous", before)
    service.trial.unlink()


def _start(service: Service) -> None:
    """Give systemd the unit of the current version and wait until the service says that it is ready."""
    if not service.token.exists():
        service.token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(service.token, secrets.token_urlsafe(24) + "\n", 0o600)
    unit = (service.home / "current" / "unit").read_text()
    if _read(service.unit_file) != unit:
        _write(service.unit_file, unit)
    _systemctl("daemon-reload")
    _systemctl("enable", service.unit_file.name)
    with suppress(Failed):  # it had not failed
        _systemctl("reset-failed", service.unit_file.name)
    try:
        _systemctl("restart", service.unit_file.name)
    except Failed as error:
        raise Failed(_last_words(service) or str(error)) from error


def _refuse_foreign(service: Service) -> None:
    """A unit that is not the one that was put there is somebody's, and is not written over."""
    found, current = _read(service.unit_file), service.version("current")
    made = None if current is None else (service.home / "current" / "unit").read_text()
    if found is not None and found != made:
        raise Failed(
            f"{service.unit_file} is not as edgecnn wrote it; put changes into a drop-in (sudo systemctl edit "
            f"{service.unit}) and remove that file, or choose another --name"
        )


def _copy_environment(source: Path, target: Path) -> None:
    if target.exists():  # whole, since it got its name last
        return
    with _part(".env-", target.parent) as part:
        shutil.copytree(source / "venv", part / "venv", symlinks=True)
        shutil.copyfile(source / "install.exit", part / "install.exit")
        _open_to_all(part)
        os.rename(part, target)


def _copy_version(service: Service, source: Path, version: str, request: Request) -> None:
    target = service.home / "versions" / version
    target.parent.mkdir(mode=0o755, exist_ok=True)
    if target.exists() and _digests(target / "bundle") == _digests(source / "bundle"):
        return
    with _part(".version-", service.home) as part:
        shutil.copytree(source / "bundle", part / "bundle", symlinks=True)
        environment = Path(request["env"]).name
        (part / "env").write_text(environment)
        (part / "edgecnn").write_text(LAUNCHER.format(home=service.home, env=environment))
        (part / "edgecnn").chmod(0o755)
        (part / "unit").write_text(request["text"])
        _open_to_all(part)
        if target.exists():  # damaged there
            os.rename(target, tempfile.mkdtemp(prefix=".version-", dir=service.home) + "/damaged")
        os.rename(part, target)


@contextmanager
def _part(prefix: str, folder: Path) -> Iterator[Path]:
    """A folder to copy into and to rename. After a failure it goes: on a full disk it would take the room for good."""
    part = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)  # gone already where it was renamed


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _open_to_all(folder: Path) -> None:
    """Let the service's user read what another user made for himself."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _tidy(service: Service) -> None:
    """Remove the versions to which no link leads, the environments that no version needs, and halves of either."""
    kept = {service.version(name) for name in ("current", "previous")}
    for version in service.home.glob("versions/*"):
        if version.name not in kept:
            shutil.rmtree(version, ignore_errors=True)
    used = {_read(path) for path in service.home.glob("versions/*/env")}
    for path in [*service.home.glob("env-*"), *service.home.glob(".env-*"), *service.home.glob(".version-*")]:
        if path.name not in used:
            shutil.rmtree(path, ignore_errors=True)


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["nothing was said"]
        raise Failed(f"systemctl {words[0]} failed: {said[0]}")


def _last_words(service: Service) -> str:
    """The error that the service wrote into the journal before it ended; '' where there is none."""
    words = ["journalctl", "--unit", service.unit, "--lines", "40", "--output", "cat", "--no-pager", "--quiet"]
    try:
        said = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace").stdout
    except FileNotFoundError:
        return ""
    return next((line for line in reversed(said.splitlines()) if line.startswith("edgecnn: ")), "")


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    handle, part = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        os.fsync(file.fileno())
    os.chmod(part, mode)
    os.replace(part, path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


REQUESTS: dict[str, Callable[[Service, Request], None]] = {"install": install, "rollback": rollback}


def main() -> None:
    """Carry out the request in the second argument, one at a time and after ``settle``, which may be all of it.

    Where what was served before a trial does not start any more, another version may. The exit code is 1, and a line
    says why, where that does not work.
    """
    request = json.loads(base64.b64decode(sys.argv[2]))
    os.umask(0o022)
    service = Service(request)
    try:
        service.home.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = os.open(service.home, os.O_RDONLY)  # held until this process ends
        fcntl.flock(lock, fcntl.LOCK_EX)
        if request["do"] == "settle":
            settle(service)
            return
        with suppress(Failed, OSError):
            settle(service)
        REQUESTS[request["do"]](service, request)
    except (Failed, OSError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
