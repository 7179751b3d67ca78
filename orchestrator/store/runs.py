"""Runs and sessions: creating, finding, listing, changing their state."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.store.bulk import in_chunks, insert_rows, new_ids, update_sessions
from orchestrator.store.errors import StoreConflict, StoreMistake
from orchestrator.store.parts import NewPart, intern_parts, part_digest
from orchestrator.store.rows import NewRun, NewSession, RunRow, SessionRow
from orchestrator.store.tables import PART, RUN, SESSION
from orchestrator.store.times import utc_now

SESSION_COLUMNS = (
    *("id", "run", "ordinal", "shard", "key", "entry", "kind", "version"),
    *("question_id", "question_key", "seed", "repeat", "parent", "fork_turn"),
    *("parameters_part", "question_part", "cast_part", "status", "outcome", "message"),
)


def insert_run(connection: Connection, run: NewRun) -> int:
    """Store a new run and return its id."""
    answer_key = None
    if run.answer_key_json is not None:
        answer_key = intern_documents(connection, [run.answer_key_json])[run.answer_key_json]
    taken = select(RUN.c.id).where(RUN.c.name == run.name)
    if connection.execute(taken).first() is not None:
        raise _taken(run.name)
    try:
        run_id = _insert_run(connection, run, answer_key)
    except IntegrityError:  # PostgreSQL: another process has just created it
        raise _taken(run.name) from None
    return run_id


def _taken(name: str) -> StoreConflict:
    return StoreConflict(f"there is a run {name!r} already; choose another name")


def _insert_run(connection: Connection, run: NewRun, answer_key: int | None) -> int:
    run_id = connection.execute(
        insert(RUN)
        .values(
            name=run.name,
            status="running",
            config=run.config_json,
            config_hash=run.config_hash,
            code_revision=run.code_revision,
            packages=json.dumps(dict(run.packages), sort_keys=True),
            answer_key_part=answer_key,
            parent=run.parent,
            created_at=utc_now(),
        )
        .returning(RUN.c.id)
    ).scalar_one()
    return int(run_id)


def change_run(
    connection: Connection,
    run_id: int,
    changes: dict[str, str],
    *,
    answer_key_json: str | None = None,
    finished: bool = False,
) -> None:
    """Set columns of a run; `finished` notes the time."""
    values: dict[str, Any] = dict(changes)
    if answer_key_json is not None:
        values["answer_key_part"] = intern_documents(connection, [answer_key_json])[answer_key_json]
    if finished:
        values["finished_at"] = utc_now()
    if values:
        connection.execute(update(RUN).where(RUN.c.id == run_id).values(**values))


def lock_run(connection: Connection, run_id: int) -> None:
    """Let nobody else change a run until the end of the transaction."""
    connection.execute(select(RUN.c.id).where(RUN.c.id == run_id).with_for_update())


def read_runs(connection: Connection) -> list[RunRow]:
    """Return all runs by id."""
    return [_run_row(row) for row in connection.execute(_runs().order_by(RUN.c.id))]


def search_run(connection: Connection, name_or_id: str) -> RunRow | None:
    """Return the run of that name, else of that id, else the one whose name begins so.

    Of a run and others named after it (``debates``, ``debates-fork``) the first one is meant.
    """
    if not name_or_id:
        return None
    row = connection.execute(_runs().where(RUN.c.name == name_or_id)).first()
    if row is None and name_or_id.isascii() and name_or_id.isdigit() and len(name_or_id) < 10:
        row = connection.execute(_runs().where(RUN.c.id == int(name_or_id))).first()
    if row is not None:
        return _run_row(row)
    begins = func.substr(RUN.c.name, 1, len(name_or_id)) == name_or_id
    rows = connection.execute(_runs().where(begins).order_by(func.length(RUN.c.name))).all()
    if any(not row.name.startswith(rows[0].name) for row in rows):
        names = ", ".join(repr(row.name) for row in rows[:3])
        more = "..." if len(rows) > 3 else ""
        raise StoreMistake(
            f"{name_or_id!r} fits several runs ({names}{more}); write more of the name, or its id"
        )
    return _run_row(rows[0]) if rows else None


def insert_sessions(
    connection: Connection, run_id: int, sessions: Sequence[NewSession]
) -> list[int]:
    """Store new sessions, their documents once, and return their ids in order."""
    documents = _interned(connection, sessions)
    ids = new_ids(connection, "session", len(sessions)) if sessions else []
    rows = [
        (
            *(session_id, run_id, one.ordinal, one.shard, one.key, one.entry),
            *(one.kind, one.version, one.question_id, one.question_key),
            *(one.seed, one.repeat, one.parent, one.fork_turn),
            *(documents[id(text)] for text in _documents(one)),
            *("pending", None, ""),
        )
        for session_id, one in zip(ids, sessions, strict=True)
    ]
    if insert_rows(connection, "session", SESSION_COLUMNS, rows) != len(rows):
        raise StoreConflict(
            f"run {run_id} would hold the same session twice; is another process changing it? "
            "Repeat the command"
        )
    return list(ids)


def _documents(session: NewSession) -> tuple[str, str, str]:
    return (session.parameters_json, session.question_json, session.cast_json)


def _interned(connection: Connection, sessions: Sequence[NewSession]) -> dict[int, int]:
    """Store the documents of sessions, each once; return their parts' ids by ``id()`` of the text.

    Casts are few and may hold megabytes: sessions share the same object, so that each is compared
    once and not for every session.
    """
    objects = {id(text): text for one in sessions for text in _documents(one)}
    documents = intern_documents(connection, set(objects.values()))
    return {address: documents[text] for address, text in objects.items()}


def read_sessions(
    connection: Connection,
    run_id: int,
    statuses: Collection[str] | None,
    shards: Collection[int] | None = None,
) -> list[SessionRow]:
    """Return the sessions of a run by ordinal."""
    query = _sessions().where(SESSION.c.run == run_id)
    if shards is not None:
        query = query.where(SESSION.c.shard.in_(sorted(shards)))
    if statuses is not None:
        query = query.where(SESSION.c.status.in_(sorted(statuses)))
    query = query.order_by(SESSION.c.ordinal, SESSION.c.id)
    return [SessionRow(*row) for row in connection.execute(query).all()]


def read_session(connection: Connection, session_id: int) -> SessionRow | None:
    """Return one session."""
    row = connection.execute(_sessions().where(SESSION.c.id == session_id)).first()
    return None if row is None else SessionRow(*row)


def count_sessions(connection: Connection, run_id: int) -> dict[str, int]:
    """Return how many sessions a run has in each state."""
    query = select(SESSION.c.status, func.count()).where(SESSION.c.run == run_id)
    return {status: int(n) for status, n in connection.execute(query.group_by(SESSION.c.status))}


def count_pending(connection: Connection, run_id: int) -> dict[int, int]:
    """Return how many sessions of a run are not over, by shard; shards without any are absent."""
    query = select(SESSION.c.shard, func.count()).where(
        SESSION.c.run == run_id, SESSION.c.status == "pending"
    )
    return {shard: int(n) for shard, n in connection.execute(query.group_by(SESSION.c.shard))}


def read_run_ids(connection: Connection, session_ids: Collection[int]) -> dict[int, int]:
    """Return the runs that sessions belong to."""
    found: dict[int, int] = {}
    for chunk in in_chunks(sorted(set(session_ids))):
        query = select(SESSION.c.id, SESSION.c.run).where(SESSION.c.id.in_(chunk))
        found.update((row.id, row.run) for row in connection.execute(query).all())
    return found


def mark_sessions(connection: Connection, ids: Collection[int], status: str) -> None:
    """Set the status of sessions."""
    update_sessions(connection, ("status",), [(status, one) for one in sorted(set(ids))])


def set_entries(connection: Connection, entries: Mapping[int, str]) -> None:
    """Set the entry of sessions by id."""
    update_sessions(connection, ("entry",), [(name, one) for one, name in sorted(entries.items())])


def read_documents(connection: Connection, part_ids: Collection[int]) -> dict[int, str]:
    """Return the bodies of parts by id; ids that are not there are left out."""
    found: dict[int, str] = {}
    for chunk in in_chunks(sorted(set(part_ids))):
        query = select(PART.c.id, PART.c.body).where(PART.c.id.in_(chunk))
        found.update((row.id, row.body) for row in connection.execute(query).all())
    return found


def intern_documents(connection: Connection, texts: Collection[str]) -> dict[str, int]:
    """Store documents, each once; return their parts' ids."""
    digests = {text: part_digest("document", text) for text in texts}
    wanted = {digest: NewPart("document", text) for text, digest in digests.items()}
    ids = intern_parts(connection, wanted)
    return {text: ids[digest] for text, digest in digests.items()}


def _runs() -> Select[Any]:
    return select(RUN, PART.c.body.label("answer_key")).outerjoin(
        PART, PART.c.id == RUN.c.answer_key_part
    )


def _run_row(row: Row[Any]) -> RunRow:
    return RunRow(
        name=row.name,
        config_json=row.config,
        config_hash=row.config_hash,
        code_revision=row.code_revision,
        packages=json.loads(row.packages),
        parent=row.parent,
        answer_key_json=row.answer_key,
        id=row.id,
        status=row.status,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _sessions() -> Select[Any]:
    return select(*[SESSION.c[name] for name in SESSION_COLUMNS])
