"""Writing transcripts: one batch of journal records becomes one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from orchestrator.journal import (
    AskRecord,
    DispatchRecord,
    JournalRecord,
    OutcomeRecord,
    ProgressRecord,
    ReplyRecord,
)
from orchestrator.store.bulk import Row, insert_rows, update_sessions
from orchestrator.store.cache import remember
from orchestrator.store.drivers import note_progress
from orchestrator.store.encoding import (
    ASK_COLUMNS,
    DISPATCH_COLUMNS,
    REPLY_COLUMNS,
    ask_row,
    dispatch_row,
    reply_row,
)
from orchestrator.store.leases import note_lease
from orchestrator.store.parts import KnownParts, NewPart, intern_parts, store_parts
from orchestrator.store.tables import REPLY

ATTEMPT, ACCEPTED, DIGEST = (REPLY_COLUMNS.index(n) for n in ("attempt", "accepted", "digest"))


class TranscriptWriter:
    """Writes records on one connection; remembers the parts that it met."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known = KnownParts()

    def write(self, records: Sequence[JournalRecord]) -> None:
        """Write and commit all `records`. After an error this writer must not be used again."""
        asks: list[AskRecord] = []
        replies: list[ReplyRecord] = []
        dispatches: list[DispatchRecord] = []
        outcomes: dict[int, OutcomeRecord] = {}
        progress: dict[int, ProgressRecord] = {}
        for record in records:
            if isinstance(record, AskRecord):
                asks.append(record)
            elif isinstance(record, ReplyRecord):
                replies.append(record)
            elif isinstance(record, OutcomeRecord):
                outcomes[record.session] = record
            elif isinstance(record, DispatchRecord):
                dispatches.append(record)
            else:
                progress[record.driver] = record
        with self._connection.begin():
            self._write_asks(asks)
            self._write_replies(replies)
            if dispatches:
                rows = [dispatch_row(record) for record in dispatches]
                insert_rows(self._connection, "dispatch", DISPATCH_COLUMNS, rows)
            remember(self._connection, replies)
            update_sessions(
                self._connection,
                ("status", "outcome", "message"),
                [(o.status, o.outcome, o.message, o.session) for o in outcomes.values()],
            )
            for last in progress.values():
                note_progress(self._connection, last.driver, last.progress)
                if last.lease is not None:
                    note_lease(self._connection, last.driver, last.lease)

    def _write_asks(self, asks: list[AskRecord]) -> None:
        """Write asks; one that is there already (asked again after a stop) stays as it is."""
        parts = self._intern(asks)
        rows = [ask_row(record, parts) for record in asks]
        insert_rows(self._connection, "ask", ASK_COLUMNS, rows)

    def _intern(self, asks: list[AskRecord]) -> dict[bytes, int]:
        """Return the ids of all parts of `asks`."""
        ids: dict[bytes, int] = {}
        shared: dict[bytes, NewPart] = {}
        quoted: dict[bytes, NewPart] = {}
        known = self._known
        for record in asks:
            for message in record.ask.messages:
                for part in message.parts:
                    digest = part.digest
                    if digest in ids:
                        continue
                    found = known.get(digest)
                    if found is not None:
                        ids[digest] = found
                    elif part.origin is None:
                        shared[digest] = NewPart(part.kind, part.text)
                    else:
                        quoted[digest] = NewPart(part.kind, part.text)
        if shared or quoted:
            new = store_parts(self._connection, quoted) if quoted else {}
            new.update(intern_parts(self._connection, shared))
            for digest, part_id in new.items():
                known.put(digest, part_id)
            ids.update(new)
        return ids

    def _write_replies(self, replies: list[ReplyRecord]) -> None:
        rows = [reply_row(record) for record in replies]
        if insert_rows(self._connection, "reply", REPLY_COLUMNS, rows) == len(rows):
            return
        for row in rows:
            self._write_late(row)

    def _write_late(self, row: Row) -> None:
        """Keep an attempt that the tables turned away, unless it is there already.

        Its number is taken by another attempt, or its slot has an accepted reply: it was paid for
        all the same, so it is kept under the next number, and not accepted.
        """
        session, turn, slot = row[:3]
        query = select(REPLY.c.attempt, REPLY.c.accepted, REPLY.c.digest).where(
            REPLY.c.session == session, REPLY.c.turn == turn, REPLY.c.slot == slot
        )
        there = self._connection.execute(query).all()
        if any(one[0] == row[ATTEMPT] and bytes(one[2]) == row[DIGEST] for one in there):
            return
        late = list(row)
        if any(one[0] == row[ATTEMPT] for one in there):
            late[ATTEMPT] = 1 + max(one[0] for one in there)
        late[ACCEPTED] = row[ACCEPTED] and not any(one[1] for one in there)
        insert_rows(self._connection, "reply", REPLY_COLUMNS, [tuple(late)])
