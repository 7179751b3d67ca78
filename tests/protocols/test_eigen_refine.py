"""Anchored refinement: repair by peers, a quality gate, revisions, the vote of what passed."""

from __future__ import annotations

import pytest

from protocols.contract import CallBound
from protocols.eigen_refine import EigenRefine, read_quality
from protocols.replies import Reply
from tests.protocols.deliberating import (
    LOST,
    REFUSED,
    answered,
    first_lines,
    names,
    schedule,
    speaking,
)
from tests.protocols.examples import CHOICE, PROFILED, TABLE, cast_of
from tests.protocols.harness import everything_said, play

CAST = cast_of(solver=TABLE, critic=("dee",))
SEATS = ["solver", "solver_1", "solver_2"]


def scores(logic, correctness, explanation):
    return Reply(
        f"Step two is odd.\nLogic: {logic}\nCorrectness: {correctness}\nExplanation: {explanation}"
    )


GOOD, BAD = scores(4, 4, 4), scores(5, 2, 5)  # 4.0 and 3.2


def gated(*assessments, **seats):
    """The critic says one after the other; the seats as in `speaking`."""
    given = {**dict.fromkeys(SEATS, "A"), **seats}
    return speaking(critic=[*assessments], **given)


def test_the_quality_by_hand():
    assert read_quality("Logic: 5\nCorrectness: 2\nExplanation: 1") == pytest.approx(2.4)
    assert read_quality("Logic: 3\nCorrectness: 3\nExplanation: 3") == 3.0
    assert read_quality("**Logic:** 4/5\nCorrectness: 2.5\nExplanation: 0") == pytest.approx(2.3)


@pytest.mark.parametrize(
    "text",
    ["", "Logic: 3\nCorrectness: 3", "Logic: 6\nCorrectness: 3\nExplanation: 3",
     "Logic: -1\nCorrectness: 3\nExplanation: 3", "Logic: 3\nCorrectness: 60%\nExplanation: 3",
     "> Logic: 3\n> Correctness: 3\n> Explanation: 3", "Logic: x\nCorrectness: 3\nExplanation: 3"],
)  # fmt: skip
def test_what_is_no_quality_is_not_read(text):
    assert read_quality(text) is None


def test_who_sees_what():
    given = gated(GOOD, scores(2, 2, 2), GOOD, GOOD, solver=["A", "B"], solver_1=["C", "C", "B"])
    played = play(EigenRefine(), CHOICE, CAST, given)
    assert schedule(played) == [SEATS, SEATS, ["critic"] * 3, ["solver_1"], ["critic"]]
    first, repair, assess, revise, _ = (asks[0] for asks in played.asks_by_turn)
    assert names(first) == ["question", "options", "task"]
    others = ["theirs", "answer"] * 2
    assert names(repair) == [
        *("question", "options", "heard", "yours", "answer", *others, "repair", "task"),
    ]
    assert first_lines(repair) == [f"words-of-{seat}-in-0." for seat in SEATS]
    assert names(assess) == ["question", "options", "solution", "answer", "quality_task"]
    assert first_lines(assess) == ["words-of-solver-in-1."]
    assert names(revise) == [
        *("question", "options", "heard", "yours", "answer"),
        *("assessed", "assessment", "revise", "task"),
    ]
    assert first_lines(revise, "assessment") == ["Step two is odd."]
    outcome = played.outcome
    assert (outcome.answer, outcome.votes) == ("B", {"A": 1, "B": 2})
    assert outcome.rule == "gated_plurality"
    assert outcome.detail["gate"] == "passed"
    assert outcome.detail["passed"] == ["ada", "bob", "cy"]
    assert outcome.detail["quality"] == {"ada": 4.0, "bob": 4.0, "cy": 4.0}
    assert outcome.detail["first_plurality"] == "A"


def test_only_what_passes_votes():
    given = gated(scores(1, 1, 1), scores(1, 1, 1), GOOD, solver_2="C")
    outcome = play(EigenRefine(revisions=0), CHOICE, CAST, given).outcome
    assert (outcome.answer, outcome.votes) == ("C", {"C": 1})
    assert outcome.detail["passed"] == ["cy"]


def test_the_threshold_itself_passes():
    given = gated(scores(3, 3, 3))
    assert len(play(EigenRefine(), CHOICE, CAST, given).asks) == 9
    assert len(play(EigenRefine(threshold=3.01), CHOICE, CAST, given).asks) == 9 + 2 * 6


def test_where_nobody_passes_all_vote_and_it_is_said():
    given = gated(scores(0, 0, 0), solver_2="C")
    outcome = play(EigenRefine(), CHOICE, CAST, given).outcome
    assert (outcome.answer, outcome.votes) == ("A", {"A": 2, "C": 1})
    assert (outcome.detail["gate"], outcome.detail["passed"]) == ("nobody passed", [])


@pytest.mark.parametrize(("critic", "unparsed"), [(LOST, 0), (Reply("Nice."), 3)])
def test_without_a_quality_nothing_passes_and_nothing_is_revised(critic, unparsed):
    played = play(EigenRefine(), CHOICE, CAST, gated(critic))
    assert len(played.asks) == 9
    assert (played.outcome.answer, played.outcome.unparsed) == ("A", unparsed)
    assert played.outcome.detail["quality"] == {"ada": None, "bob": None, "cy": None}


def test_a_lost_revision_leaves_the_answer_and_a_refused_one_leaves_none():
    low = scores(1, 1, 1)
    lost = gated(low, GOOD, GOOD, solver=["A", "B", LOST])
    outcome = play(EigenRefine(revisions=1), CHOICE, CAST, lost).outcome
    assert outcome.detail["quality"]["ada"] == 1.0
    assert outcome.detail["rounds"][-1]["answers"]["ada"] == "B"
    refused = gated(low, GOOD, GOOD, solver=["A", "B", REFUSED])
    outcome = play(EigenRefine(revisions=1), CHOICE, CAST, refused).outcome
    assert outcome.detail["quality"]["ada"] is None
    assert outcome.detail["rounds"][-1]["answers"]["ada"] is None
    assert outcome.failures == {"refused": 1}


def test_a_tie_goes_by_the_profile_else_by_seat():
    given = gated(GOOD, solver="A", solver_1="B", solver_2="C")
    assert play(EigenRefine(), CHOICE, CAST, given).outcome.answer == "A"
    backwards = cast_of(solver=("cy", "bob", "ada"), critic=("dee",), assets=PROFILED)
    given = gated(GOOD, solver="A", solver_1="B", solver_2="C")
    outcome = play(EigenRefine(), CHOICE, backwards, given).outcome
    assert (outcome.answer, outcome.tie_rule, outcome.tie_broken) == ("C", "best_expert", True)


def test_silence_ends_it_and_secrets_stay():
    played = play(EigenRefine(), CHOICE, CAST, lambda ask: REFUSED)
    assert (len(played.asks), played.outcome.boundary) == (3, "refused")
    given = gated(GOOD, solver=[LOST, "A"])
    assert "SECRET" not in everything_said(play(EigenRefine(), CHOICE, CAST, given).asks)


def test_calls():
    assert EigenRefine().calls(CHOICE, CAST) == CallBound(3, 9 + 12)
    one = cast_of(solver=("ada",), critic=("ada",))
    refine = EigenRefine(agents=4, revisions=1)
    assert refine.calls(CHOICE, one) == CallBound(4, 12 + 8)

    def never(ask):
        return scores(0, 0, 0) if ask.seat.role == "critic" else answered(ask, "A")

    assert len(play(refine, CHOICE, one, never).asks) == 20
