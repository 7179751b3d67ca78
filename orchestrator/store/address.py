"""Where a store lives: a SQLite file, or a PostgreSQL database by URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from orchestrator.store.errors import StoreMistake

POSTGRES_SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg://")


@dataclass(frozen=True, slots=True)
class Address:
    """One of `path` and `url` is set."""

    shown: str
    """For people: without a password."""
    path: Path | None = None
    url: URL | None = None


def parse_address(text: str) -> Address:
    """Read ``demo.db``, ``sqlite:///demo.db`` or ``postgresql://user@host/database``.

    Raises:
        StoreMistake: it is none of these.
    """
    if text.startswith(POSTGRES_SCHEMES):
        return _postgres(text)
    name = text.removeprefix("sqlite:///")
    if "://" in name:
        raise StoreMistake(
            f"no store can be kept at {text.partition('://')[0]}://...; give a file name for "
            "SQLite, or postgresql://user@host/database"
        )
    if not name or name == ":memory:":
        raise StoreMistake("a store needs a file name (or a postgresql:// URL)")
    return Address(shown=name, path=Path(name).expanduser())


def _postgres(text: str) -> Address:
    try:
        url = make_url("postgresql+psycopg://" + text.partition("://")[2])
    except (ArgumentError, ValueError):
        raise StoreMistake(
            "the store's URL cannot be read; write postgresql://user@host:port/database"
        ) from None
    shown = url.set(drivername="postgresql").render_as_string(hide_password=True)
    return Address(shown=shown, url=url)
