"""Shard locks: one driver at a time works a shard of a run. They vanish with their process.

Beside the locks of its shards every driver shares one with all others of its run, by which it can
be told whether anybody works on the run at all.
"""

from __future__ import annotations

import fcntl
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.store.errors import AllHeld
from protocols.canonical import sha256

PATIENCE_S = 2.0
"""How long to wait for PostgreSQL locks: the server needs a moment to notice that the process
which held them was killed."""
_AGAIN_S = 0.05


class FileLock:
    """A lock on a file of its own; the system drops it when its holder dies."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self._path = path
        self._kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._file = -1

    def acquire(self) -> bool:
        """Take the lock; False where another holds it."""
        while True:
            file = self._open()
            try:
                fcntl.flock(file, self._kind | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            if self._is_current(file):
                self._file = file
                return True
            os.close(file)  # its last holder removed it between our opening and locking it

    def release(self) -> None:
        """Give the lock up; does nothing where it is not held."""
        if self._file < 0:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # others share it, and the last one removes the file
        os.close(self._file)
        self._file = -1

    def _open(self) -> int:
        while True:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # the folder's last user has just removed it
                return os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False


class ShardLocks(ABC):
    """The locks of one driver."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        """The shards that it works on."""

    def claim(self, shards: Iterable[int], *, patience_s: float = 0.0) -> frozenset[int]:
        """Take those of `shards` that nobody holds, and return them.

        Args:
            shards: what is wanted; those that are held already are left out.
            patience_s: how long to try again for what another holds.
        """
        wanted = set(shards) - self.held
        deadline = time.monotonic() + patience_s
        taken: set[int] = set()
        while wanted:
            new = self._take(sorted(wanted))
            self.held |= new
            taken |= new
            wanted -= new
            if not wanted or time.monotonic() >= deadline:
                break
            time.sleep(_AGAIN_S)
        return frozenset(taken)

    @abstractmethod
    def join(self) -> None:
        """Be one of the run's drivers, until `release`."""

    @abstractmethod
    def release(self) -> None:
        """Give everything up."""

    @abstractmethod
    def is_worked_on(self) -> bool:
        """Whether the run has a driver; ask before joining."""

    @abstractmethod
    def _take(self, shards: Collection[int]) -> set[int]:
        """Try once to lock each of `shards`; return those that are ours now."""


class FileLocks(ShardLocks):
    """Files in a folder beside a SQLite store; the last one to leave removes it."""

    def __init__(self, store: Path, run_id: int) -> None:
        super().__init__()
        self._folder = Path(f"{store}.locks")
        self._run = run_id
        self._locks: list[FileLock] = []

    def join(self) -> None:
        """Share the lock of the run's drivers."""
        lock = FileLock(self._folder / f"run{self._run}.drivers", shared=True)
        while not lock.acquire():  # somebody asks just now whether there are any
            time.sleep(_AGAIN_S / 10)
        self._locks.append(lock)

    def release(self) -> None:
        """Give everything up, and leave no file behind."""
        self.held.clear()
        while self._locks:
            self._locks.pop().release()
        with suppress(OSError):
            self._folder.rmdir()

    def is_worked_on(self) -> bool:
        """Whether the run has a driver."""
        lock = FileLock(self._folder / f"run{self._run}.drivers")
        if not self._folder.is_dir():
            return False
        taken = lock.acquire()
        self._locks.append(lock)
        self.release()
        return not taken

    def _take(self, shards: Collection[int]) -> set[int]:
        taken = set()
        for shard in shards:
            lock = FileLock(self._folder / f"run{self._run}.shard{shard}")
            if lock.acquire():
                self._locks.append(lock)
                taken.add(shard)
        return taken


class PostgresLocks(ShardLocks):
    """Advisory locks of the connection that writes: who loses it can write no more."""

    def __init__(self, connection: Connection, run_id: int) -> None:
        super().__init__()
        self._connection = connection
        self._run = run_id

    def join(self) -> None:
        """Share the lock of the run's drivers."""
        with self._connection.begin():
            self._connection.execute(
                text("SELECT pg_advisory_lock_shared(:key)"), {"key": self._drivers_key()}
            )

    def release(self) -> None:
        """Give everything up; closing the connection would do it only after a while."""
        self.held.clear()
        with suppress(SQLAlchemyError), self._connection.begin():
            self._connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")

    def is_worked_on(self) -> bool:
        """Whether the run has a driver."""
        high, low = divmod(self._drivers_key() % 2**64, 2**32)
        query = (
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE locktype = 'advisory' AND datname = current_database() AND objsubid = 1 "
            "AND classid = :high AND objid = :low AND granted"
        )
        return bool(self._connection.execute(text(query), {"high": high, "low": low}).scalar())

    def _take(self, shards: Collection[int]) -> set[int]:
        keys = {_key(f"moot shard {self._run} {shard}"): shard for shard in shards}
        query = text(
            "SELECT key, pg_try_advisory_lock(key) FROM unnest(CAST(:keys AS bigint[])) key"
        )
        with self._connection.begin():
            rows = self._connection.execute(query, {"keys": list(keys)}).all()
        return {keys[key] for key, taken in rows if taken}

    def _drivers_key(self) -> int:
        return _key(f"moot drivers {self._run}")


def all_held(shown: str, run_id: int) -> AllHeld:
    """Return the error for a run in which nothing is free."""
    return AllHeld(
        f"run {run_id} in {shown} is being worked on by another process, and nothing is left "
        "over; wait for it, or stop it and repeat the command"
    )


def _key(name: str) -> int:
    """Return the number of a PostgreSQL advisory lock."""
    return int.from_bytes(sha256(name)[:8], "big", signed=True)
