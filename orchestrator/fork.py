"""Forks: branches of recorded sessions, of which only the later turns are paid.

The first turns of a branch are fed from its parent's tape by position; then another judge, expert
or parameter answers. *Re-judging* is a fork at the first turn that asks the judge. Repeating
failed sessions is a fork in the same run: its tape is the parent's up to the first turn that
holds a provider failure or a timeout, less the replies that failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.live import first_failed_turn
from orchestrator.provenance import code_revision, package_versions
from orchestrator.rebuild import Rebuilder, stored_kind
from orchestrator.run import Prepared, new_session
from orchestrator.sharing import first_turn_of
from orchestrator.spec import Difference, Entry, Wanted
from protocols.canonical import canonical_json, sha256_hex
from protocols.cast import Cast, Member, Team
from protocols.contract import Protocol, session_key
from protocols.errors import Mistake
from protocols.registry import make_protocol, protocol_class
from protocols.routing.group import TEAMS

if TYPE_CHECKING:
    from orchestrator.store import NewSession, RunRow, SessionRow, Store

POOL_ROLE = "solver"
"""Teams that were settled over all questions are settled anew where this role or a parameter is."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How branches differ from their parents."""

    members: Mapping[str, tuple[Member | Team, ...]]
    """Roles that are cast anew."""
    parameters: Mapping[str, object]
    """Parameters of the protocol that are set anew."""

    def cast(self, cast: Cast) -> Cast:
        """Return `cast` with the changed roles."""
        changed = {role: m for role, m in self.members.items() if role in cast.members}
        return Cast(members={**cast.members, **changed}, readers=cast.readers, assets=cast.assets)

    def fit(self, kind: type[Protocol]) -> bool:
        """Whether a protocol has all the changed parameters; what has not is not branched."""
        return set(self.parameters) <= set(kind.model_fields)

    def protocol(self, protocol: Protocol) -> Protocol:
        """Return `protocol` with the changed parameters."""
        return make_protocol(stored_kind(protocol), {**protocol.parameters(), **self.parameters})


def fork_run(
    store: Store,
    parent: RunRow,
    name: str,
    changes: Changes,
    *,
    turn: int | None = None,
    config: Mapping[str, Any],
) -> Prepared:
    """Create a run whose sessions branch off those of another; ``execute`` then runs it.

    The same call again goes on with a fork that was stopped.

    Args:
        store: an open store.
        parent: the run to branch from; its finished sessions are taken.
        name: the new run's name.
        changes: what the branches do otherwise.
        turn: how many turns are inherited; by default all before the first ask of a changed role.
        config: the resolved configuration of the new run.

    Raises:
        Mistake: the name is taken, or no session of the parent can be branched.
    """
    config_json = canonical_json(dict(config))
    taken = next((run for run in store.runs() if run.name == name), None)
    if taken is not None:
        if taken.parent != parent.id or taken.config_hash != sha256_hex(config_json):
            raise Mistake(f"there is another run called {name!r}; give the fork a --name")
        present = store.sessions(taken.id)
        if present:  # else an earlier call died before it stored them
            done = sum(row.is_over for row in present)
            kept = tuple(row.id for row in present)
            difference = Difference(kept, (), (), (), ())
            return Prepared(taken.id, name, True, difference, len(present), done)
    finished = store.sessions(parent.id, statuses=("finished",))
    rows = [row for row in finished if changes.fit(protocol_class(row.kind))]
    turns = _fork_turns(store, rows, changes, turn)
    chosen = [row for row in rows if row.id in turns]
    if not chosen:
        raise Mistake(_nothing_to_branch(parent.name, changes))
    branches = _branches(store, chosen, changes)
    run_id = taken.id if taken else _create_run(store, parent, name, config_json)
    store.add_sessions(
        run_id,
        [
            replace(new_session(wanted, ordinal), parent=row.id, fork_turn=turns[row.id])
            for ordinal, (row, wanted) in enumerate(branches)
        ],
    )
    added = tuple(wanted for _, wanted in branches)
    difference = Difference((), (), added, (), ())
    return Prepared(run_id, name, taken is not None, difference, len(added), 0)


def _nothing_to_branch(name: str, changes: Changes) -> str:
    start = f"run {name!r} has no finished session"
    if changes.members:
        start += f" that asks a role {' or '.join(sorted(changes.members))!r}"
    if changes.parameters:
        start += f" with the parameters {', '.join(sorted(changes.parameters))}"
    return f"{start} to branch off; `moot show` lists what it has"


def _create_run(store: Store, parent: RunRow, name: str, config_json: str) -> int:
    from orchestrator.store import NewRun

    return store.create_run(
        NewRun(
            name=name,
            config_json=config_json,
            config_hash=sha256_hex(config_json),
            code_revision=code_revision(),
            packages=package_versions(),
            parent=parent.id,
            answer_key_json=parent.answer_key_json,
        )
    )


def retry_failed(store: Store, run_id: int) -> int:
    """Fork the sessions of a run that hold provider failures or timeouts; `execute` runs them.

    The branch takes its parent's place in the run and inherits all that did not fail, up to the
    first turn that holds a failure.

    Returns:
        How many sessions are repeated.
    """
    rows = store.sessions(run_id, statuses=("finished",))
    tapes = store.tapes([row.id for row in rows])
    turns = {loaded.session: first_failed_turn(loaded.tape) for loaded in tapes}
    chosen = [row for row in rows if turns[row.id] is not None]
    first = 1 + max((row.ordinal for row in store.sessions(run_id)), default=-1)
    again: list[NewSession] = []
    for row, wanted in _branches(store, chosen, Changes({}, {})):
        key = sha256_hex(canonical_json(["retry", row.id, row.key]))
        session = new_session(replace(wanted, key=key), first + len(again))
        again.append(replace(session, parent=row.id, fork_turn=turns[row.id]))
    store.add_sessions(run_id, again)
    store.set_session_status([row.id for row in chosen], "superseded")
    return len(again)


def _fork_turns(
    store: Store, rows: Sequence[SessionRow], changes: Changes, turn: int | None
) -> dict[int, int]:
    """Return how many turns each branch inherits; sessions without a branch are absent."""
    ids = [row.id for row in rows]
    if turn is not None:
        return {row.id: turn for row in rows}
    if not changes.members:  # a changed parameter may change the first ask already
        return {row.id: 0 for row in rows}
    turns: dict[int, int] = {}
    for role in sorted(changes.members):
        for session, first in first_turn_of(store, ids, role).items():
            turns[session] = min(turns.get(session, first), first)
    return turns


def _branches(
    store: Store, rows: Sequence[SessionRow], changes: Changes
) -> list[tuple[SessionRow, Wanted]]:
    """Return each session with its branch."""
    rebuilder = Rebuilder(store)
    rebuilder.preload(rows)
    branches = [(row, _branch(row, rebuilder, changes)) for row in rows]
    anew = changes.parameters or POOL_ROLE in changes.members
    return _with_teams(branches) if anew else branches


def _with_teams(branches: list[tuple[SessionRow, Wanted]]) -> list[tuple[SessionRow, Wanted]]:
    """Settle anew, by the new parameters, the teams that are settled over all questions."""
    together: dict[tuple[str, str, str, int], list[int]] = {}
    for place, (_, wanted) in enumerate(branches):
        entry = wanted.entry
        if TEAMS in entry.protocol.assets():
            same = (entry.name, entry.protocol.digest(), entry.cast.digest, wanted.seed)
            together.setdefault(same, []).append(place)
    for places in together.values():
        from protocols.grouping import with_teams

        first = branches[places[0]][1]
        questions = {branches[i][1].question.id: branches[i][1].question for i in places}
        protocol = first.entry.protocol
        cast = with_teams(protocol, list(questions.values()), first.entry.cast, first.seed)
        entry = Entry(first.entry.name, protocol, cast)
        for i in places:
            row, old = branches[i]
            key = session_key(
                protocol.digest(), old.question, cast, seed=old.seed, repeat=old.repeat
            )
            branches[i] = row, replace(old, key=key, entry=entry)
    return branches


def _branch(row: SessionRow, rebuilder: Rebuilder, changes: Changes) -> Wanted:
    protocol = changes.protocol(rebuilder.protocol(row))
    question = rebuilder.question(row)
    cast = changes.cast(rebuilder.cast(row))
    key = session_key(protocol.digest(), question, cast, seed=row.seed, repeat=row.repeat)
    return Wanted(key, Entry(row.entry, protocol, cast), question, row.seed, row.repeat)
