"""Replay: rebuild every session of a run from the store, with no model call, and compare.

Checked are the digest of every accepted reply, the hash of every part of every ask, every ask key
and the bytes of every outcome. Drift is reported session by session and never asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.live import Job, outcome_json
from orchestrator.rebuild import Rebuilder
from orchestrator.tuning import quiet_garbage_collector
from protocols.errors import Mistake, ReplayDiverged
from protocols.tape import Finished, resume

if TYPE_CHECKING:
    from orchestrator.store import LoadedTape, SessionRow, Store

CHUNK = 1_000

Verdict = Literal["identical", "diverged", "stale"]


@dataclass(frozen=True, slots=True)
class SessionReplay:
    """What replaying one session showed."""

    session: int
    """Its id in the store."""
    verdict: Verdict
    reason: str = ""
    """In words, where it is not identical."""
    turn: int | None = None
    slot: int | None = None
    complete: bool = True
    """False for a session that was not over: what is recorded of it was replayed."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What replaying a run showed."""

    run_id: int
    name: str
    sessions: int
    """Sessions of the run that were replayed."""
    identical: int
    diverged: int
    stale: int
    """Sessions of another protocol version, which cannot be compared."""
    incomplete: int
    """Of the identical ones: sessions that are not over, replayed as far as they are recorded."""
    model_calls: int
    """Calls made: a replay has no engine to call, so this counts what it could not make: 0."""
    replies: int
    """Recorded replies that were fed."""
    diverged_sessions: list[int] = field(default_factory=list)
    """Ids of the sessions that diverged."""
    stale_sessions: list[int] = field(default_factory=list)
    details: list[SessionReplay] = field(default_factory=list)
    """The sessions that are not identical."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self)


def replay(
    store: Store,
    run_id: int,
    *,
    sessions: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ReplayReport:
    """Replay a run.

    Args:
        store: the store, open for reading at least.
        run_id: the run's id.
        sessions: ids of the sessions to replay; all by default.
        on_progress: hears (sessions done, sessions in all).

    Raises:
        Mistake: there is no such run, or one of `sessions` is not part of it.
    """
    run = store.find_run(str(run_id))
    if run is None:
        raise Mistake(f"there is no run {run_id} in this store; see `moot list runs`")
    rows = store.sessions(run_id)
    if sessions is not None:
        unknown = sorted(set(sessions) - {row.id for row in rows})
        if unknown:
            raise Mistake(f"run {run.name!r} has no session {unknown[0]}; see `moot show`")
        rows = [row for row in rows if row.id in set(sessions)]
    with quiet_garbage_collector():
        results, replies = _replay_rows(store, run_id, rows, on_progress)
    return _report(run.id, run.name, results, replies)


def _replay_rows(
    store: Store,
    run_id: int,
    rows: Sequence[SessionRow],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[SessionReplay], int]:
    """Replay sessions; return what each showed and how many replies were fed."""
    bad_parts: dict[int, tuple[int, int]] = {}
    for session, turn, slot in store.check_parts(run_id):
        bad_parts.setdefault(session, (turn, slot))
    rebuilder = Rebuilder(store)
    results: list[SessionReplay] = []
    replies = 0
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        rebuilder.preload(chunk)
        tapes = store.tapes([row.id for row in chunk], verify=True)
        for row, loaded in zip(chunk, tapes, strict=True):
            replies += len(loaded.tape)
            results.append(replay_session(row, loaded, rebuilder, bad_parts.get(row.id)))
        if on_progress:
            on_progress(min(start + CHUNK, len(rows)), len(rows))
    return results, replies


def replay_session(
    row: SessionRow,
    loaded: LoadedTape,
    rebuilder: Rebuilder,
    bad_part: tuple[int, int] | None = None,
) -> SessionReplay:
    """Replay one session and say what it showed."""
    if bad_part is not None:
        return _diverged(row, "a part of an ask changed", *bad_part)
    if loaded.tampered:
        return _diverged(row, "reply changed", *loaded.tampered[0])
    try:
        protocol = rebuilder.protocol(row)
        if protocol.version != row.version:
            reason = f"protocol version {row.version} -> {protocol.version}"
            return SessionReplay(row.id, "stale", reason)
        question, cast = rebuilder.question(row), rebuilder.cast(row)
        if cast.stale is not None:
            return SessionReplay(row.id, "stale", f"protocol {cast.stale}")
    except Mistake as error:
        return _diverged(row, f"cannot be rebuilt: {error}")
    if question.key != row.question_key:
        return _diverged(row, "question changed")
    job = Job(row.id, protocol, question, cast, row.seed, row.repeat)
    return _replay_tape(row, loaded, job)


def _replay_tape(row: SessionRow, loaded: LoadedTape, job: Job) -> SessionReplay:
    """Feed the tape to a fresh session and compare how it ends."""
    try:
        state = resume(job.start(), loaded.tape)
    except ReplayDiverged as error:
        return _diverged(row, error.what, error.turn, error.slot)
    except Exception as error:  # noqa: BLE001 - as it may have raised when it ran
        record = outcome_json(row.id, error)
    else:
        if not isinstance(state, Finished):
            if row.is_over and not _never_began(row, loaded):
                return _diverged(row, "a reply is missing", state.turn, state.missing[0])
            return SessionReplay(row.id, "identical", complete=False)
        record = outcome_json(row.id, state.outcome)
    if not row.is_over:
        return SessionReplay(row.id, "identical", complete=False)
    if record.outcome != row.outcome_json:
        return _diverged(row, "outcome changed")
    if row.status == "failed" and record.message != row.message:
        return _diverged(row, "error changed")
    return SessionReplay(row.id, "identical")


def _never_began(row: SessionRow, loaded: LoadedTape) -> bool:
    """Whether this is a branch that could not be made of its parent."""
    return row.status == "failed" and row.parent is not None and not loaded.tape


def _diverged(
    row: SessionRow, reason: str, turn: int | None = None, slot: int | None = None
) -> SessionReplay:
    return SessionReplay(row.id, "diverged", reason, turn, slot)


def _report(run_id: int, name: str, results: Sequence[SessionReplay], replies: int) -> ReplayReport:
    by_verdict: dict[Verdict, list[SessionReplay]] = {"identical": [], "diverged": [], "stale": []}
    for result in results:
        by_verdict[result.verdict].append(result)
    return ReplayReport(
        run_id=run_id,
        name=name,
        sessions=len(results),
        identical=len(by_verdict["identical"]),
        diverged=len(by_verdict["diverged"]),
        stale=len(by_verdict["stale"]),
        incomplete=sum(not result.complete for result in by_verdict["identical"]),
        model_calls=0,
        replies=replies,
        diverged_sessions=[result.session for result in by_verdict["diverged"]],
        stale_sessions=[result.session for result in by_verdict["stale"]],
        details=[result for result in results if result.verdict != "identical"],
    )
