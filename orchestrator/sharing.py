"""Shared tapes: sessions of one run that differ only in who judges speak the same words before.

Theory. Several judges of one debate are compared on the debate, not on several draws of it. Such
sessions make the same asks at the same places until a judge is asked for the first time, so one of
them asks, and the others take its reply over: recorded as inherited, paid nothing, at its list
price. What a session asks is still compared by key; where keys differ nothing is shared. Nothing
of this is identity and nothing more is stored: who shares with whom is read off the sessions, so a
run that was killed, or that another judge was added to, goes on with what its sessions hold.

Sessions of one question lie in one shard, hence in the hands of one driver.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from orchestrator.journal import ReplyRecord
from protocols.canonical import canonical_json
from protocols.cast import Cast
from protocols.messages import Place
from protocols.tape import Tape

if TYPE_CHECKING:
    from orchestrator.live import Pending
    from orchestrator.rebuild import Rebuilder
    from orchestrator.spec import Entry
    from orchestrator.store import SessionRow, Store

JUDGE = "judge"
Asked = tuple[Place, str]
"""Where something is asked, and the key of what."""
Group = tuple[str, str, int, int]
"""What sessions that differ only in the judge have in common."""


class SharedTape:
    """The replies that sessions of one group share."""

    __slots__ = ("__weakref__", "_known", "_last", "_waiting")

    def __init__(self, last: int | None = None) -> None:
        """Begin a tape; `last` is the first turn that asks a judge, where that is known."""
        self._known: dict[Asked, ReplyRecord] = {}
        self._waiting: dict[Asked, list[Pending]] = {}
        self._last = last

    def feed(self, session: int, tape: Tape, prices: Mapping[Place, float | None]) -> None:
        """Take note of what a session holds; failures that may be repeated are left out."""
        for place, one in tape.items():
            failure = one.reply.failure
            if self._holds(place) and not (failure is not None and failure.missing):
                record = ReplyRecord(session, place, 0, True, one.reply, prices.get(place))
                self._known.setdefault((place, one.key), record)

    def claim(self, pending: Pending) -> ReplyRecord | bool:
        """Return the reply to an ask as its session records it; else whether it is to be asked.

        An ask that is not to be asked waits for the same ask of another session.
        """
        asked = _asked(pending)
        if pending.ask.seat.role == JUDGE:
            turn = asked[0].turn
            self._last = turn if self._last is None else min(self._last, turn)
            return True
        if not self._holds(asked[0]):
            return True
        if asked in self._known:
            return _taken_over(pending, self._known[asked])
        others = self._waiting.setdefault(asked, [])
        if others and others[0] is not pending:
            others.append(pending)
            return False
        others[:] = [pending]
        return True

    def give(self, pending: Pending, record: ReplyRecord) -> list[tuple[Pending, ReplyRecord]]:
        """Take note of an accepted reply; return who waited for it, with what they record."""
        asked = _asked(pending)
        if pending.ask.seat.role == JUDGE or not self._holds(asked[0]):
            return []
        self._known[asked] = record
        waiting = [one for one in self._waiting.pop(asked, []) if one is not pending]
        return [(one, _taken_over(one, record)) for one in waiting]

    def _holds(self, place: Place) -> bool:
        return self._last is None or place.turn <= self._last


def _asked(pending: Pending) -> Asked:
    place = pending.ask.place
    assert place is not None
    return place, pending.ask.key


def _taken_over(pending: Pending, record: ReplyRecord) -> ReplyRecord:
    """Return another session's record as the session of `pending` keeps it."""
    return replace(
        record,
        session=pending.session.job.session,
        attempt=pending.attempt,
        paid_price=0.0,
        source="inherited",
        cache_key=None,
    )


def take_over(
    items: Iterable[Pending], put: Callable[[Pending, ReplyRecord], None]
) -> list[Pending]:
    """Hand to `put` what is known of asks; return those that are to be asked."""
    others: list[Pending] = []
    for pending in items:
        shared = pending.session.job.shared
        found = True if shared is None else shared.claim(pending)
        if isinstance(found, ReplyRecord):
            put(pending, found)
        elif found:
            others.append(pending)
    return others


class SharedTapes:
    """The shared tapes of some sessions of a run, made as their sessions are opened."""

    def __init__(
        self, store: Store, rebuilder: Rebuilder, run_id: int, rows: Sequence[SessionRow]
    ) -> None:
        """Find out which of `rows`, all pending sessions of some shards, share a tape."""
        self._store = store
        self._tapes: WeakValueDictionary[Group, SharedTape] = WeakValueDictionary()
        self._bases: dict[tuple[object, ...], str | None] = {}
        self._groups: dict[int, Group] = {}
        self._sessions: dict[Group, list[int]] = {}
        if all(self._base(row, rebuilder) is None for row in _kinds(rows)):
            return
        shards = sorted({row.shard for row in rows})
        over = store.sessions(run_id, statuses=("finished", "failed"), shards=shards)
        everything = [*rows, *over]
        often = Counter(self._base(row, rebuilder) for row in _kinds(everything))
        shared = {base for base, count in often.items() if base is not None and count > 1}
        members: dict[Group, list[int]] = defaultdict(list)
        for row in everything if shared else ():
            base = self._base(row, rebuilder)
            if base is not None and base in shared:
                members[base, row.question_key, row.seed, row.repeat].append(row.id)
        for group, ids in members.items():
            if len(ids) > 1:
                self._sessions[group] = ids
                self._groups.update(dict.fromkeys(ids, group))

    def of(self, rows: Sequence[SessionRow], tapes: Mapping[int, Tape]) -> dict[int, SharedTape]:
        """Return the shared tapes of sessions by id; those that share with nobody are absent.

        Args:
            rows: the sessions.
            tapes: what is recorded of them.
        """
        groups = {row.id: self._groups[row.id] for row in rows if row.id in self._groups}
        found = {g: tape for g in groups.values() if (tape := self._tapes.get(g)) is not None}
        new = [group for group in dict.fromkeys(groups.values()) if group not in found]
        others = [i for group in new for i in self._sessions[group] if i not in tapes]
        known = {**tapes, **{one.session: one.tape for one in self._store.tapes(others)}}
        begun = [i for group in new for i in self._sessions[group] if known.get(i)]
        prices = self._store.list_prices(begun) if begun else {}
        judged = first_turn_of(self._store, begun, JUDGE) if begun else {}
        for group in new:
            ids = self._sessions[group]
            tape = SharedTape(min((judged[i] for i in ids if i in judged), default=None))
            for i in ids:
                tape.feed(i, known.get(i, {}), prices.get(i, {}))
            self._tapes[group] = found[group] = tape
        return {session: found[group] for session, group in groups.items()}

    def _base(self, row: SessionRow, rebuilder: Rebuilder) -> str | None:
        """Return all of a session but its question and its judge; None where nobody judges."""
        kind = _kind(row)
        if kind not in self._bases:
            cast = rebuilder.cast(row)
            told = [*kind[:3], without_judge(cast)] if JUDGE in cast.members else None
            self._bases[kind] = None if told is None else canonical_json(told)
        return self._bases[kind]


def _kind(row: SessionRow) -> tuple[str, int, int, int]:
    return row.kind, row.version, row.parameters_part, row.cast_part


def _kinds(rows: Sequence[SessionRow]) -> list[SessionRow]:
    """Return a session of every protocol and cast."""
    return list({_kind(row): row for row in rows}.values())


def sharing_entries(entries: Sequence[Entry]) -> list[str]:
    """Return the names of the entries whose sessions share a tape with those of another one."""
    found: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        roles = [role.name for role in entry.protocol.roles()]
        if JUDGE in entry.cast.members and roles != [JUDGE]:
            told = [entry.protocol.digest(), without_judge(entry.cast)]
            found[canonical_json(told)].append(entry.name)
    return [name for names in found.values() if len(names) > 1 for name in names]


def without_judge(cast: Cast) -> dict[str, object]:
    """Return a cast as JSON, less who judges and what the judge may read."""
    data = cast.model_dump(mode="json")
    members = {role: told for role, told in data["members"].items() if role != JUDGE}
    return {**data, "members": members, "readers": sorted(cast.readers - {JUDGE})}


def first_turn_of(store: Store, session_ids: Sequence[int], role: str) -> dict[int, int]:
    """Return the first turn in which each session asks `role`; others are absent."""
    turns: dict[int, int] = {}
    for row in store.ask_rows(session_ids):
        if row["role"] == role:
            session = int(row["session"])
            turns[session] = min(turns.get(session, row["turn"]), row["turn"])
    return turns
