"""Database servers of the tests' own, on loopback, which ask for a password."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools import tool

SECRET = "sesame"


@contextmanager
def folder_of(user: str) -> Iterator[tuple[Path, str | None]]:
    """A folder for a server, and whom to run it as: servers refuse to run as root. pytest's own are for nobody else."""
    owner = user if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as name:
        if owner is not None:
            shutil.chown(name, owner)
        yield Path(name), owner


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database of a PostgreSQL server, without the password."""
    pytest.importorskip("psycopg")
    programs, port = Path(tool("pg_ctl")).resolve().parent, free_port()
    with folder_of("postgres") as (folder, user):

        def run(name: str, *words: str) -> None:
            subprocess.run([programs / name, *words], check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

        (folder / "password").write_text(f"{SECRET}\n")
        run("initdb", "-D", str(folder / "data"), "-A", "scram-sha-256", "-U", "me", "--pwfile",
            str(folder / "password"), "--no-sync")  # fmt: skip
        options = f"-h 127.0.0.1 -p {port} -k '' -c fsync=off"
        run("pg_ctl", "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://me@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")


@contextmanager
def mysql() -> Iterator[str]:
    """The URL of an empty database of a MariaDB server, which speaks MySQL's protocol, without the password."""
    pytest.importorskip("pymysql")
    program, port = tool("mariadbd"), free_port()
    with folder_of("mysql") as (folder, user):
        data, begin = folder / "data", folder / "begin.sql"
        begin.write_text(
            "CREATE DATABASE search;\n"
            f"CREATE USER me@'127.0.0.1' IDENTIFIED BY '{SECRET}';\n"
            "GRANT ALL ON search.* TO me@'127.0.0.1';\n"
        )
        subprocess.run(
            [tool("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db"],
            check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        line = [
            program, "--no-defaults", f"--datadir={data}", "--bind-address=127.0.0.1", f"--port={port}",
            f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", f"--init-file={begin}",
            "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
        ]  # fmt: skip
        with subprocess.Popen(line, user=user, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            said = []
            for told in server.stderr:
                said.append(told)
                if "ready for connections" in told:
                    break
            else:
                pytest.fail("".join(said))
            try:
                yield f"mysql://me@127.0.0.1:{port}/search"
            finally:
                server.kill()
