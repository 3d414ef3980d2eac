"""What runs on the board: one program of the standard library, sent along with each request and kept nowhere.

It gets a request as JSON and answers with lines that begin with MARK, so that what a login shell prints is no answer.
Everything it makes lies below ``~/.cache/edgecnn``, or ``~/.local/share/edgecnn`` where it is to stay:

    env-KEY/     venv, wheels, and the task ``install``
    bench-KEY/   owner, env, files, result.json, and the task ``bench``
    NAME/        owner, env, versions of a bundle and links to two of them (see versions.py), and the task ``service``

A task runs detached from the connection, holds ``TASK.lock`` while it does, has its standard error in ``TASK.err``,
and ends with its exit code in ``TASK.exit``. Each request may come again after a broken connection.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

MARK = b"EDGECNN "
LOOK = 0.2  # seconds between two looks at a task; each costs some microseconds
BLOCK = 1 << 16
PLACES = {"cache": Path(".cache", "edgecnn"), "share": Path(".local", "share", "edgecnn")}
LINKS = ("current", "previous")
Request = dict[str, Any]
place = "cache"  # or what the request says


def root() -> Path:
    """The folder of everything that is made here."""
    return Path.home() / PLACES[place]


def claim(request: Request) -> Request:
    """Make the folders of a bench and become its owner: an earlier one that still asks is told so.

    The environment may also be complete in another folder, where a service has it.
    """
    folder, env = root() / request["job"], root() / request["env"]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    env.mkdir(exist_ok=True, mode=0o700)
    _write(folder / "env", request["env"])
    _write(folder / "owner", request["token"])
    places = [env, Path(request["or_in"], request["env"])] if "or_in" in request else [env]
    complete = [place for place in places if _read(place / "install.exit") == "0"]
    return {
        "root": str(root()), "env": str([*complete, env][0]), "ready": bool(complete),
        "free": shutil.disk_usage(folder).free,
    }  # fmt: skip


def own(request: Request) -> Request:
    """Become the owner of a folder for which nothing is installed."""
    folder = root() / request["job"]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(folder / "owner", request["token"])
    return {}


def missing(request: Request) -> Request:
    """Which of the files, each [name, bytes, SHA-256], are not there whole."""
    names = []
    for name, size, digest in request["files"]:
        path = root() / name
        if not path.is_file() or path.stat().st_size != size or _sha256(path) != digest:
            names.append(name)
    return {"missing": names}


def put(request: Request) -> Request:
    """Write standard input to a file; it gets its name only when its size and SHA-256 are right."""
    path = root() / request["name"]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, part = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        whole = os.stat(part).st_size == request["bytes"] and _sha256(Path(part)) == request["sha256"]
        if whole:
            os.replace(part, path)
        return {"whole": whole}
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)


def start(request: Request) -> Request:
    """Start a task of commands, each run when the one before ended with 0, unless it runs or ended with a code in
    ``done``. A task that must be ``alone`` is not started beside one of its name in another folder."""
    folder, task = root() / request["folder"], request["task"]
    if request["alone"]:
        others = [path.parent for path in root().glob(f"*/{task}.lock") if path.parent != folder]
        if any(_running(other, task) for other in others):
            return {"state": "busy"}
    lock = _lock(folder, task)
    if lock is None:
        return {"state": "running"}
    if _read(folder / f"{task}.exit") in [str(code) for code in request["done"]]:
        return {"state": "done"}
    for ending in ("exit", "pid", "err"):
        (folder / f"{task}.{ending}").unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _supervise(folder, task, request["commands"])
    _write(folder / f"{task}.pid", str(child))
    return {"state": "started"}


def follow(request: Request) -> Request:
    """Pass on what a task writes to standard error, from ``offset``, until it ended; its exit code is None when
    something ended it from outside."""
    folder, task, offset = root() / request["folder"], request["task"], request["offset"]
    while True:
        if _read(root() / request["job"] / "owner") != request["token"]:
            return {"taken": True}
        running = _running(folder, task)
        said = b""
        with suppress(FileNotFoundError), (folder / f"{task}.err").open("rb") as file:
            file.seek(offset)
            said = file.read(BLOCK)
        if said:
            offset += len(said)
            answer({"said": said.decode(errors="replace"), "offset": offset})
        elif not running:
            code = _read(folder / f"{task}.exit")
            return {"code": None if code is None else int(code)}
        else:
            time.sleep(LOOK)


def get(request: Request) -> Request:
    """Send a file in pieces, then its SHA-256."""
    path = root() / request["name"]
    with path.open("rb") as file:
        while piece := file.read(BLOCK):
            answer({"piece": base64.b64encode(piece).decode()})
    return {"sha256": _sha256(path)}


def clean(request: Request) -> Request:
    """End what a bench started and remove its folder, and every environment that no other bench uses, but its own if
    that is to be kept and complete. Only the owner may."""
    folder, own = root() / request["job"], root() / request["env"]
    if _read(folder / "owner") not in (None, request["token"]):
        return {"taken": True}
    _kill(folder, "bench")
    shutil.rmtree(folder, ignore_errors=True)
    used = {_read(other) for other in root().glob("bench-*/env")}
    kept = {own.name} if request["keep"] and _read(own / "install.exit") == "0" else set()
    for env in root().glob("env-*"):
        if env.name not in used | kept:
            _kill(env, "install")
            shutil.rmtree(env, ignore_errors=True)
    with suppress(OSError):  # not empty, or gone
        root().rmdir()
        root().parent.rmdir()
    return {"left": [str(path) for path in (folder, own) if path.exists()]}


def state(request: Request) -> Request:
    """Which version of a name runs, and which ran before it."""
    return {"root": str(root()), **{name: _version(root() / request["job"] / name) for name in LINKS}}


def switch(request: Request) -> Request:
    """Make a version the one that runs; what ran becomes ``previous``. Does nothing where it runs already.

    A deploy may only while it is the owner; one without a token goes back to a version that is there.
    """
    home, version = root() / request["job"], request["version"]
    if request["token"] not in (None, _read(home / "owner")):
        return {"taken": True}
    os.chmod(home / "versions" / version / "edgecnn", 0o755)
    now = _version(home / "current")
    if now != version:
        os.sync()  # a link must not be there after a power cut that what it leads to is not
        if now is not None:
            _point(home / "previous", now)
        _point(home / "current", version)
        os.sync()
    return state(request)


def rights(_request: Request) -> Request:
    """Whether systemd runs here, and whether this user may be root without a password; what sudo says if not."""
    words = {"systemd": ["systemctl", "is-system-running"], "sudo": ["sudo", "-n", "true"]}
    found: Request = {"said": ""}
    for name, command in words.items():
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        except FileNotFoundError:
            found |= {name: False, "said": f"{command[0]} is not installed"}
            continue
        # Of a system in which some unit failed, or that is still starting, systemctl ends with another code than 0.
        found[name] = done.returncode == 0 if name == "sudo" else done.stdout.strip() not in ("", "offline")
        found["said"] = done.stderr
    return found


def tidy(request: Request) -> Request:
    """Remove the versions of a name to which no link leads, and the environments that no version needs. Only the
    owner may."""
    home = root() / request["job"]
    if _read(home / "owner") != request["token"]:
        return {"taken": True}
    kept = [_version(home / name) for name in LINKS]
    for version in home.glob("versions/*"):
        if version.name not in kept:
            _kill(version, "self-test")
            shutil.rmtree(version, ignore_errors=True)
    (home / "env").unlink(missing_ok=True)  # no longer being made
    if not any(kept):
        shutil.rmtree(home, ignore_errors=True)
    used = {_read(path) for path in [*root().glob("*/versions/*/env"), *root().glob("*/env")]}
    for env in root().glob("env-*"):
        if env.name not in used:
            _kill(env, "install")
            shutil.rmtree(env, ignore_errors=True)
    with suppress(OSError):  # not empty, or gone
        root().rmdir()
    return {}


def answer(content: Request) -> None:
    """Print one answer."""
    sys.stdout.buffer.write(MARK + json.dumps(content).encode() + b"\n")
    sys.stdout.buffer.flush()


def _supervise(folder: Path, task: str, commands: list[list[str]]) -> None:
    """The rest of the process's life: run the commands, out of reach of the connection, and write down the code."""
    code = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        with (folder / f"{task}.err").open("wb") as complaints:
            for number, source in enumerate((nothing, nothing, complaints.fileno())):
                os.dup2(source, number)
        os.environ.pop("PYTHONPATH", None)
        os.environ.pop("PYTHONHOME", None)
        os.chdir(folder)
        for command in commands:
            code = subprocess.call(command, stdin=subprocess.DEVNULL)
            if code != 0:
                break
        _write(folder / f"{task}.exit", str(code))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
    finally:
        os._exit(0)


def _lock(folder: Path, task: str) -> int | None:
    """The task's lock, to be held as long as this process and those it forks live; None while a task has it."""
    handle = os.open(folder / f"{task}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        if _running(folder, task):
            os.close(handle)
            return None
        time.sleep(0.01)  # somebody only looked whether it runs


def _running(folder: Path, task: str) -> bool:
    try:
        handle = os.open(folder / f"{task}.lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _kill(folder: Path, task: str) -> None:
    """End a running task with all that it started, and wait until it is gone."""
    number = _read(folder / f"{task}.pid")
    while number is not None and _running(folder, task):
        with suppress(ProcessLookupError):
            os.killpg(int(number), signal.SIGKILL)
        time.sleep(0.01)


def _version(link: Path) -> str | None:
    """The version that a link leads to, None where it leads nowhere."""
    return link.resolve().name if link.is_symlink() and link.is_dir() else None


def _point(link: Path, version: str) -> None:
    """Let a link lead to a version, in one step."""
    part = link.with_name(f".{link.name}.{os.getpid()}")
    part.symlink_to(Path("versions", version))
    os.replace(part, link)


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    os.replace(part, path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


REQUESTS: dict[str, Callable[[Request], Request]] = {
    "claim": claim, "own": own, "missing": missing, "put": put, "start": start, "follow": follow, "get": get,
    "clean": clean, "state": state, "switch": switch, "rights": rights, "tidy": tidy,
}  # fmt: skip


def main() -> None:
    """Carry out the request in the second argument; an error of the system is an answer too."""
    global place
    request = json.loads(base64.b64decode(sys.argv[2]))
    place = request["place"]
    try:
        answer(REQUESTS[request["do"]](request))
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "")
        reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        with suppress(BrokenPipeError):  # nobody listens any more
            answer({"error": reason, "errno": name})


if __name__ == "__main__":
    main()
