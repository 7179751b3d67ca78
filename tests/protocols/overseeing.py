"""Casts, and speakers, judges and raters, to play oversight protocols with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.messages import find_parts
from protocols.quoting import unquoted
from protocols.replies import Reply
from tests.protocols.debating import always
from tests.protocols.examples import cast_of
from tests.protocols.harness import AnswerFn, Played

SPEAKERS = ("debater", "consultant")
CONTINUE = "Belief: A 0.60\nDecision: continue\nAnswer: A"
END = "Belief: A 0.60\nDecision: end\nAnswer: A"


def cast_for(role: str, *experts: str, **more: Any) -> Cast:
    """Return a cast with speakers who read the passage, and the judge cy."""
    return cast_of(**{"readers": (role,), role: experts or ("ada",), "judge": ("cy",), **more})


def words_of(ask: Ask) -> str:
    """A text that nobody else gives: its seat and place."""
    assert ask.place is not None
    return f"words-of-{ask.seat.name}-at-{ask.place.turn}-{ask.place.slot}."


def playing(judge: AnswerFn | str = CONTINUE, **roles: AnswerFn | str) -> Callable[[Ask], Reply]:
    """Return who answers for all roles; the others choose B or say their words."""
    given = {
        role: always(one) if isinstance(one, str) else one
        for role, one in {"judge": judge, **roles}.items()
    }

    def answer(ask: Ask) -> Reply:
        name = "questioner" if ask.seat.name == "questioner" else ask.seat.role
        told = given.get(name)
        if told is None:
            return Reply("Answer: B" if ask.options else words_of(ask))
        return told(ask)

    return answer


def seats(played: Played) -> list[list[str]]:
    """The seats that are asked, by turn."""
    return [[ask.seat.name for ask in turn] for turn in played.asks_by_turn]


def texts(ask: Ask, name: str) -> list[str]:
    """The quoted texts of all parts with a name, in reading order."""
    return [unquoted(part.text) for part in find_parts(ask.messages, name)]
