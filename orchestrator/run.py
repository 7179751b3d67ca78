"""Runs: from a specification to recorded outcomes, and on again after a stop.

:func:`prepare` finds or creates the run in the store and says what is kept and what is new;
:func:`execute` drives what is left to its outcomes. The same two calls resume.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.roster import Expert
from orchestrator.driver import Driver, DriverSettings, Ended, Progress
from orchestrator.fleets.fleet import Fleet
from orchestrator.fleets.ray_metrics import RaySink
from orchestrator.heartbeat import Heartbeat, driver_name
from orchestrator.jobs import OpenJobs
from orchestrator.money.books import cache_of, list_prices, open_ledger
from orchestrator.money.leasing import Lease
from orchestrator.money.ledger import Ledger
from orchestrator.provenance import code_revision, package_versions
from orchestrator.rebuild import stored_kind
from orchestrator.sharding import ALL_SHARDS, shard_of
from orchestrator.spec import Difference, Known, RunSpec, Wanted, reconcile, wanted_sessions
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake
from protocols.registry import protocol_class

if TYPE_CHECKING:
    from orchestrator.store import (
        NewSession,
        RunRow,
        SessionRow,
        Store,
        StoreJournal,
    )


CONFLICTS = 3
"""How often a run is looked for again where several commands create it at once."""


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
    config_json = canonical_json(dict(config))
    key_json = None if answer_key is None else canonical_json(dict(answer_key))
    from orchestrator.store import StoreConflict

    for _ in range(CONFLICTS):
        try:
            return _find_or_create(store, name, wanted, (config_json, key_json))
        except StoreConflict:  # several commands began at once: what the others did is there now
            continue
    return _find_or_create(store, name, wanted, (config_json, key_json))


def _find_or_create(
    store: Store, name: str, wanted: Sequence[Wanted], documents: tuple[str, str | None]
) -> Prepared:
    """Do what :func:`prepare_sessions` does; `documents`: the configuration and the answer key.

    Raises:
        StoreConflict: another process is just doing the same.
        Mistake: the run would have to change while drivers work on it.
    """
    from orchestrator.store import NewRun, StoreConflict

    config_json, key_json = documents
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
    rows = store.sessions(run_id)
    difference = _difference(rows, wanted)
    if row is not None:
        if difference.changes and store.is_worked_on(run_id):
            if difference != _difference(store.sessions(run_id), wanted):
                raise StoreConflict(f"run {name!r} is just being prepared by another process")
            raise Mistake(
                f"run {name!r} is being worked on and the workflow changed "
                f"({difference.describe()}); stop it first, or use --new"
            )
        store.update_run(
            run_id,
            config_json=config_json,
            config_hash=sha256_hex(config_json),
            answer_key_json=key_json,
        )
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
    shards: Sequence[int] = ALL_SHARDS,
    ledger: Ledger | None = None,
    sharing: int = 1,
) -> Ended:
    """Run what is left of a prepared run and is free, and record how it ended.

    Args:
        store: the store that `prepared` came from.
        prepared: from :func:`prepare`.
        spec: the same specification.
        fleet: where the experts live; it is started and closed here.
        settings: see :class:`~orchestrator.driver.DriverSettings`.
        on_progress: hears how far the run is, about ten times a second.
        on_driver: is handed the driver before it starts, to be able to stop it.
        shards: which part of the run.
        ledger: what is spent so far; read from the store by default.
        sharing: drivers that lease slices of the budget, this one among them.

    Raises:
        AllHeld: something is left, and other drivers hold all of it.
    """
    settings = settings or DriverSettings()
    ledger = ledger or open_ledger(store, prepared.run_id, settings.budget)
    try:
        with store.journal(prepared.run_id, shards=()) as journal:
            jobs = OpenJobs(store, prepared.run_id, journal, shards)
            if not jobs.begin():
                return Ended("finished", _no_progress(prepared, ledger))
            with _told(store, prepared, journal, ledger.paid) as heart:
                hear = _both(heart.hear, on_progress)
                if ledger.limited:
                    named = (prepared.run_id, heart.id)
                    heart.lease = Lease(store, journal, *named, ledger, drivers=sharing)
                driver = Driver(
                    *(fleet, journal, spec.experts),
                    settings=settings,
                    price=list_prices(spec.experts),
                    ledger=ledger,
                    on_progress=hear,
                    look_up=cache_of(store, settings.cache),
                    lease=heart.lease,
                )
                heart.driver = driver
                driver.meters.sinks.append(RaySink(prepared.name, driver_name()))
                if on_driver:
                    on_driver(driver)
                ended = await driver.run(iter(jobs), total=prepared.sessions, done=prepared.done)
                heart.ending = ended.ending
    finally:
        store.settle(prepared.run_id)
    return ended


def _both(
    first: Callable[[Progress], None], then: Callable[[Progress], None] | None
) -> Callable[[Progress], None]:
    def hear(progress: Progress) -> None:
        first(progress)
        if then:
            then(progress)

    return hear


def _no_progress(prepared: Prepared, ledger: Ledger) -> Progress:
    return Progress(prepared.sessions, prepared.done, 0, 0, 0, 0, ledger.paid, 0.0)


@contextmanager
def _told(
    store: Store, prepared: Prepared, journal: StoreJournal, paid: float
) -> Iterator[Heartbeat]:
    """Note in the store that a driver works on a run, and in the end how it ended."""
    driver_id = store.start_driver(prepared.run_id, driver_name())
    heart = Heartbeat(journal, driver_id, done_before=prepared.done, paid_before=paid)
    try:
        yield heart
    finally:
        store.end_driver(driver_id, heart.ending, heart.as_json())


def new_session(wanted: Wanted, ordinal: int) -> NewSession:
    """Return the row of a wanted session."""
    from orchestrator.store import NewSession

    protocol = wanted.entry.protocol
    return NewSession(
        ordinal=ordinal,
        shard=shard_of(wanted.question.key),
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


def _fresh_name(store: Store, name: str) -> str:
    """Return `name`, or with ``-2``, ``-3``... the first that no run has."""
    taken = {run.name for run in store.runs()}
    if name not in taken:
        return name
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"
