"""Branching off a finished run from Python: fork and rejudge, each with an async twin."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agents.roster import Roster
from orchestrator.fleets.fleet import Fleet
from orchestrator.money.ledger import Budget
from orchestrator.spec import RunSpec
from protocols.errors import Mistake
from workflows.api import Hooks, RunResult, find_run, finish
from workflows.settings.endpoints import Rules
from workflows.settings.fleets import FleetName, FleetSpec, Where
from workflows.settings.spending import check_experts, labels_in

if TYPE_CHECKING:
    from orchestrator.store import RunRow, Store


async def fork_async(
    run: str | int,
    *,
    store: str = "moot.db",
    cast: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    turn: int | None = None,
    name: str | None = None,
    fleet: FleetName | FleetSpec | Fleet = "local",
    address: str | None = None,
    budget: Budget | float | None = None,
    hooks: Hooks | None = None,
) -> RunResult:
    """Branch off a finished run; see :func:`fork`."""
    from orchestrator.fork import Changes, fork_run
    from orchestrator.run import roster_json, stored_experts, stored_roster
    from orchestrator.store import Store

    hooks = hooks or Hooks()
    if not cast and not parameters and turn is None:
        raise Mistake("nothing is to be otherwise; give --cast ROLE=EXPERT, --set or --turn")
    with Store.open(store, create=False) as opened:
        parent = find_run(opened, str(run))
        known = {**stored_experts(parent), **stored_roster(parent)}
        roster = Roster.from_mapping(
            {**known, **{e: e for e in (cast or {}).values() if e not in known}}
        )
        money = Budget(usd=budget) if isinstance(budget, int | float) else budget
        notes = _check_budget(opened, parent, roster, cast or {}, money)
        members = {role: (roster.member(expert),) for role, expert in (cast or {}).items()}
        rules = Rules.from_json(json.loads(parent.config_json))
        config = {
            **rules.as_json(),
            "fork_of": parent.name,
            "cast": dict(cast or {}),
            "parameters": dict(parameters or {}),
            "turn": turn,
            "roster": roster_json(tuple(roster.values())),
        }
        prepared = fork_run(
            opened,
            parent,
            name or f"{parent.name}-fork",
            Changes(members, dict(parameters or {})),
            turn=turn,
            config=config,
        )
        if hooks.on_prepared:
            hooks.on_prepared(prepared)
        return await finish(
            opened,
            prepared,
            RunSpec(prepared.name, (), (), tuple(roster.values())),
            Where.chosen(FleetSpec(), fleet, address),
            url=store,
            budget=money,
            rules=rules,
            hooks=hooks,
            notes=notes,
        )


def fork(
    run: str | int,
    *,
    store: str = "moot.db",
    cast: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    turn: int | None = None,
    name: str | None = None,
    fleet: FleetName | FleetSpec | Fleet = "local",
    address: str | None = None,
    budget: Budget | float | None = None,
    hooks: Hooks | None = None,
) -> RunResult:
    """Branch off the finished sessions of a run; only what comes after the branch is asked.

    Args:
        run: name or id.
        store: a file of SQLite, or a database URL.
        cast: role -> expert: a label of the run's roster, or provider/model.
        parameters: of the protocols, set anew.
        turn: how many turns are inherited; by default all before the first ask of a changed role.
        name: of the new run; by default the old one's with ``-fork``.
        fleet: ``local``, ``ray`` or a fleet of your own.
        address: of the Ray cluster.
        budget: what the branch may spend, in dollars or in full; its parent's does not count.
        hooks: what to hear on the way.

    Raises:
        Mistake: there is no such run or expert, nothing to branch off, or no price of an expert
            that a budget in dollars must count.
    """
    return asyncio.run(
        fork_async(
            run,
            store=store,
            cast=cast,
            parameters=parameters,
            turn=turn,
            name=name,
            fleet=fleet,
            address=address,
            budget=budget,
            hooks=hooks,
        )
    )


def _check_budget(
    store: Store,
    parent: RunRow,
    roster: Roster,
    cast: Mapping[str, str],
    budget: Budget | None,
) -> tuple[str, ...]:
    """Return what people should know of a branch's budget; see :func:`check_budget`."""
    from orchestrator.rebuild import Rebuilder

    if budget is None:
        return ()
    rows = {row.cast_part: row for row in store.sessions(parent.id, statuses=("finished",))}
    rebuilder = Rebuilder(store)
    asked, roles = set(cast.values()), set(cast)
    for members in [rebuilder.cast(row).members for row in rows.values()]:
        roles |= set(members)
        kept = [one for role, seated in members.items() if role not in cast for one in seated]
        asked |= {label for one in kept for label in labels_in(one)}
    asked |= {other for label in asked for other in roster[label].fallbacks if other in roster}
    return tuple(check_experts([roster[label] for label in sorted(asked)], roles, budget))


def rejudge(run: str | int, judge: str, **settings: Any) -> RunResult:
    """Let another judge decide the recorded sessions of a run; see :func:`fork`."""
    return fork(run, cast={"judge": judge}, **settings)


async def rejudge_async(run: str | int, judge: str, **settings: Any) -> RunResult:
    """Let another judge decide the recorded sessions of a run; see :func:`rejudge`."""
    return await fork_async(run, cast={"judge": judge}, **settings)
