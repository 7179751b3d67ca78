"""A store that is open: its connections, and how they are had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine

from orchestrator.store import (
    connect,
    migrate,
)
from orchestrator.store.address import Address, parse_address
from orchestrator.store.connect import Durability
from orchestrator.store.errors import StoreMistake, told


class Opened:
    """A connected database. Opened by :meth:`open` or :meth:`read`; a context manager."""

    def __init__(self, engine: Engine, address: Address, *, writable: bool) -> None:
        self._engine = engine
        self._address = address
        self._writable = writable

    @classmethod
    def open(cls, url: str, *, create: bool = True, durability: Durability = "process") -> Self:
        """Open a store for writing; create it and bring it to the newest format if need be.

        Args:
            url: ``demo.db``, ``sqlite:///demo.db`` or ``postgresql://user@host/database``.
            create: whether a missing SQLite file is made (readable for its owner only).
            durability: what a durable record survives: the death of the ``process``, or the loss
                of ``power``.

        Raises:
            StoreMistake: it cannot be reached or written, is no store, or a newer moot wrote it.
        """
        address = parse_address(url)
        engine = connect.writing_engine(address, create=create, durability=durability)
        _or_dispose(engine, migrate.upgrade, address.shown)
        return cls(engine, address, writable=True)

    @classmethod
    def read(cls, url: str) -> Self:
        """Open a store for reading; never writes, and works on a read-only file.

        Raises:
            StoreMistake: it is missing, is no store, or was written by another version of moot.
        """
        address = parse_address(url)
        engine = connect.reading_engine(address)
        _or_dispose(engine, migrate.check, address.shown)
        return cls(engine, address, writable=False)

    @property
    def shown(self) -> str:
        """The address for people, without a password."""
        return self._address.shown

    @property
    def address(self) -> str:
        """The address as it can be opened again; it may hold a password."""
        url = self._address.url
        return self.shown if url is None else url.render_as_string(hide_password=False)

    def close(self) -> None:
        """Close all connections but those of journals."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _writer(self) -> Engine:
        if not self._writable:
            raise StoreMistake(f"the store {self.shown} was opened for reading only")
        return self._engine.execution_options(writes=True)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with told(self.shown, "written"), self._writer().begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with told(self.shown, "read"), self._engine.connect() as connection:
            yield connection


def _or_dispose(engine: Engine, check: Callable[[Engine, str], None], shown: str) -> None:
    """Check a store that was just connected to; close the connections where that fails."""
    try:
        check(engine, shown)
    except BaseException:
        engine.dispose()
        raise
