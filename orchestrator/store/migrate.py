"""The version of a store's format, and bringing an older one up to date.

The version is the revision that Alembic wrote; the files in ``migrations/versions`` lead from one
to the next. Alembic is imported only where there is something to do.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from orchestrator.store.errors import StoreMistake, one_line
from orchestrator.store.sql_views import create_views, drop_views, views_are_current

HEAD = "0003"
"""The newest revision that this code knows."""
READABLE = ("0001", "0002", HEAD)
"""Revisions that can be read as they are: what was added since is read where it is there."""
MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x6D6F6F74
"""Advisory lock under which one process at a time brings a PostgreSQL database up to date."""


def upgrade(engine: Engine, shown: str) -> None:
    """Create the tables and views, or bring them up to date; does nothing where they are.

    Raises:
        StoreMistake: it was written by a newer moot, or is no store, or cannot be written.
    """
    try:
        with engine.connect() as connection:
            if _revision(connection, shown) == HEAD and views_are_current(connection):
                return
        with engine.execution_options(writes=True).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            if _revision(connection, shown) != HEAD:
                drop_views(connection)
                _run(connection)
            create_views(connection)
    except DBAPIError as error:
        raise StoreMistake(
            f"the store {shown} cannot be prepared: {one_line(error)}; check that it may be written"
        ) from None


def check(engine: Engine, shown: str) -> None:
    """Refuse a store that this code cannot read as it is.

    Raises:
        StoreMistake: it was written by a newer or an older moot, or is no store.
    """
    try:
        with engine.connect() as connection:
            revision = _revision(connection, shown)
    except DBAPIError as error:
        raise StoreMistake(f"the store {shown} cannot be read: {one_line(error)}") from None
    if revision is None:
        raise StoreMistake(f"{shown} holds no moot store; name another, or start a run in it")
    if revision not in READABLE:
        raise StoreMistake(
            f"the store {shown} was written by an older moot; start a run in it to update it"
        )


def _revision(connection: Connection, shown: str) -> str | None:
    """Return a known revision, or None for an empty database."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise StoreMistake(
                f"{shown} holds other tables (such as {min(tables)!r}) and no moot store; "
                "name another database"
            )
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    revision = None if found is None else str(found)
    if revision is not None and revision not in _known():
        raise StoreMistake(
            f"the store {shown} was written by a newer moot (format {revision}, this one knows "
            f"{HEAD}); upgrade moot, or name another store"
        )
    return revision


def _known() -> set[str]:
    """The revisions that lie in the package: a file's name begins with its revision."""
    files = (MIGRATIONS / "versions").glob("[0-9]*.py")
    return {file.name.partition("_")[0] for file in files}


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
