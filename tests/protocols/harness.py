"""Plays sessions in memory: the pair of a protocol and whoever answers it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.contract import CallBound, Protocol, Session, session_rng
from protocols.messages import Place
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.replies import Reply, failed, scored
from protocols.tape import Finished, Frontier, Live, Recorded, advance
from protocols.teams import staffed_calls, start_session

AnswerFn = Callable[[Ask], Reply]
Given = dict[str, str | Reply]
"""What each expert says: a label, or a whole reply."""


class Played(NamedTuple):
    """A session from start to end."""

    outcome: Outcome
    asks_by_turn: list[tuple[Ask, ...]]
    tape: dict[Place, Recorded]

    @property
    def asks(self) -> list[Ask]:
        return [ask for asks in self.asks_by_turn for ask in asks]


def start(protocol: Protocol, question: Question, cast: Cast, seed: int = 0) -> Session[Outcome]:
    return start_session(protocol, question, cast, session_rng(question, seed=seed, repeat=0))


def play(
    protocol: Protocol, question: Question, cast: Cast, answer_fn: AnswerFn, seed: int = 0
) -> Played:
    """Run a session to its end and check what holds for every session: its number of asks."""
    live = Live(start(protocol, question, cast, seed))
    played = finish(live, advance(live, None), {}, answer_fn)
    assert_within(staffed_calls(protocol, question, cast), len(played.asks))
    return played


def carry_on(frontier: Frontier[Outcome], answer_fn: AnswerFn) -> Played:
    """Run a resumed session to its end, asking only what is missing in its first turn."""
    return finish(frontier.live, frontier.asks, frontier.known, answer_fn)


def finish(
    live: Live[Outcome],
    current: tuple[Ask, ...] | Finished[Outcome],
    known: Mapping[int, Reply],
    answer_fn: AnswerFn,
) -> Played:
    turns: list[tuple[Ask, ...]] = []
    tape: dict[Place, Recorded] = {}
    while not isinstance(current, Finished):
        turns.append(current)
        replies = []
        for slot, ask in enumerate(current):
            assert ask.place is not None
            reply = known[slot] if slot in known else answer_fn(ask).at(ask.place)
            tape[ask.place] = Recorded(ask.key, reply)
            replies.append(reply)
        known = {}
        current = advance(live, tuple(replies))
    return Played(current.outcome, turns, tape)


def assert_within(bound: CallBound, asks: int) -> None:
    assert bound.fewest <= asks <= bound.most


def says(text: str, **fields: object) -> Reply:
    """Return a reply; its digest is that of its content."""
    return replace(Reply(text), **fields)  # type: ignore[arg-type]


def answers(by_expert: Given) -> AnswerFn:
    """Return an answerer that gives each expert its answer: a label, or a whole reply."""

    def answer(ask: Ask) -> Reply:
        given = by_expert[ask.seat.expert]
        return given if isinstance(given, Reply) else says(f"So.\nAnswer: {given}")

    return answer


def in_turn(*given: str | Reply) -> AnswerFn:
    """Return an answerer that hands out answers in the order of the asks."""
    rest = iter(given)

    def answer(ask: Ask) -> Reply:
        value = next(rest)
        return value if isinstance(value, Reply) else says(f"So.\nAnswer: {value}")

    return answer


def keyed_answer(ask: Ask) -> Reply:
    """Answer by the ask's key alone: any label, a failure, nonsense; the same in every process."""
    number = int(hashlib.sha256(ask.key.encode()).hexdigest()[:8], 16)
    if number % 11 == 0:
        return failed("refused", "no")
    if ask.score:
        return scored(-(number % 300) / 100)
    if number % 11 == 1:
        return Reply("I cannot tell.")
    lines = [f"Because of {number % 97}.", *_lines_asked_for(ask, number)]
    labels = ask.options or "ABCD"
    return Reply("\n".join([*lines, f"Answer: {labels[number % len(labels)]}"]))


def _lines_asked_for(ask: Ask, number: int) -> list[str]:
    """Return lines of the forms that a prompt asks for beside an answer: scores, ratings, edges."""
    score = 1 + number % 10
    parts = {part.name: part.text for message in ask.messages for part in message.parts}
    if "reflect_task" in parts:
        edges = parts["edges"].splitlines()
        return [
            f"{edge}: robustness {score}, coherence {1 + i % 9}" for i, edge in enumerate(edges)
        ]
    if "act_task" in parts:
        return [f"Cut: {1 + number % 3} -> {1 + number % 2}", f"Add: 1 -> {2 + number % 3}"]
    if "belief_task" in parts:
        decision = "continue" if number % 3 else "end"
        return [f"Belief: A 0.{10 + number % 83}", f"Decision: {decision}"]
    if "negotiate_task" in parts:
        return [f"End: {'no' if number % 3 == 0 else 'yes'}"]
    if "skills_task" in parts:
        named = ("algebra", "cell biology", "law", "logic", "moons")
        return [f"Skills: {named[number % 5]}, {named[number % 3]}, {named[number % 2]}"]
    forms = {
        "score": ["Score"],
        "rubric_task": ["Clarity", "Rigour", "Evidence"],
        "rate_task": ["First", "Second"],
        "quality_task": ["Logic", "Correctness", "Explanation"],
    }
    names = [name for part, names in forms.items() if part in parts for name in names]
    return [f"{name}: {1 + (number // 7**i) % 10}" for i, name in enumerate(names)]


def everything_said(asks: list[Ask]) -> str:
    """Return all text that was put to anybody."""
    return "\n".join(message.text for ask in asks for message in ask.messages)


def text_cases(texts: Mapping[str, str]) -> list[Any]:
    """Return texts as cases of a table, by name; very long ones are slow."""
    return [
        pytest.param(text, id=name, marks=[pytest.mark.slow] if len(text) > 100_000 else [])
        for name, text in texts.items()
    ]
