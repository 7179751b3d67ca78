"""Runs: from a specification to recorded outcomes, and on again after a stop.

:func:`prepare` finds or creates the run in the store and says what is kept and what is new;
:func:`execute` drives what is left to its outcomes. The same two calls resume.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.engines import price_of
from agents.roster import Expert
from orchestrator.driver import Driver, DriverSettings, Ended, Progress
from orchestrator.fleet import Fleet
from orchestrator.ledger import Ledger
from orchestrator.live import Job, forked, repeated
from orchestrator.provenance import code_revision, package_versions
from orchestrator.rebuild import Rebuilder, stored_kind
from orchestrator.spec import Difference, Known, RunSpec, Wanted, reconcile, wanted_sessions
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake
from protocols.messages import Place
from protocols.registry import protocol_class
from protocols.replies import Usage
from protocols.tape import Tape

if TYPE_CHECKING:
    from orchestrator.store import NewSession, RunRow, SessionRow, Store
    from orchestrator.store.rows import RunStatus

CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to go on."""

    run_id: int
    name: str
    resumed: bool
    """Whether the run was there before."""
    difference: Difference
    sessions: int
    """Sessions that the run asks for."""
    done: int
    """Of those: the ones that are over."""


def prepare(store: Store, spec: RunSpec, *, new: bool = False) -> Prepared:
    """Find or create the run called `spec.name` and make its sessions what `spec` asks for.

    Args:
        store: an open store.
        spec: what is wanted.
        new: start another run under a fresh name, even if there is one.

    Raises:
        Mistake: see :func:`orchestrator.spec.wanted_sessions`.
    """
    name = _fresh_name(store, spec.name) if new else spec.name
    config = {**spec.config, "roster": roster_json(spec.experts)}
    wanted = list(wanted_sessions(spec))
    return prepare_sessions(store, name, wanted, config=config, answer_key=spec.answer_key)


def prepare_sessions(
    store: Store,
    name: str,
    wanted: Sequence[Wanted],
    *,
    config: Mapping[str, Any],
    answer_key: Mapping[str, Any] | None,
) -> Prepared:
    """Find or create the run called `name` and make its sessions what is `wanted`.

    Args:
        store: an open store.
        name: the run's name.
        wanted: its sessions, in the order in which they are asked.
        config: the resolved configuration, with the roster.
        answer_key: the gold answers, for scoring.
    """
    from orchestrator.store import NewRun

    config_json = canonical_json(dict(config))
    key_json = None if answer_key is None else canonical_json(dict(answer_key))
    row = next((run for run in store.runs() if run.name == name), None)
    if row is None:
        run_id = store.create_run(
            NewRun(
                name=name,
                config_json=config_json,
                config_hash=sha256_hex(config_json),
                code_revision=code_revision(),
                packages=package_versions(),
                answer_key_json=key_json,
            )
        )
    else:
        run_id = row.id
        store.update_run(
            run_id,
            config_json=config_json,
            config_hash=sha256_hex(config_json),
            answer_key_json=key_json,
        )
    rows = store.sessions(run_id)
    difference = _difference(rows, wanted)
    _apply(store, run_id, difference, rows)
    return _prepared(run_id, name, rows, difference, resumed=row is not None)


def preview(store: Store, spec: RunSpec) -> Prepared | None:
    """Return what :func:`prepare` would, and write nothing; None where there is no such run.

    Raises:
        Mistake: see :func:`orchestrator.spec.wanted_sessions`.
    """
    row = next((run for run in store.runs() if run.name == spec.name), None)
    if row is None:
        return None
    wanted, rows = list(wanted_sessions(spec)), store.sessions(row.id)
    return _prepared(row.id, spec.name, rows, _difference(rows, wanted), resumed=True)


def roster_json(experts: Sequence[Expert]) -> list[dict[str, Any]]:
    """Return experts as JSON, for the configuration that is kept with a run; no secrets."""
    return [expert.model_dump(mode="json") for expert in experts]


def stored_roster(run: RunRow) -> dict[str, Expert]:
    """Return the experts that a run was made with, by label."""
    found = json.loads(run.config_json).get("roster", [])
    return {one["label"]: Expert.model_validate(one) for one in found}


def stored_experts(run: RunRow) -> dict[str, Expert]:
    """Return the experts that a run's workflow names, whether they were cast or not, by label."""
    found = json.loads(run.config_json).get("experts", {})
    return {
        label: Expert.model_validate({**one, "label": label})
        for label, one in found.items()
        if isinstance(one, dict)
    }


async def execute(
    store: Store,
    prepared: Prepared,
    spec: RunSpec,
    fleet: Fleet,
    *,
    settings: DriverSettings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_driver: Callable[[Driver], None] | None = None,
) -> Ended:
    """Run what is left of a prepared run and record how it ended.

    Args:
        store: the store that `prepared` came from.
        prepared: from :func:`prepare`.
        spec: the same specification.
        fleet: where the experts live; it is started and closed here.
        settings: see :class:`~orchestrator.driver.DriverSettings`.
        on_progress: hears how far the run is, about ten times a second.
        on_driver: is handed the driver before it starts, to be able to stop it.
    """
    settings = settings or DriverSettings()
    experts = {expert.label: expert for expert in spec.experts}
    totals = store.totals(prepared.run_id)
    ledger = Ledger(
        settings.budget,
        calls=sum(total["attempts"] for total in totals.values()),
        paid=sum(total["paid_price"] for total in totals.values()),
    )

    def price(label: str, usage: Usage) -> float | None:
        return price_of(experts[label], usage)

    with store.journal(prepared.run_id) as journal:
        driver = Driver(
            fleet,
            journal,
            spec.experts,
            settings=settings,
            price=price,
            ledger=ledger,
            on_progress=on_progress,
        )
        if on_driver:
            on_driver(driver)
        store.update_run(prepared.run_id, status="running")
        jobs = open_jobs(store, prepared.run_id)
        finished = False
        try:
            ended = await driver.run(jobs, total=prepared.sessions, done=prepared.done)
            finished = ended.ending == "finished"
        finally:
            status: RunStatus = "finished" if finished else "stopped"
            store.update_run(prepared.run_id, status=status, finished=finished)
    return ended


def open_jobs(store: Store, run_id: int) -> Iterator[Job]:
    """Yield the sessions of a run that are not over, with what is recorded of them."""
    everything = store.sessions(run_id)
    own = {row.id for row in everything}
    rows = [row for row in everything if row.status == "pending"]
    rebuilder = Rebuilder(store)
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        ids = [row.id for row in chunk]
        attempts: dict[int, dict[Place, int]] = {}
        for (session, turn, slot), count in store.attempts(ids).items():
            attempts.setdefault(session, {})[Place(turn, slot)] = count
        parents = _parent_tapes(store, chunk)
        rebuilder.preload(chunk)
        for row, loaded in zip(chunk, store.tapes(ids), strict=True):
            branch = None
            if not loaded.tape and row.parent is not None and row.fork_turn is not None:
                inherits = repeated if row.parent in own else forked
                branch = inherits(parents[row.parent], row.fork_turn)
            yield Job(
                session=row.id,
                protocol=rebuilder.protocol(row),
                question=rebuilder.question(row),
                cast=rebuilder.cast(row),
                seed=row.seed,
                repeat=row.repeat,
                tape=loaded.tape,
                attempts=attempts.get(row.id, {}),
                branch=branch,
            )


def new_session(wanted: Wanted, ordinal: int) -> NewSession:
    """Return the row of a wanted session."""
    from orchestrator.store import NewSession

    protocol = wanted.entry.protocol
    return NewSession(
        ordinal=ordinal,
        shard=0,
        key=wanted.key,
        entry=wanted.entry.name,
        kind=stored_kind(protocol),
        version=protocol.version,
        parameters_json=wanted.entry.parameters_json,
        question_id=wanted.question.id,
        question_key=wanted.question.key,
        question_json=wanted.question.as_json,
        cast_json=wanted.entry.cast_json,
        seed=wanted.seed,
        repeat=wanted.repeat,
        parent=None,
        fork_turn=None,
    )


def _apply(store: Store, run_id: int, difference: Difference, rows: Sequence[SessionRow]) -> None:
    """Write a difference: mark what is given up, revive what is wanted again, add what is new.

    May die half-way: the same difference is found again and written to its end.
    """
    over = {row.id: row.outcome_json is not None for row in rows}
    store.set_session_status(difference.superseded, "superseded")
    store.set_session_status(difference.stale, "stale")
    store.set_session_status([i for i in difference.revived if over[i]], "finished")
    store.set_session_status([i for i in difference.revived if not over[i]], "pending")
    store.rename_entries(dict(difference.renamed))
    first = 1 + max((row.ordinal for row in rows), default=-1)
    store.add_sessions(
        run_id, [new_session(wanted, first + i) for i, wanted in enumerate(difference.added)]
    )


def _difference(rows: Sequence[SessionRow], wanted: Sequence[Wanted]) -> Difference:
    return reconcile([_known(row) for row in rows], wanted, _versions(rows))


def _prepared(
    run_id: int, name: str, rows: Sequence[SessionRow], difference: Difference, *, resumed: bool
) -> Prepared:
    kept = set(difference.kept)
    done = sum(1 for row in rows if row.id in kept and row.is_over)
    sessions = len(kept) + len(difference.added)
    return Prepared(run_id, name, resumed, difference, sessions, done)


def _versions(rows: Sequence[SessionRow]) -> dict[str, int]:
    """Return the present versions of the protocols that a run holds; unknown kinds are absent."""
    versions: dict[str, int] = {}
    for kind in {row.kind for row in rows}:
        try:
            versions[kind] = protocol_class(kind).version
        except Mistake:
            continue
    return versions


def _known(row: SessionRow) -> Known:
    return Known(row.id, row.key, row.status, row.kind, row.version, row.parent, row.entry)


def _parent_tapes(store: Store, rows: Sequence[SessionRow]) -> dict[int, Tape]:
    parents = sorted({row.parent for row in rows if row.parent is not None})
    return {loaded.session: loaded.tape for loaded in store.tapes(parents)}


def _fresh_name(store: Store, name: str) -> str:
    """Return `name`, or with ``-2``, ``-3``... the first that no run has."""
    taken = {run.name for run in store.runs()}
    if name not in taken:
        return name
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"
