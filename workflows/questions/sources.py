"""Files of data: where they lie and how their rows are read.

A path is taken as it stands, or is ``moot:NAME``, data that comes with moot. Rows are read from
JSON lines, CSV (or TSV) and Parquet, each also compressed with gzip; what a file is, its content
says before its name. Everything that is wrong with a file is one line that names file and row.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from protocols.errors import Mistake

PACKED = "moot:"
RowFormat = Literal["jsonl", "csv", "parquet"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file."""

    at: str
    """``FILE:LINE``, as messages name it."""
    values: dict[str, Any]
    """Its fields by name."""


@dataclass(frozen=True, slots=True)
class Source:
    """The content of one file."""

    name: str
    """The path as the user wrote it, for messages."""
    path: Path
    """Where it lies."""
    content: bytes
    """Its bytes, decompressed."""
    digest: str
    """SHA-256 (hex) over `content`: the same whether compressed or not."""

    @property
    def format(self) -> RowFormat:
        """How the rows are written."""
        if self.content.startswith(b"PAR1"):
            return "parquet"
        endings = {suffix.lower() for suffix in self.path.suffixes}
        return "csv" if endings & {".csv", ".tsv"} else "jsonl"


def packed_names() -> list[str]:
    """Return the names of the data that comes with moot, sorted."""
    names = (entry.name for entry in files("workflows").joinpath("data").iterdir())
    return sorted(n.removesuffix(".jsonl.gz") for n in names if n.endswith(".jsonl.gz"))


def locate(path: str) -> Path:
    """Return where `path` lies; ``moot:NAME`` is data that comes with moot.

    Raises:
        Mistake: there is no such file.
    """
    if path.startswith(PACKED):
        name = path.removeprefix(PACKED)
        if name not in packed_names():
            known = ", ".join(PACKED + known for known in packed_names())
            raise Mistake(f"{path}: moot brings no such data; it brings {known}")
        return Path(str(files("workflows").joinpath("data", f"{name}.jsonl.gz")))
    place = Path(path).expanduser()
    if place.is_dir():
        raise Mistake(f"{path}: is a directory; name a file in it")
    if not place.is_file():
        raise Mistake(f"{path}: no such file; check the path")
    return place


def open_source(path: str) -> Source:
    """Read the file at `path`.

    Raises:
        Mistake: it does not exist, cannot be read, or its compression is broken.
    """
    place = locate(path)
    try:
        content = place.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Mistake(f"{path}: its gzip compression is broken ({error}); fetch it again") from None
    except OSError as error:
        raise Mistake(f"{path}: cannot be read ({error.strerror or error})") from None
    return Source(path, place, content, hashlib.sha256(content).hexdigest())


def read_rows(source: Source, format: RowFormat | None = None) -> list[Row]:
    """Return the rows of `source`, at least one.

    Raises:
        Mistake: a row is malformed (the message names its line), or there is none.
    """
    readers = {"jsonl": _json_rows, "csv": _csv_rows, "parquet": _parquet_rows}
    rows = list(readers[format or source.format](source))
    if not rows:
        raise Mistake(f"{source.name}: holds no question; a data set needs at least one row")
    return rows


def _json_rows(source: Source) -> Iterator[Row]:
    for number, line in enumerate(source.content.split(b"\n"), start=1):
        at = f"{source.name}:{number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise Mistake(f"{at}: not UTF-8 ({error.reason} at byte {error.start})") from None
        except (ValueError, RecursionError) as error:
            raise Mistake(f"{at}: malformed line, not JSON ({error})") from None
        if not isinstance(values, dict):
            raise Mistake(f"{at}: malformed line, not a JSON object; write one object a line")
        yield Row(at, values)


def _csv_rows(source: Source) -> Iterator[Row]:
    try:
        text = source.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.content.count(b"\n", 0, error.start) + 1
        raise Mistake(f"{source.name}:{line}: not UTF-8 ({error.reason})") from None
    tabs = ".tsv" in {suffix.lower() for suffix in source.path.suffixes}
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter="\t" if tabs else ",", strict=True
    )
    limit = csv.field_size_limit(max(len(text), 1))  # a passage may be longer than the default
    try:
        for values in reader:
            at = f"{source.name}:{reader.line_num}"
            if None in values or None in values.values():
                wanted = len(reader.fieldnames or ())
                raise Mistake(f"{at}: malformed line, not {wanted} cells as in the header")
            yield Row(at, dict(values))
    except csv.Error as error:
        raise Mistake(f"{source.name}:{reader.reader.line_num}: malformed line ({error})") from None
    finally:
        csv.field_size_limit(limit)


def _parquet_rows(source: Source) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Mistake(
            f"{source.name}: reading Parquet needs pyarrow; pip install 'moot[frames]'"
        ) from None
    try:
        table = parquet.read_table(pyarrow.BufferReader(source.content))
    except (pyarrow.ArrowException, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise Mistake(f"{source.name}: not a readable Parquet file ({first_line})") from None
    for number, values in enumerate(table.to_pylist(), start=1):
        yield Row(f"{source.name}:{number}", values)
