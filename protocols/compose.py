"""Composition: sessions inside sessions.

``yield from`` runs one session inside another; :func:`ask_one` asks a single seat;
:func:`together` advances several sessions side by side, merging their turns into one, so that
their asks are outstanding at the same time.
"""

from __future__ import annotations

from typing import TypeVar

from protocols.asks import Ask
from protocols.contract import Session, Turn
from protocols.replies import Reply
from protocols.tape import Finished, step

T = TypeVar("T")


def ask_one(ask: Ask) -> Session[Reply]:
    """Ask one seat and return its reply."""
    (reply,) = yield (ask,)
    return reply


def together(*sessions: Session[T]) -> Session[tuple[T, ...]]:
    """Advance `sessions` side by side and return their results in the same order.

    Every merged turn holds the current asks of all sessions that are not over, in the order of
    the sessions; a session that is over drops out.
    """
    states: list[Turn | Finished[T]] = [step(session, None) for session in sessions]
    while True:
        waiting = [(i, state) for i, state in enumerate(states) if not isinstance(state, Finished)]
        if not waiting:
            return tuple(state.outcome for state in states if isinstance(state, Finished))
        replies = yield tuple(ask for _, asks in waiting for ask in asks)
        start = 0
        for index, asks in waiting:
            states[index] = step(sessions[index], replies[start : start + len(asks)])
            start += len(asks)
