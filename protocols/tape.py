"""Tapes: the accepted replies of a session by (turn, slot), and how to run on them.

Theory. A generator cannot be pickled, so the only way to resume a session is to start it afresh
and feed it what is recorded. :func:`step` is the only place that touches ``send`` and
``StopIteration``; :func:`advance` also numbers every ask (turn, slot, occurrence).
:func:`resume` feeds a tape, comparing every ask key with the recorded one: a difference raises
:class:`~protocols.errors.ReplayDiverged`. :func:`inherit` feeds the first turns of a parent's
tape to a branch by position, where keys may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from protocols.asks import Ask
from protocols.contract import Replies, Session, Turn
from protocols.errors import ContractBroken, ForkImpossible, ReplayDiverged
from protocols.messages import Place
from protocols.replies import Reply

T = TypeVar("T")


class Recorded(NamedTuple):
    """A slot of a tape: the key that was asked and the reply that was accepted."""

    key: str
    reply: Reply


Tape = Mapping[Place, Recorded]


@dataclass(frozen=True, slots=True)
class Finished(Generic[T]):
    """The session is over."""

    outcome: T


class Live(Generic[T]):
    """A started session: the generator with its turn number and its count of equal requests."""

    __slots__ = ("generator", "occurrences", "turn")

    def __init__(self, session: Session[T]) -> None:
        self.generator = session
        self.turn = -1
        """The turn that is being asked; -1 before the first."""
        self.occurrences: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Frontier(Generic[T]):
    """Where a tape ends: a turn whose replies are not all recorded."""

    live: Live[T]
    """The session, waiting for the replies of this turn."""
    turn: int
    """The turn's number, from 0."""
    asks: Turn
    """All asks of the turn."""
    missing: tuple[int, ...]
    """The slots that have no recorded reply."""
    known: Mapping[int, Reply]
    """The recorded replies of the other slots."""


class Inherited(NamedTuple):
    """A slot of a branch that was fed from its parent's tape."""

    ask: Ask
    """What the branch asks there."""
    parent_key: str
    """What its parent had asked; equal to the ask's key unless the branch asks otherwise."""
    reply: Reply
    """The parent's accepted reply."""


def step(session: Session[T], replies: Replies | None) -> Turn | Finished[T]:
    """Send `replies` (None to start) into a generator; return its next turn as it yields it.

    Raises:
        ContractBroken: the generator yielded something that is not a non-empty tuple of asks.
    """
    try:
        asks = next(session) if replies is None else session.send(replies)
    except StopIteration as stop:
        return Finished(stop.value)
    if type(asks) is not tuple or not asks:
        raise ContractBroken(f"a protocol must yield a non-empty tuple of asks, not {asks!r:.80}")
    return asks


def advance(live: Live[T], replies: Replies | None) -> Turn | Finished[T]:
    """Send `replies` (None to start) and return the next turn, numbered, or the outcome.

    Raises:
        ContractBroken: see :func:`step`.
    """
    asks = step(live.generator, replies)
    if isinstance(asks, Finished):
        return asks
    live.turn = turn = live.turn + 1
    return tuple(
        [ask.numbered(Place(turn, slot), live.occurrences) for slot, ask in enumerate(asks)]
    )


def resume(session: Session[T], tape: Tape) -> Frontier[T] | Finished[T]:
    """Feed a tape to a fresh session, as far as it reaches.

    Returns:
        Finished when the tape holds the whole session, else the Frontier: the first turn of
        which a reply is missing.

    Raises:
        ReplayDiverged: an ask key differs from the recorded one, or the tape holds slots that
            the session does not ask.
    """
    live = Live(session)
    current = advance(live, None)
    used = 0
    while not isinstance(current, Finished):
        known: dict[int, Reply] = {}
        for slot, ask in enumerate(current):
            place = _place(ask)
            recorded = tape.get(place)
            if recorded is None:
                continue
            if recorded.key != ask.key:
                raise ReplayDiverged(
                    turn=live.turn,
                    slot=slot,
                    what="another ask",
                    expected=recorded.key,
                    found=ask.key,
                )
            known[slot] = recorded.reply.at(place)
        used += len(known)
        missing = tuple([slot for slot in range(len(current)) if slot not in known])
        if missing:
            _refuse_leftovers(tape, used, live.turn)
            return Frontier(live, live.turn, current, missing, known)
        current = advance(live, tuple(known.values()))
    _refuse_leftovers(tape, used, live.turn)
    return current


def inherit(
    session: Session[T], tape: Tape, turns: int
) -> tuple[Frontier[T] | Finished[T], tuple[Inherited, ...]]:
    """Feed the first `turns` turns of a parent's tape to a branch, by position.

    Ask keys may differ there (another expert, another prompt); all that was fed is returned. Of
    the next turn, replies on the tape whose keys are equal are taken over as known.

    Raises:
        ForkImpossible: in a fed turn the branch asks another number of slots than its parent, or
            the parent's tape lacks a reply.
    """
    live = Live(session)
    current = advance(live, None)
    fed: list[Inherited] = []
    while not isinstance(current, Finished) and live.turn < turns:
        replies = []
        for ask in current:
            recorded = tape.get(_place(ask))
            if recorded is None:
                raise ForkImpossible(
                    f"the parent has no reply at turn {live.turn}, slot {_place(ask).slot}"
                )
            replies.append(recorded.reply.at(_place(ask)))
            fed.append(Inherited(ask, recorded.key, replies[-1]))
        if Place(live.turn, len(current)) in tape:
            raise ForkImpossible(f"in turn {live.turn} the parent asked more than {len(current)}")
        current = advance(live, tuple(replies))
    if isinstance(current, Finished):
        return current, tuple(fed)
    known: dict[int, Reply] = {}
    for slot, ask in enumerate(current):
        recorded = tape.get(_place(ask))
        if recorded is not None and recorded.key == ask.key:
            known[slot] = recorded.reply.at(_place(ask))
            fed.append(Inherited(ask, recorded.key, known[slot]))
    missing = tuple([slot for slot in range(len(current)) if slot not in known])
    return Frontier(live, live.turn, current, missing, known), tuple(fed)


def _place(ask: Ask) -> Place:
    """Return the place of a numbered ask."""
    assert ask.place is not None
    return ask.place


def _refuse_leftovers(tape: Tape, used: int, turn: int) -> None:
    """Raise where the tape holds replies that the session never asked for."""
    if used == len(tape):
        return
    extra = max(tape)
    raise ReplayDiverged(
        turn=extra.turn,
        slot=extra.slot,
        what=f"a recorded reply that the session, now in turn {turn}, does not ask for",
        expected=tape[extra].key,
        found="",
    )
