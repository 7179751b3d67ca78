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
        merged: list[Ask] = []
        for state in states:
            if not isinstance(state, Finished):
                merged += state
        if not merged:
            return tuple([state.outcome for state in states if isinstance(state, Finished)])
        replies = yield tuple(merged)
        start = 0
        for index, state in enumerate(states):
            if not isinstance(state, Finished):
                end = start + len(state)
                states[index] = step(sessions[index], replies[start:end])
                start = end
