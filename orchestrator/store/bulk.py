"""Writing many rows at once, through the driver's own statements.

SQLite takes many rows in one statement: the module lets go of the interpreter's lock at every
step, and to win it back beside a busy event loop can take milliseconds, so steps must be few.
PostgreSQL takes them by COPY into a temporary table, the cheapest way for client and server, and
from there into the table, where COPY alone could not leave out rows that are there already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

SIZES = (512, 128, 32, 8, 1)
"""Rows in one statement of SQLite: few sizes, so that their statements stay prepared."""
WORTH_A_COPY = 16
READ_AT_ONCE = 500
"""Values in one IN list."""

Row = tuple[Any, ...]


def insert_rows(
    connection: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]
) -> int:
    """Insert rows, leaving out those that would break a uniqueness; return how many went in.

    Many rows may go into the same table only once in a transaction.
    """
    if not rows:
        return 0
    if connection.dialect.name == "postgresql":
        if len(rows) >= WORTH_A_COPY:
            return _copy(connection, table, columns, rows)
        statement = _insert(table, columns, 1, "%s")
        return connection.exec_driver_sql(statement, list(rows)).rowcount
    done = 0
    for chunk in _chunks(rows):
        statement = _insert(table, columns, len(chunk), "?")
        values = tuple(chain.from_iterable(chunk))
        done += connection.exec_driver_sql(statement, values).rowcount
    return done


def update_sessions(connection: Connection, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Set `columns` of sessions; each row holds their values and then the session's id."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        changes = ", ".join(f"{column} = %s" for column in columns)
        connection.exec_driver_sql(f"UPDATE session SET {changes} WHERE id = %s", list(rows))
        return
    for chunk in _chunks(rows):
        values = tuple(chain.from_iterable(chunk))
        connection.exec_driver_sql(_update(columns, len(chunk)), values)


def new_ids(connection: Connection, table: str, count: int) -> Sequence[int]:
    """Return `count` fresh ids of `table`, ascending. SQLite: under the write lock only."""
    if connection.dialect.name == "postgresql":
        statement = f"SELECT nextval('{table}_id_seq') FROM generate_series(1, {count})"
        return sorted(connection.exec_driver_sql(statement).scalars())
    last: int = connection.exec_driver_sql(f"SELECT coalesce(max(id), 0) FROM {table}").scalar_one()
    return range(last + 1, last + 1 + count)


def in_chunks(values: Sequence[Any], size: int = READ_AT_ONCE) -> Iterator[Sequence[Any]]:
    """Yield `values` in slices of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _copy(connection: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> int:
    from psycopg import Error

    names = ", ".join(columns)
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS new_{table} (LIKE {table}) ON COMMIT DELETE ROWS"
    )
    copying = f"COPY new_{table} ({names}) FROM STDIN"
    driver: Any = connection.connection
    try:
        with driver.cursor() as cursor, cursor.copy(copying) as copy:
            for row in rows:
                copy.write_row(row)
    except Error as error:
        raise DBAPIError(copying, None, error) from error
    return connection.exec_driver_sql(
        f"INSERT INTO {table} ({names}) SELECT {names} FROM new_{table} ON CONFLICT DO NOTHING"
    ).rowcount


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = 0
    for size in SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


@cache
def _insert(table: str, columns: tuple[str, ...], count: int, mark: str) -> str:
    row = f"({', '.join([mark] * len(columns))})"
    values = ", ".join([row] * count)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values} ON CONFLICT DO NOTHING"


@cache
def _update(columns: tuple[str, ...], count: int) -> str:
    row = f"({', '.join(['?'] * (len(columns) + 1))})"
    names = ", ".join([*columns, "id"])
    changes = ", ".join(f"{column} = new.{column}" for column in columns)
    return (
        f"WITH new({names}) AS (VALUES {', '.join([row] * count)}) "
        f"UPDATE session SET {changes} FROM new WHERE session.id = new.id"
    )
