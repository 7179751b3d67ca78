"""A run as files, one a table: Parquet, JSON lines or CSV.

Files are written beside their places and moved there once all are whole, so that the same export
repeated leaves the same files and one that fails leaves those that were there. Rows go through
memory a few hundred sessions at a time. In JSON lines what is nested is JSON itself; in Parquet
and CSV it is JSON text. In CSV an empty cell is none, and flags are true and false.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from protocols.errors import Mistake
from workflows.exports.columns import TABLES, Column, TableName
from workflows.exports.frame_rows import Rows, table_rows

if TYPE_CHECKING:
    from orchestrator.store import RunRow, Store

Format = Literal["parquet", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("parquet", "jsonl", "csv")
GROUP_BYTES = 32 * 1024 * 1024
"""A row group of Parquet is written when it holds this much."""

Writer = Callable[[Path, "RunRow", TableName, Iterator[Rows]], int]


def write_tables(store: Store, run: RunRow, folder: Path, to: Format) -> dict[TableName, int]:
    """Write every table of a run to a file of its own; return the number of rows of each.

    Args:
        store: the store, open for reading at least.
        run: the run.
        folder: where the files go; it is made where it is missing.
        to: ``parquet`` (its metadata holds ``moot.schema``), ``jsonl`` or ``csv``.

    Raises:
        Mistake: the folder cannot be written, or pyarrow is missing and needed.
    """
    write = _WRITERS[to]
    counts: dict[TableName, int] = {}
    drafts: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in TABLES:
            path = folder / f"{table}.{to}"
            drafts[path] = path.with_name(path.name + ".part")
            rows = table_rows(store, [run], table, messages=True)
            counts[table] = write(drafts[path], run, table, rows)
        for path, draft in drafts.items():
            draft.replace(path)
    except OSError as error:
        raise Mistake(
            f"{folder}: cannot be written ({error.strerror or error}); name another folder"
        ) from None
    finally:
        for draft in drafts.values():
            if draft.exists():
                draft.unlink()
    return counts


def _write_parquet(path: Path, run: RunRow, table: TableName, rows: Iterator[Rows]) -> int:
    from workflows.exports.frames import arrow_batches, arrow_schema

    schema = arrow_schema(table, TABLES[table], run.name)
    import pyarrow as pa
    from pyarrow import parquet

    count = held = 0
    waiting: list[Any] = []
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in arrow_batches(rows, schema):
            waiting.append(batch)
            held += batch.nbytes
            count += batch.num_rows
            if held >= GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting, schema=schema))
                waiting, held = [], 0
        writer.write_table(pa.Table.from_batches(waiting, schema=schema))
    return count


def _write_jsonl(path: Path, run: RunRow, table: TableName, rows: Iterator[Rows]) -> int:
    columns = TABLES[table]
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in (row for some in rows for row in some):
            value = {one.name: _nested(row[one.name], one) for one in columns}
            file.write(json.dumps(value, ensure_ascii=False) + "\n")
            count += 1
    return count


def _nested(value: Any, column: Column) -> Any:
    return json.loads(value) if column.kind == "json" and value is not None else value


def _write_csv(path: Path, run: RunRow, table: TableName, rows: Iterator[Rows]) -> int:
    columns = TABLES[table]
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(one.name for one in columns)
        for row in (row for some in rows for row in some):
            writer.writerow(_cell(row[one.name]) for one in columns)
            count += 1
    return count


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


_WRITERS: dict[Format, Writer] = {
    "parquet": _write_parquet,
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}
