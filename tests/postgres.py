"""The tests' own PostgreSQL server: in a temporary folder, on a socket of its own.

It starts when the first test asks for a database and stops with the test process. Where no server
is installed the tests are skipped, but not where the environment variable CI is set: there they
fail. PostgreSQL refuses to run as root, so root starts it as another user.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import pytest

USERS = ("postgres", "nobody")
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "40",
}
_numbers = count(1)


@contextmanager
def database() -> Iterator[str]:
    """Give the URL of a fresh, empty database; it is dropped in the end."""
    import psycopg

    folder = _server()
    name = f"moot_{os.getpid()}_{next(_numbers)}"
    admin = f"host={folder} user=moot dbname=postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"postgresql://moot@/{name}?host={folder}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@cache
def _server() -> Path:
    """Start the server once; return the folder of its socket."""
    binaries = _binaries()
    if binaries is None:
        message = "PostgreSQL is not installed (no initdb on PATH or in /usr/lib/postgresql)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message + ": its tests are skipped")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="moot-pg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if user is not None:
        shutil.chown(folder, user)
    data, log = folder / "data", folder / "log"
    options = " ".join(f"-c {name}={value!r}" for name, value in SETTINGS.items())
    control = [str(binaries / "pg_ctl"), "-w", "-D", str(data)]
    _run(
        [str(binaries / "initdb"), "-A", "trust", "-U", "moot", "-E", "UTF8", "-D", str(data)], user
    )
    _run([*control, "-l", str(log), "-o", f"-k {folder} {options}", "start"], user)
    atexit.register(_run, [*control, "-m", "immediate", "stop"], user)
    return folder


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3].zfill(4)
    )
    return installed[-1].parent if installed else None


def _user() -> str | None:
    """Return whom to run the server as; None for ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in USERS if user in known)


def _run(command: list[str], user: str | None) -> None:
    """Run a command of the server to its end, its output into a file: the server inherits it."""
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            user=user,
            extra_groups=() if user else None,
        )
        output.seek(0)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {output.read()}")
