"""Parts: text that is not a reply, named by an integer. Shared parts are stored once, by hash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, literal_column, select

from orchestrator.store.bulk import in_chunks, insert_rows, new_ids
from orchestrator.store.tables import PART
from protocols.canonical import sha256

REMEMBERED = 200_000
COLUMNS = ("id", "shared", "hash", "kind", "body")
SHARED: ColumnElement[bool] = literal_column("shared")
"""Spelt like the condition of the index on hashes, without which SQLite would not use it."""


class NewPart(NamedTuple):
    """What a part that is not known yet would store."""

    kind: str
    body: str


def part_digest(kind: str, body: str) -> bytes:
    """SHA-256 (32 bytes) over kind and body, as ``protocols.messages.Part`` takes it."""
    return sha256(f"{kind}\n{body}")


class KnownParts:
    """Digest to id, for the parts that were used last: between half of `limit` and `limit`.

    Two generations stand in for an exact order of use, which would have to be kept up at every
    look: what is found in the old one moves to the young one, and when that is full it becomes
    the old one.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._half = max(limit // 2, 1)
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def get(self, digest: bytes) -> int | None:
        """Return the id of a part, or None where it is not remembered."""
        found = self._young.get(digest)
        if found is None:
            found = self._old.get(digest)
            if found is not None:
                self.put(digest, found)
        return found

    def put(self, digest: bytes, part: int) -> None:
        """Remember a part."""
        self._young[digest] = part
        if len(self._young) >= self._half:
            self._young, self._old = {}, self._young


def intern_parts(connection: Connection, wanted: Mapping[bytes, NewPart]) -> dict[bytes, int]:
    """Return the id of each shared part in `wanted`, storing those that are not there yet.

    They go in sorted by hash, so that several writers cannot wait for each other in a circle.
    """
    digests = sorted(wanted)
    found = _stored(connection, digests)
    missing = [digest for digest in digests if digest not in found]
    if not missing:
        return found
    ids = new_ids(connection, "part", len(missing))
    new = dict(zip(missing, ids, strict=True))
    rows = [(part, True, digest, *wanted[digest]) for digest, part in new.items()]
    if insert_rows(connection, "part", COLUMNS, rows) == len(rows):
        found.update(new)
    else:  # another writer was faster with some of them
        found.update(_stored(connection, missing))
    return found


def store_parts(connection: Connection, wanted: Mapping[bytes, NewPart]) -> dict[bytes, int]:
    """Store parts that are not shared, without looking for equal ones; return their ids."""
    new = dict(zip(wanted, new_ids(connection, "part", len(wanted)), strict=True))
    rows = [(part, False, digest, *wanted[digest]) for digest, part in new.items()]
    insert_rows(connection, "part", COLUMNS, rows)
    return new


def _stored(connection: Connection, digests: list[bytes]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for chunk in in_chunks(digests):
        query = select(PART.c.hash, PART.c.id).where(PART.c.hash.in_(chunk), SHARED)
        found.update((bytes(row.hash), row.id) for row in connection.execute(query))
    return found
