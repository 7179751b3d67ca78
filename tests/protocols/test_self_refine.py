"""Self-refine: answer, critique, revision."""

from __future__ import annotations

import pytest

from protocols.contract import CallBound
from protocols.replies import Reply
from protocols.self_refine import SelfRefine
from tests.protocols.deliberating import (
    LOST,
    REFUSED,
    first_lines,
    names,
    path,
    said_to,
    schedule,
    speaking,
)
from tests.protocols.examples import CHOICE, cast_of
from tests.protocols.harness import everything_said, play, says

CAST = cast_of(solver=("ada",))


def test_who_sees_what():
    played = play(SelfRefine(rounds=2), CHOICE, CAST, speaking(solver=["A", "Wrong.", "B"]))
    assert schedule(played) == [["solver"]] * 5
    first, critique, revision, *later = played.asks
    assert names(first) == ["question", "options", "task"]
    assert names(critique) == [
        *("question", "options", "heard", "yours", "answer", "critique_task"),
    ]
    assert names(revision) == [
        *("question", "options", "heard", "yours", "answer"),
        *("critique_heading", "critique", "refine", "task"),
    ]
    assert first_lines(revision) == ["words-of-solver-in-0."]
    assert [first_lines(ask) for ask in later] == [["words-of-solver-in-2."]] * 2
    assert played.outcome.answer == "B"
    assert path(played) == ["A", "B", "B"]
    assert played.outcome.detail["first_plurality"] == "A"
    assert played.outcome.rule == "last"


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_calls(rounds):
    refine = SelfRefine(rounds=rounds)
    assert refine.calls(CHOICE, CAST) == CallBound(1, 1 + 2 * rounds)
    assert len(play(refine, CHOICE, CAST, speaking(solver="A")).asks) == 1 + 2 * rounds


@pytest.mark.parametrize("nothing", [LOST, REFUSED])
def test_without_a_first_answer_the_session_failed(nothing):
    played = play(SelfRefine(), CHOICE, CAST, speaking(solver=[nothing, "A"]))
    assert len(played.asks) == 1
    assert nothing.failure
    assert played.outcome.boundary == nothing.failure.boundary
    assert played.outcome.missing == nothing.failure.missing


@pytest.mark.parametrize("nothing", [LOST, REFUSED, Reply(" \n")])
def test_a_critique_that_does_not_come_ends_its_round(nothing):
    said: list[str | Reply] = ["A", nothing, "critique", "B"]
    played = play(SelfRefine(rounds=2), CHOICE, CAST, speaking(solver=said))
    assert len(played.asks) == 4
    assert path(played) == ["A", "A", "B"]
    assert sum(played.outcome.failures.values()) == int(nothing.failed)
    assert "SECRET" not in everything_said(played.asks)


def test_a_lost_revision_leaves_the_answer_and_a_refused_one_does_not():
    lost = play(SelfRefine(rounds=1), CHOICE, CAST, speaking(solver=["A", "critique", LOST]))
    assert (lost.outcome.answer, lost.outcome.failures) == ("A", {"timeout": 1})
    refused = play(SelfRefine(rounds=2), CHOICE, CAST, speaking(solver=["A", "crit", REFUSED]))
    assert len(refused.asks) == 3
    assert (refused.outcome.status, refused.outcome.boundary) == ("failed", "refused")


def test_an_unread_revision_is_unparsed_and_never_the_earlier_answer():
    said: list[str | Reply] = ["A", "critique", says("I am not sure any more.")]
    played = play(SelfRefine(rounds=1), CHOICE, CAST, speaking(solver=said))
    assert (played.outcome.status, played.outcome.unparsed) == ("unparsed", 1)
    again = play(SelfRefine(rounds=2), CHOICE, CAST, speaking(solver=[*said, "critique", "C"]))
    assert again.outcome.answer == "C"
    assert said_to(again.asks[3]) == ["I am not sure any more."]
