"""Peer review: solve, review one another, revise."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protocols.contract import CallBound
from protocols.messages import find_parts
from protocols.peer_review import PeerReview
from protocols.replies import Reply
from tests.protocols.deliberating import (
    LOST,
    REFUSED,
    TABLE,
    answered,
    first_lines,
    names,
    path,
    schedule,
    solvers,
    speaking,
)
from tests.protocols.examples import CHOICE
from tests.protocols.harness import everything_said, play, says

SEATS = ["solver", "solver_1", "solver_2"]
REVIEWERS = ["solver", "solver", "solver_1", "solver_1", "solver_2", "solver_2"]
AUTHORS = ["solver_1", "solver_2", "solver", "solver_2", "solver", "solver_1"]


def say_a(ask):
    return answered(ask, "A")


def seat_lines(n: int, *said: str | Reply) -> dict[str, str | list[str | Reply]]:
    return {"solver" if i == 0 else f"solver_{i}": list(said) for i in range(n)}


def test_everybody_reviews_everybody_else():
    played = play(PeerReview(), CHOICE, TABLE, say_a)
    assert schedule(played) == [SEATS, REVIEWERS, SEATS]
    for ask, author in zip(played.asks_by_turn[1], AUTHORS, strict=True):
        assert names(ask)[2:] == ["heard", "yours", "answer", "solution", "answer", "review_task"]
        assert first_lines(ask) == [f"words-of-{name}-in-0." for name in (ask.seat.name, author)]
        assert '"Confidence: X"' in everything_said([ask])


def test_a_reviser_reads_the_others_answers_and_their_reviews_of_its_own():
    def answer(ask):
        assert ask.place is not None
        if ask.place.turn == 1:
            reviewer, author = ask.seat.name, AUTHORS[ask.place.slot]
            return says(f"{reviewer} on {author}\nConfidence: 7")
        return answered(ask, "A")

    played = play(PeerReview(), CHOICE, TABLE, answer)
    for ask in played.asks_by_turn[2]:
        own = ask.seat.name
        others = [name for name in SEATS if name != own]
        assert names(ask)[2:] == [
            *("heard", "yours", "answer", "theirs", "answer", "reviewed", "review"),
            *("theirs", "answer", "reviewed", "review", "revise", "task"),
        ]
        assert first_lines(ask) == [f"words-of-{name}-in-0." for name in [own, *others]]
        assert first_lines(ask, "review") == [f"{other} on {own}" for other in others]
    assert played.outcome.detail["reviews"] == {
        "ada": {"bob": 0.7, "cy": 0.7},
        "bob": {"ada": 0.7, "cy": 0.7},
        "cy": {"ada": 0.7, "bob": 0.7},
    }


@pytest.mark.parametrize(
    ("variant", "heard"), [("sharing", ["solver_1", "solver_2"]), ("self_correction", [])]
)
def test_the_other_variants_have_no_reviews(variant, heard):
    played = play(PeerReview(variant=variant), CHOICE, TABLE, say_a)
    assert schedule(played) == [SEATS, SEATS]
    wanted = [f"words-of-{name}-in-0." for name in ["solver", *heard]]
    assert first_lines(played.asks_by_turn[1][0]) == wanted
    assert "reviews" not in played.outcome.detail


def test_all_variants_start_from_the_same_first_answers():
    variants = [
        PeerReview(variant=variant, confidence=confidence)
        for variant in ("feedback", "sharing", "self_correction")
        for confidence in (True, False)
    ]
    played = [play(variant, CHOICE, TABLE, say_a) for variant in variants]
    keys = {tuple(ask.key for ask in one.asks_by_turn[0]) for one in played}
    assert len(keys) == 1


def test_without_confidence_nobody_is_asked_for_one():
    played = play(PeerReview(confidence=False), CHOICE, TABLE, say_a)
    assert "Confidence" not in everything_said(played.asks)
    assert played.outcome.detail["reviews"]["ada"] == {"bob": None, "cy": None}


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("variant", ["feedback", "sharing", "self_correction"])
def test_calls(n, variant):
    review = PeerReview(variant=variant)
    price = n + n * n if variant == "feedback" else 2 * n
    assert review.calls(CHOICE, solvers(n)) == CallBound(n, price)
    assert len(play(review, CHOICE, solvers(n), say_a).asks) == price


def test_the_answers_before_and_after_are_told():
    def answer(ask):
        assert ask.place is not None
        first = {"solver": "A", "solver_1": "A", "solver_2": "B"}[ask.seat.name]
        return answered(ask, first if ask.place.turn == 0 else "B")

    outcome = play(PeerReview(), CHOICE, TABLE, answer).outcome
    assert (outcome.answer, outcome.votes, outcome.rule) == ("B", {"B": 3.0}, "plurality")
    assert outcome.detail["first_plurality"] == "A"
    assert [told["answer"] for told in outcome.detail["rounds"]] == ["A", "B"]
    assert outcome.unparsed == 0


@pytest.mark.parametrize("nothing", [LOST, REFUSED, Reply("")])
def test_an_answer_that_is_not_there_is_not_reviewed(nothing):
    given = seat_lines(3, "A") | {"solver_1": [nothing, "r", "r", "B"]}
    played = play(PeerReview(), CHOICE, TABLE, speaking(**given))
    assert schedule(played)[1] == ["solver", "solver_1", "solver_1", "solver_2"]
    asked = played.asks_by_turn[1][1]
    assert names(asked)[2:5] == ["heard", "yours", "silence"]
    assert played.outcome.votes == {"A": 2.0, "B": 1.0}
    assert sum(played.outcome.failures.values()) == int(nothing.failed)


@pytest.mark.parametrize("nothing", [LOST, REFUSED, Reply(" \n")])
def test_a_review_that_does_not_come_is_left_out(nothing):
    given = seat_lines(3, "A") | {"solver_2": ["B", nothing, "r", "B"]}
    played = play(PeerReview(), CHOICE, TABLE, speaking(**given))
    first, second, _ = played.asks_by_turn[2]
    assert len(find_parts(first.messages, "review")) == 1
    assert len(find_parts(second.messages, "review")) == 2
    assert "SECRET" not in everything_said(played.asks)
    assert sum(played.outcome.failures.values()) == int(nothing.failed)


def test_a_lost_revision_leaves_the_first_answer_and_a_refused_one_does_not():
    given = seat_lines(3, "A") | {
        "solver": ["B", "r", "r", LOST],
        "solver_1": ["A", "r", "r", REFUSED],
        "solver_2": ["C", "r", "r", says("Hm.")],
    }
    outcome = play(PeerReview(), CHOICE, TABLE, speaking(**given)).outcome
    assert outcome.votes == {"B": 1.0}
    assert outcome.failures == {"refused": 1, "timeout": 1}
    assert outcome.unparsed == 1


def test_it_ends_where_nobody_answers():
    answer = speaking(**seat_lines(3, REFUSED))
    played = play(PeerReview(), CHOICE, TABLE, answer)
    assert len(played.asks) == 3
    assert played.outcome.boundary == "refused"


def test_an_unread_answer_is_reviewed_and_may_become_readable():
    given = seat_lines(3, "A") | {"solver": [says("Hm."), "r", "r", "B"]}
    played = play(PeerReview(), CHOICE, TABLE, speaking(**given))
    assert len(played.asks_by_turn[1]) == 6
    assert (played.outcome.unparsed, path(played)) == (1, ["A", "A"])


def test_a_three_way_split_and_a_tie():
    split = {"solver": "C", "solver_1": "B", "solver_2": "A"}
    outcome = play(PeerReview(variant="sharing"), CHOICE, TABLE, speaking(**split)).outcome
    assert (outcome.answer, outcome.tie_broken, outcome.tie_rule) == ("C", True, "first")
    two = speaking(solver="B", solver_1="A")
    outcome = play(PeerReview(variant="sharing"), CHOICE, solvers(2), two).outcome
    assert (outcome.answer, outcome.tie_broken) == ("B", True)


@pytest.mark.parametrize("wrong", [{"variant": "other"}, {"agents": 0}, {"rounds": 2}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        PeerReview(**wrong)
