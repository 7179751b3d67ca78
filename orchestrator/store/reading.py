"""Reading transcripts back: tapes for replay and resume, and checks of what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, not_, select
from sqlalchemy.sql import exists

from orchestrator.store.bulk import in_chunks
from orchestrator.store.encoding import SEEN_COLUMNS, read_reply
from orchestrator.store.parts import part_digest
from orchestrator.store.rows import LoadedTape
from orchestrator.store.tables import ASK, PART, REPLY, SESSION
from protocols.messages import Place
from protocols.tape import Recorded

SESSIONS_AT_ONCE = 200
UNREADABLE = -1
"""Stands for the parts of an ask whose messages cannot be read; no part has this id."""

SAME_SLOT = and_(
    REPLY.c.session == ASK.c.session, REPLY.c.turn == ASK.c.turn, REPLY.c.slot == ASK.c.slot
)
_TAPE = select(
    *(ASK.c.session, ASK.c.turn, ASK.c.slot, ASK.c.key, ASK.c.inherited),
    *(REPLY.c.accepted, REPLY.c.digest),
    *[REPLY.c[name] for name in SEEN_COLUMNS],
    *(REPLY.c.latency_s, REPLY.c.model_served),
).order_by(ASK.c.session, ASK.c.turn, ASK.c.slot)
ACCEPTED = _TAPE.outerjoin_from(ASK, REPLY, and_(SAME_SLOT, REPLY.c.accepted))
EVERY_ATTEMPT = _TAPE.outerjoin_from(ASK, REPLY, SAME_SLOT)


def read_tapes(engine: Engine, session_ids: Sequence[int], *, verify: bool) -> Iterator[LoadedTape]:
    """Yield the tape of each session in the order given; reads ahead a few hundred sessions."""
    query = EVERY_ATTEMPT if verify else ACCEPTED
    for chunk in in_chunks(session_ids, SESSIONS_AT_ONCE):
        rows: dict[int, list[Any]] = {}
        with engine.connect() as connection:
            for row in connection.execute(query.where(ASK.c.session.in_(chunk))).all():
                rows.setdefault(row[0], []).append(row)
        for session in chunk:
            yield _tape(session, rows.get(session, []), verify=verify)


def _tape(session: int, rows: list[Any], *, verify: bool) -> LoadedTape:
    tape: dict[Place, Recorded] = {}
    inherited: dict[Place, str] = {}
    tampered: list[Place] = []
    for row in rows:
        _, turn, slot, key, parent_key, accepted, digest = row[:7]
        place = Place(turn, slot)
        if parent_key is not None:
            inherited[place] = parent_key
        if digest is None:
            continue
        try:
            reply = read_reply(row[7:], place)
        except (ValueError, TypeError):
            if not verify:
                raise
            tampered.append(place)
            continue
        if accepted:
            tape[place] = Recorded(key, reply)
        if verify and reply.digest != bytes(digest):
            tampered.append(place)
    return LoadedTape(session, tape, inherited, tuple(tampered))


def count_attempts(
    connection: Connection, session_ids: Sequence[int]
) -> dict[tuple[int, int, int], int]:
    """Return one more than the highest attempt of asks without an accepted reply.

    Returns:
        By (session, turn, slot); asks without attempts are left out.
    """
    accepted = REPLY.alias("accepted")
    answered = exists().where(
        accepted.c.session == REPLY.c.session,
        accepted.c.turn == REPLY.c.turn,
        accepted.c.slot == REPLY.c.slot,
        accepted.c.accepted,
    )
    slot = (REPLY.c.session, REPLY.c.turn, REPLY.c.slot)
    counts: dict[tuple[int, int, int], int] = {}
    for chunk in in_chunks(session_ids):
        query = (
            select(*slot, func.max(REPLY.c.attempt) + 1)
            .where(REPLY.c.session.in_(chunk), not_(answered))
            .group_by(*slot)
        )
        counts.update(((row[0], row[1], row[2]), row[3]) for row in connection.execute(query))
    return counts


def read_prices(
    connection: Connection, session_ids: Sequence[int]
) -> dict[int, dict[Place, float | None]]:
    """Return the list prices of accepted replies, by session and place."""
    prices: dict[int, dict[Place, float | None]] = {}
    columns = (REPLY.c.session, REPLY.c.turn, REPLY.c.slot, REPLY.c.list_price)
    for chunk in in_chunks(session_ids):
        query = select(*columns).where(REPLY.c.session.in_(chunk), REPLY.c.accepted)
        for session, turn, slot, price in connection.execute(query):
            prices.setdefault(session, {})[Place(turn, slot)] = price
    return prices


def find_damaged(connection: Connection, run_id: int) -> list[tuple[int, int, int]]:
    """Return (session, turn, slot) of the run's asks that hold a part which is gone or changed.

    A part is changed when its hash no longer fits its kind and body.
    """
    of_run = (
        select(ASK.c.session, ASK.c.turn, ASK.c.slot, ASK.c.messages)
        .join_from(ASK, SESSION, SESSION.c.id == ASK.c.session)
        .where(SESSION.c.run == run_id)
        .execution_options(yield_per=1_000)
    )
    used: set[Any] = set()
    for *_, messages in connection.execute(of_run):
        used.update(_readable_ids(messages))
    damaged = used - _sound(connection, {part for part in used if type(part) is int})
    if not damaged:
        return []
    return sorted(
        (session, turn, slot)
        for session, turn, slot, messages in connection.execute(of_run)
        if not damaged.isdisjoint(_readable_ids(messages))
    )


def part_ids(messages_json: str) -> set[Any]:
    """Return the ids of the parts of an ask: integers, unless the row was damaged.

    Raises:
        ValueError: it was damaged, and cannot be read.
        LookupError: likewise.
        TypeError: likewise.
    """
    return {piece[1] for _, pieces in json.loads(messages_json) for piece in pieces}


def _readable_ids(messages_json: str) -> set[Any]:
    """Return the ids of the parts of an ask, UNREADABLE where its messages were damaged."""
    try:
        return part_ids(messages_json)
    except (ValueError, TypeError, LookupError):
        return {UNREADABLE}


def _sound(connection: Connection, ids: set[int]) -> set[int]:
    sound: set[int] = set()
    for chunk in in_chunks(sorted(ids)):
        query = select(PART.c.id, PART.c.hash, PART.c.kind, PART.c.body)
        rows = connection.execute(query.where(PART.c.id.in_(chunk))).all()
        sound.update(row[0] for row in rows if part_digest(row[2], row[3]) == bytes(row[1]))
    return sound
