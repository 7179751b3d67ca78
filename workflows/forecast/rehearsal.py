"""Rehearsals: a session with made-up replies, to see what a protocol does before anybody is asked.

The replies are plausible and differ from seat to seat (answers, scores, confidences in the form
that the prompt asks for), so that nothing ends early by agreement. Used for the diagrams of
``docs/protocols.md`` and to find out whether a cast with teams can play at all.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agents.offline_hearing import listen
from orchestrator.spec import Wanted
from protocols.asks import Ask
from protocols.cast import Cast
from protocols.contract import Protocol, Turn, session_rng
from protocols.errors import Mistake, MootError
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.replies import Reply
from protocols.tape import Finished, Live, advance
from protocols.teams import start_session

_LINES = {
    "confidence": "Confidence: 8",
    "score": "Score: 6",
    "verdict": "Verdict: open",
    "decision": "Decision: continue",
    "end": "End: no",
    "belief": "Belief: A 0.60, B 0.40",
    "add": "Add: 1 -> 3",
    "cut": "Cut: 1 -> 2",
}
_SHORT = 200
_ANSWERS = {"number": ("42", "17", "9"), "text": ("one thing", "another", "a third")}


class Rehearsal(NamedTuple):
    """What was asked, turn by turn, and how it ended."""

    turns: tuple[Turn, ...]
    outcome: Outcome


def rehearse(
    protocol: Protocol, question: Question, cast: Cast, *, seed: int = 0, repeat: int = 0
) -> Rehearsal:
    """Play a session with made-up replies.

    Raises:
        Mistake: question, cast and parameters do not fit together.
    """
    rng = session_rng(question, seed=seed, repeat=repeat)
    live = Live(start_session(protocol, question, cast, rng))
    turns: list[Turn] = []
    current = advance(live, None)
    while not isinstance(current, Finished):
        turns.append(current)
        replies = [_reply(ask, question, number) for number, ask in enumerate(current)]
        current = advance(live, tuple(replies))
    return Rehearsal(tuple(turns), current.outcome)


def rehearse_session(wanted: Wanted) -> Rehearsal:
    """Play a session of a run with made-up replies.

    Raises:
        Mistake: question, cast and parameters do not fit together, or a user's own protocol fails.
    """
    entry = wanted.entry
    try:
        return rehearse(
            entry.protocol, wanted.question, entry.cast, seed=wanted.seed, repeat=wanted.repeat
        )
    except MootError:
        raise
    except Exception as error:
        raise Mistake(
            f"{entry.name} cannot be rehearsed on question {wanted.question.id}: {error}"
        ) from error


def _reply(ask: Ask, question: Question, number: int) -> Reply:
    """Return a reply with every line that the prompt asks for, the answer last."""
    heard = listen(ask)
    passage = question.passage or ""
    content = passage if len(passage) <= _SHORT else ""  # a revision must keep it to stand
    lines = [f"Made-up words, number {number + 1}. {content}"]
    lines += [text for want, text in _LINES.items() if want in heard.wants]
    lines += [re.sub(r"(?<=[: ])[0-9]+", "6", form) for form in heard.forms]
    answers = heard.labels or question.labels or _ANSWERS.get(question.kind, ("A", "B"))
    lines.append(f"Answer: {answers[number % len(answers)]}")
    assert ask.place is not None
    return Reply("\n".join(lines)).at(ask.place)
