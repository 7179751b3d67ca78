"""A store as data frames: runs, sessions, asks, replies and verdicts.

>>> from workflows import sessions_df
>>> sessions_df("demo.db", "skills").group_by("protocol").mean()        # doctest: +SKIP

Their columns, with units and types, stand in ``columns.py`` and ``docs/data.md``. They are the
columns that exported files and SQL views have, and join on ``run_id`` and ``session`` (asks and
replies on ``turn`` and ``slot`` too). What is nested is JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from protocols.errors import Mistake
from workflows.exports.columns import SCHEMA, TABLES, Column, TableName

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.store import RunRow, Store
    from workflows.exports.frame_rows import Rows

Backend = Literal["polars", "pandas"]


def runs_df(
    store: Store | str | Path, run: str | None = None, *, backend: Backend = "polars"
) -> Any:
    """Return runs as a frame: one row each, with what it asked, spent and was configured by.

    Args:
        store: a store, or the address of one: a SQLite file, or postgresql://...
        run: its name, the beginning of it, or its id; by default every run of the store.
        backend: ``polars`` or ``pandas``, which must be installed.

    Raises:
        Mistake: there is no such store or run, or the library is not installed.
    """
    return _frame("runs", store, run, backend)


def sessions_df(
    store: Store | str | Path, run: str | None = None, *, backend: Backend = "polars"
) -> Any:
    """Return sessions as a frame: who asked what, how it ended, how right it is, what it took.

    ``correct`` runs from 0 to 1 and is null where it is missing; see :func:`runs_df` for the rest.
    """
    return _frame("sessions", store, run, backend)


def asks_df(
    store: Store | str | Path,
    run: str | None = None,
    *,
    messages: bool = False,
    backend: Backend = "polars",
) -> Any:
    """Return asks as a frame; with their prompts, which are long, where `messages` says so.

    See :func:`runs_df` for the other arguments.
    """
    return _frame("asks", store, run, backend, messages=messages)


def replies_df(
    store: Store | str | Path, run: str | None = None, *, backend: Backend = "polars"
) -> Any:
    """Return every attempt as a frame: text, failure, tokens, list and paid price, latency.

    See :func:`runs_df` for the arguments.
    """
    return _frame("replies", store, run, backend)


def verdicts_df(
    store: Store | str | Path, run: str | None = None, *, backend: Backend = "polars"
) -> Any:
    """Return what sessions decided: a row for each answer order, and for each answer of a vote.

    See :func:`runs_df` for the arguments.
    """
    return _frame("verdicts", store, run, backend)


def chosen_columns(table: TableName, *, messages: bool = False) -> tuple[Column, ...]:
    """Return the columns of a table; the prompts of asks only where wanted."""
    return tuple(one for one in TABLES[table] if messages or one.name != "messages")


def arrow_schema(table: TableName, columns: Sequence[Column], run: str | None = None) -> pa.Schema:
    """Return a table's schema; it carries the version of the columns, and what each holds.

    Raises:
        Mistake: pyarrow is not installed.
    """
    pa = _library("pyarrow")
    types = {
        "text": pa.string(),
        "json": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
    }
    fields = [
        pa.field(one.name, types[one.kind], metadata={"about": one.about, "kind": one.kind})
        for one in columns
    ]
    metadata = {"moot.schema": str(SCHEMA), "moot.table": table}
    return pa.schema(fields, metadata={**metadata, **({"moot.run": run} if run else {})})


def arrow_batches(rows: Iterator[Rows], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield rows as record batches, one for each list of rows."""
    pa = _library("pyarrow")
    for some in rows:
        yield pa.RecordBatch.from_pylist(some, schema=schema)


@contextmanager
def opened(store: Store | str | Path, run: str | None) -> Iterator[tuple[Store, list[RunRow]]]:
    """Give a store, open for reading, and the run that is meant, or all of them.

    Raises:
        Mistake: there is no such store or run.
    """
    from orchestrator.store import Store as Opened
    from workflows.api import find_run

    if isinstance(store, Opened):
        yield store, store.runs() if run is None else [find_run(store, run)]
        return
    with Opened.read(str(store)) as reading:
        yield reading, reading.runs() if run is None else [find_run(reading, run)]


def _frame(
    table: TableName,
    store: Store | str | Path,
    run: str | None,
    backend: Backend,
    *,
    messages: bool = False,
) -> Any:
    from workflows.exports.frame_rows import table_rows

    if backend not in ("polars", "pandas"):
        raise Mistake(f"backend={backend!r}: there are 'polars' and 'pandas'")
    frames, pa = _library(backend), _library("pyarrow")
    schema = arrow_schema(table, chosen_columns(table, messages=messages))
    with opened(store, run) as (reading, runs):
        rows = table_rows(reading, runs, table, messages=messages)
        batches = arrow_batches(rows, schema)
        if backend == "polars":
            empty = frames.from_arrow(schema.empty_table())
            return frames.concat([empty, *map(frames.from_arrow, batches)])
        found = pa.Table.from_batches(batches, schema=schema)
    nullable = {pa.int64(): frames.Int64Dtype(), pa.bool_(): frames.BooleanDtype()}
    return found.to_pandas(types_mapper=nullable.get)


def _library(name: str) -> Any:
    """Import a library of the extra ``frames``.

    Raises:
        Mistake: it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        extra = "pandas" if name == "pandas" else "'moot[frames]'"
        raise Mistake(f"{name} is not installed: pip install {extra}") from None
