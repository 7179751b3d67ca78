"""Shard locks: one driver at a time works a shard of a run. They vanish with their process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from orchestrator.store.errors import StoreMistake
from protocols.canonical import sha256

WAIT_MS = 2_000
"""How long to wait for a PostgreSQL lock: the server needs a moment to notice that the process
which held it was killed."""


class FileLock:
    """An exclusive lock on a file beside the store; the system drops it when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def acquire(self) -> bool:
        """Take the lock; False where another holds it."""
        while True:
            file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            if self._is_current(file):
                self._file = file
                return True
            os.close(file)  # its last holder removed it between our opening and locking it

    def release(self) -> None:
        """Give the lock up; does nothing where it is not held."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False


def lock_file(store: Path, run_id: int, shard: int) -> FileLock:
    """Return the lock of a shard of a SQLite store."""
    return FileLock(Path(f"{store}.run{run_id}.shard{shard}.lock"))


def lock_postgres(connection: Connection, run_id: int, shard: int) -> bool:
    """Take the advisory lock of a shard for as long as `connection` lives.

    Returns:
        False where another connection holds it.
    """
    key = int.from_bytes(sha256(f"moot shard {run_id} {shard}")[:8], "big", signed=True)
    try:
        with connection.begin():
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {WAIT_MS}")
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({key})")
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", "") == "55P03":
            return False
        raise
    return True


def locked(shown: str, run_id: int, shard: int) -> StoreMistake:
    """Return the error for a shard that another driver works on."""
    return StoreMistake(
        f"run {run_id} (shard {shard}) in {shown} is being worked on by another process; "
        "wait for it, or stop it and repeat the command"
    )
