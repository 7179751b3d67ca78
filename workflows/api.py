"""moot from Python: run, compare and replay, each with an async twin; forks are in ``branching``.

>>> from workflows import run
>>> result = run("skills", overrides=["store=demo.db"])        # doctest: +SKIP
>>> for row in result.rows:                                    # doctest: +SKIP
...     print(row.name, row.accuracy)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.fleets.fleet import Fleet
from orchestrator.money.ledger import Budget
from orchestrator.money.reply_cache import CachePolicy
from orchestrator.progress import Progress
from orchestrator.spec import RunSpec
from protocols.contract import Protocol
from protocols.errors import Mistake
from workflows.comparing.table import Row
from workflows.running.drivers import drive
from workflows.running.places import store_notes
from workflows.running.run_result import Hooks, RunResult
from workflows.running.telling import first_and_last
from workflows.settings.configuration import Workflow, as_workflow
from workflows.settings.endpoints import Rules
from workflows.settings.fleets import FleetName, FleetSpec, Where
from workflows.settings.spending import check_budget

__all__ = [
    "Hooks",
    "RunResult",
    "compare",
    "compare_async",
    "compare_runs",
    "find_run",
    "finish",
    "replay",
    "replay_async",
    "run",
    "run_async",
]

if TYPE_CHECKING:
    from orchestrator.replay import ReplayReport
    from orchestrator.run import Prepared
    from orchestrator.store import RunRow, Store


async def run_async(
    workflow: Workflow | str | Path,
    *,
    overrides: Sequence[str] = (),
    fleet: FleetName | FleetSpec | Fleet | None = None,
    address: str | None = None,
    new: bool = False,
    retry_failed: bool = False,
    drivers: int | None = None,
    hooks: Hooks | None = None,
) -> RunResult:
    """Run a workflow to its end, or go on with it; see :func:`run`."""
    from orchestrator.run import prepare
    from orchestrator.store import Store
    from orchestrator.tuning import quiet_garbage_collector
    from workflows.checking.checks import workflow_warnings
    from workflows.questions.data_files import load_inputs
    from workflows.running.casting import run_spec

    hooks = hooks or Hooks()
    loaded = as_workflow(workflow, overrides)
    with quiet_garbage_collector():  # nothing that a run makes by the thousand is soon let go
        inputs = load_inputs(loaded)
        spec = run_spec(loaded, inputs)
        where = Where.chosen(loaded.fleet, fleet, address, drivers)
        where.check(spec.experts)
        notes = (
            *check_budget(spec, loaded.budget),
            *inputs.questions.notes,
            *workflow_warnings(loaded, inputs),
            *store_notes(loaded.store, where),
        )
        for note in notes:
            if hooks.on_note:
                hooks.on_note(note)
        with Store.open(loaded.store) as store:
            prepared = prepare(store, spec, new=new)
            if retry_failed:
                from orchestrator.fork import retry_failed as repeat

                repeated = repeat(store, prepared.run_id)
                prepared = replace(prepared, done=prepared.done - repeated)
            if hooks.on_prepared:
                hooks.on_prepared(prepared)
            return await finish(
                store,
                prepared,
                spec,
                where,
                url=loaded.store,
                budget=loaded.budget,
                cache=loaded.cache.policy() if loaded.cache else None,
                rules=loaded.rules,
                hooks=hooks,
                notes=notes,
            )


def run(
    workflow: Workflow | str | Path,
    *,
    overrides: Sequence[str] = (),
    fleet: FleetName | FleetSpec | Fleet | None = None,
    address: str | None = None,
    new: bool = False,
    retry_failed: bool = False,
    drivers: int | None = None,
    hooks: Hooks | None = None,
) -> RunResult:
    """Run a workflow to its end; the same call resumes one that was stopped.

    Args:
        workflow: a workflow, the path of a workflow file, or the name of a library workflow.
        overrides: dotted settings, for example ``questions.limit=100``.
        fleet: ``local``, ``ray`` or a fleet of your own; by default what the workflow says.
        address: of the Ray cluster.
        new: start another run instead of going on with the one of that name.
        retry_failed: repeat the sessions that hold provider failures or timeouts.
        drivers: processes that share the run out among them; one by default.
        hooks: what to hear on the way.

    Raises:
        Mistake: something in the workflow or its data is wrong; the message is one line.
    """
    return asyncio.run(
        run_async(
            workflow,
            overrides=overrides,
            fleet=fleet,
            address=address,
            new=new,
            retry_failed=retry_failed,
            drivers=drivers,
            hooks=hooks,
        )
    )


async def compare_async(
    protocols: Sequence[str | Protocol | Mapping[str, Any]],
    questions: str | Path | Mapping[str, Any],
    roster: Mapping[str, Any] | None = None,
    *,
    cast: Mapping[str, Any] | None = None,
    casts: Mapping[str, Any] | None = None,
    hooks: Hooks | None = None,
    **settings: Any,
) -> RunResult:
    """Run protocols on the same questions; see :func:`compare`."""
    from orchestrator.rebuild import stored_kind

    entries: list[dict[str, Any]] = []
    for protocol in [protocols] if isinstance(protocols, str) else protocols:
        if isinstance(protocol, Protocol):
            entries.append({"kind": stored_kind(protocol), **protocol.parameters()})
        elif isinstance(protocol, str):
            entries.append({"kind": protocol})
        else:
            entries.append(dict(protocol))
    data: dict[str, Any] = {
        "questions": dict(questions)
        if isinstance(questions, Mapping)
        else {"path": str(questions)},
        "protocols": entries,
        "experts": dict(roster or {}),
        "cast": dict(cast or {}),
        "casts": dict(casts or {}),
        **settings,
    }
    if isinstance(data.get("profile"), str | Path):
        data["profile"] = {"path": str(data["profile"])}
    workflow = Workflow.from_mapping(data, where="compare")
    return await run_async(workflow, hooks=hooks)


def compare(
    protocols: Sequence[str | Protocol | Mapping[str, Any]],
    questions: str | Path | Mapping[str, Any],
    roster: Mapping[str, Any] | None = None,
    *,
    cast: Mapping[str, Any] | None = None,
    casts: Mapping[str, Any] | None = None,
    hooks: Hooks | None = None,
    **settings: Any,
) -> RunResult:
    """Run protocols on the same questions with the same experts and return their table.

    Args:
        protocols: kinds, protocol objects, or mappings as in a workflow file.
        questions: a file, or a mapping as in a workflow file.
        roster: experts by label, as in a workflow file; recorded answers bring their own.
        cast: role -> expert.
        casts: role -> experts, a grid: every protocol is run with every combination. Sessions that
            differ only in the judge share their tape up to the judge's first turn.
        hooks: what to hear on the way.
        settings: further keys of a workflow file: ``profile``, ``pool``, ``store``, ``seed``...

    Raises:
        Mistake: one line for what is wrong.
    """
    return asyncio.run(
        compare_async(protocols, questions, roster, cast=cast, casts=casts, hooks=hooks, **settings)
    )


def compare_runs(store: str, names: Sequence[str]) -> dict[str, tuple[Row, ...]]:
    """Return the tables of finished runs by name.

    Raises:
        Mistake: there is no such store or run.
    """
    from orchestrator.store import Store
    from workflows.comparing.results import run_rows

    with Store.read(store) as opened:
        found = [find_run(opened, name) for name in names]
        return {run.name: tuple(run_rows(opened, run)) for run in found}


def replay(
    run: str | int,
    *,
    store: str = "moot.db",
    sessions: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ReplayReport:
    """Rebuild every session of a run from the store, without a model call, and compare.

    Args:
        run: name or id.
        store: a file of SQLite, or a database URL; it is not written.
        sessions: ids of the sessions to replay; all by default.
        on_progress: hears (sessions done, sessions in all).

    Raises:
        Mistake: there is no such store, run or session.
    """
    from orchestrator.replay import replay as replay_run
    from orchestrator.store import Store

    with Store.read(store) as opened:
        found = find_run(opened, str(run))
        return replay_run(opened, found.id, sessions=sessions, on_progress=on_progress)


async def replay_async(
    run: str | int,
    *,
    store: str = "moot.db",
    sessions: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ReplayReport:
    """Replay in a thread, so that the event loop goes on; see :func:`replay`."""
    return await asyncio.to_thread(
        replay, run, store=store, sessions=sessions, on_progress=on_progress
    )


def find_run(store: Store, name: str) -> RunRow:
    """Return a run by name, id or unique beginning of its name.

    Raises:
        Mistake: there is none; the message lists those that there are.
    """
    found = store.find_run(name)
    if found is None:
        names = [run.name for run in store.runs()][-5:]
        known = f"it holds {', '.join(names)}" if names else "it holds none yet"
        raise Mistake(f"{store.shown}: no run {name!r}; {known}")
    return found


def _ended_figures(progress: Progress) -> dict[str, Any]:
    """Return the figures of a whole call, as its last event tells them."""
    return {
        "sessions": progress.sessions,
        "sessions_done": progress.sessions_done,
        "asks": progress.asks_done,
        "failed": progress.replies_failed,
        "paid": round(progress.paid, 6),
        "seconds": round(progress.elapsed_s, 3),
    }


async def finish(
    store: Store,
    prepared: Prepared,
    spec: RunSpec,
    where: Where,
    *,
    url: str,
    budget: Budget | None,
    cache: CachePolicy | None = None,
    rules: Rules | None = None,
    hooks: Hooks,
    notes: tuple[str, ...],
) -> RunResult:
    """Drive a prepared run to its end and return its table.

    Args:
        store: where the run is.
        prepared: the run.
        spec: the same run.
        where: its experts and its drivers.
        url: the store's address, as another process needs it.
        budget: what the run may spend; None: as much as it takes.
        cache: what may be taken from the response cache; None: nothing.
        rules: of its endpoints; by default those of a workflow that says nothing.
        hooks: what to hear on the way.
        notes: go into the result.
    """
    from workflows.comparing.results import answer_key, run_rows
    from workflows.simulated import simulated_in

    with first_and_last(hooks.events, store, prepared) as told:
        ended = await drive(
            *(store, url, prepared, spec, where),
            budget=budget or Budget(),
            cache=cache,
            rules=rules or Rules(),
            hooks=hooks,
        )
        left = store.session_counts(prepared.run_id).get("pending", 0)  # others may work on it too
        progress = replace(ended.progress, sessions_done=prepared.sessions - left)
        told.update(ending=ended.ending, **_ended_figures(progress))
    row = next(run for run in store.runs() if run.id == prepared.run_id)
    return RunResult(
        run_id=prepared.run_id,
        name=prepared.name,
        store=store.shown,
        ending=ended.ending,
        resumed=prepared.resumed,
        difference=prepared.difference,
        progress=progress,
        rows=tuple(run_rows(store, row)),
        notes=notes,
        clusters=answer_key(row).clusters,
        simulated=simulated_in(row),
        spent=store.spent(prepared.run_id),
        reached=ended.reached,
        address=store.address,
    )
