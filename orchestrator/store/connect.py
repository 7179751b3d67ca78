"""Connections: how each database is opened, for writing and for reading only.

SQLite runs in WAL mode, where readers and one writer do not disturb each other. The module's own
handling of transactions is switched off: a connection with the execution option ``writes`` begins
with the write lock, so that no transaction fails half-way because another one wrote meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from orchestrator.store.address import Address
from orchestrator.store.errors import StoreMistake, one_line

Durability = Literal["process", "power"]

BUSY_S = 60.0
WRITER_CACHE_KIB = 256 * 1024
READER_CACHE_KIB = 64 * 1024
CHECKPOINT_PAGES = 65_536
"""Pages (4 KiB) in the log before they are copied into the file: parts lie there in the order of
their hashes, so a rare copy writes each page once where frequent ones write it many times."""


def writing_engine(address: Address, *, create: bool, durability: Durability) -> Engine:
    """Return an engine for reading and writing.

    Args:
        address: where the store lives.
        create: make a missing SQLite file, readable for its owner only.
        durability: ``process`` survives the death of this process, ``power`` that of the machine.

    Raises:
        StoreMistake: the file is missing, read-only or no database; the server cannot be reached.
    """
    if address.path is None:
        return _postgres(address, read_only=False, durability=durability)
    _prepare_file(address.path, address.shown, create=create)
    synchronous = "FULL" if durability == "power" else "NORMAL"
    pragmas = (
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        f"cache_size=-{WRITER_CACHE_KIB}",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        "foreign_keys=ON",
    )
    return _sqlite(address, "mode=rw", pragmas)


def reading_engine(address: Address) -> Engine:
    """Return an engine that never writes; works on read-only files and folders.

    Raises:
        StoreMistake: the file is missing or no database; the server cannot be reached.
    """
    path = address.path
    if path is None:
        return _postgres(address, read_only=True, durability="process")
    if not path.exists():
        raise StoreMistake(f"there is no store {address.shown}; name an existing one")
    _refuse_odd_file(path, address.shown)
    log = Path(f"{path}-wal")
    # A reader of a WAL file needs a shared-memory file beside it, which it may be unable to make.
    # Without a log nobody has the file open, and nobody may write it, so it can be read as it is.
    frozen = not is_writable(path) and not (log.exists() and log.stat().st_size)
    mode = "mode=ro&immutable=1" if frozen else "mode=ro"
    return _sqlite(address, mode, (f"cache_size=-{READER_CACHE_KIB}",))


def is_writable(path: Path) -> bool:
    """Whether a store's file may be written.

    It has a write bit (root could write it anyway, but somebody who takes the bits away means
    it), and the system allows to write it and its folder.
    """
    bits = stat.S_IMODE(path.stat().st_mode) & 0o222
    return bool(bits) and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _prepare_file(path: Path, shown: str, *, create: bool) -> None:
    if path.exists():
        _refuse_odd_file(path, shown)
        if not is_writable(path):
            raise StoreMistake(
                f"the store {shown} is read-only; make it and its folder writable, or name another"
            )
        return
    if not create:
        raise StoreMistake(f"there is no store {shown}; name an existing one")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreMistake(
            f"the store {shown} cannot be created ({error.strerror}); name a file in a folder "
            "that exists and is writable"
        ) from None


def _refuse_odd_file(path: Path, shown: str) -> None:
    if not path.is_file():
        raise StoreMistake(f"{shown} is not a file; name a file for the store")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StoreMistake(f"the store {shown} cannot be read: {error.strerror}") from None
    if head and head != b"SQLite format 3\x00":
        raise StoreMistake(f"{shown} is not a moot store (no SQLite file); name another file")


def _sqlite(address: Address, mode: str, pragmas: tuple[str, ...]) -> Engine:
    assert address.path is not None
    uri = f"file:{quote(str(address.path.absolute()))}?{mode}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    _try(engine, address)
    return engine


def _postgres(address: Address, *, read_only: bool, durability: Durability) -> Engine:
    assert address.url is not None
    engine = create_engine(address.url)

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        if durability == "power":
            connection.execute("SET synchronous_commit = on")
            connection.commit()
        connection.read_only = read_only

    _try(engine, address)
    return engine


def _try(engine: Engine, address: Address) -> None:
    """Connect once.

    Raises:
        StoreMistake: it does not work.
    """
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except (DBAPIError, sqlite3.Error) as error:
        engine.dispose()
        raise StoreMistake(
            f"the store {address.shown} cannot be reached: {one_line(error)}; check its address"
        ) from None
