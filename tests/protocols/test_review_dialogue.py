"""Review dialogue: threads side by side, hidden from each other, and a chair that decides."""

from __future__ import annotations

import pytest

from protocols.contract import CallBound
from protocols.messages import find_part
from protocols.question import Question
from protocols.replies import Reply, failed
from protocols.review_dialogue import ReviewDialogue
from tests.protocols.examples import PAPER, RATED, cast_of
from tests.protocols.harness import everything_said, play
from tests.protocols.reviewers import CAST, REFEREES, everybody, heard

GOOD = everybody("Score: 6", "Answer: A")


def test_the_chair_reads_threads_run_side_by_side_and_the_chair_decides():
    played = play(ReviewDialogue(), PAPER, CAST, GOOD)
    assert [[ask.seat.name for ask in turn] for turn in played.asks_by_turn] == [
        ["chair"],
        ["reviewer", "reviewer_1", "reviewer_2"],
        ["author"] * 3,
        ["reviewer", "reviewer_1", "reviewer_2"],
        ["chair"],
    ]


def test_a_thread_is_hidden_from_the_others_and_the_chair_hears_all():
    played = play(ReviewDialogue(), PAPER, CAST, GOOD)
    _, reviews, answers, scores, (decision,) = played.asks_by_turn
    for slot, name in enumerate(REFEREES):
        assert heard(reviews[slot]) == ["zoe_0_0"]
        assert heard(answers[slot]) == [f"{name}_1_{slot}"]
        assert heard(scores[slot]) == ["zoe_0_0", f"{name}_1_{slot}", f"amy_2_{slot}"]
    threads = [(f"{n}_1_{i}", f"amy_2_{i}", f"{n}_3_{i}") for i, n in enumerate(REFEREES)]
    assert heard(decision) == ["zoe_0_0", *[one for thread in threads for one in thread]]


@pytest.mark.parametrize("readers", [("reviewer",), ("author", "chair"), ()])
def test_only_readers_see_the_manuscript(readers):
    cast = CAST.model_copy(update={"readers": frozenset(readers)})
    for ask in play(ReviewDialogue(), PAPER, cast, GOOD).asks:
        assert (find_part(ask.messages, "passage") is not None) == (ask.seat.role in readers)
        assert ("40 bridges" in everything_said([ask])) == (ask.seat.role in readers)


@pytest.mark.parametrize("m", [1, 3, 6])
def test_calls(m):
    cast = cast_of(reviewer=("ada",), author=("amy",), chair=("zoe",))
    protocol = ReviewDialogue(reviewers=m)
    assert protocol.calls(PAPER, cast) == CallBound(1 + m, 1 + 3 * m + 1)
    assert len(play(protocol, PAPER, cast, GOOD).asks) == 1 + 3 * m + 1


def test_the_chair_decides_and_the_scores_stand_beside():
    given = everybody("Answer: A", ada_3="Score: 2", bob_3="Score: 3/10", cy_3="Score: 10")
    outcome = play(ReviewDialogue(), PAPER, CAST, given).outcome
    assert (outcome.status, outcome.answer, outcome.rule) == ("answered", "A", "chair")
    assert outcome.score == 5.0
    assert outcome.detail == {
        "reviewers": list(REFEREES),
        "scores": [2.0, 3.0, 10.0],
        "parse_rate": 1.0,
    }


def test_unreadable_scores_lower_the_parse_rate_and_have_no_part_in_the_mean():
    given = everybody("Answer: B", ada_3="Score: 12", bob_3="fine", cy_3="Score: 8")
    outcome = play(ReviewDialogue(), PAPER, CAST, given).outcome
    assert (outcome.answer, outcome.score, outcome.unparsed) == ("B", 8.0, 2)
    assert outcome.detail["parse_rate"] == 0.5


def test_an_undecided_chair_is_unparsed_whatever_the_scores_say():
    outcome = play(ReviewDialogue(), PAPER, CAST, everybody("Score: 9")).outcome
    assert (outcome.status, outcome.answer, outcome.score) == ("unparsed", None, 9.0)
    assert (outcome.unparsed, outcome.detail["parse_rate"]) == (1, 0.75)


@pytest.mark.parametrize("boundary", ["provider", "refused"])
def test_without_the_chairs_decision_the_session_failed(boundary):
    given = everybody("Score: 9", zoe_4=failed(boundary, ""))
    outcome = play(ReviewDialogue(), PAPER, CAST, given).outcome
    assert (outcome.status, outcome.boundary) == ("failed", boundary)
    assert outcome.missing == (boundary == "provider")
    assert outcome.detail["scores"] == [9.0] * 3


@pytest.mark.parametrize("nothing", [failed("timeout", ""), failed("refused", ""), Reply("\n")])
def test_a_missing_review_has_no_thread(nothing):
    played = play(ReviewDialogue(), PAPER, CAST, everybody("Score: 6", "Answer: A", bob_1=nothing))
    assert [len(turn) for turn in played.asks_by_turn] == [1, 3, 2, 2, 1]
    assert not [one for one in heard(played.asks[-1]) if one.startswith("bob")]
    assert "Reviewer 3" in everything_said([played.asks[-1]])
    assert played.outcome.detail["scores"] == [6.0, None, 6.0]
    assert played.outcome.failures == ({nothing.failure.boundary: 1} if nothing.failure else {})


@pytest.mark.parametrize(
    ("nothing", "status"), [(failed("timeout", ""), "failed"), (Reply(""), "unparsed")]
)
def test_without_any_review_there_is_nothing_to_decide(nothing, status):
    given = everybody("Answer: A", ada_1=nothing, bob_1=nothing, cy_1=nothing)
    played = play(ReviewDialogue(), PAPER, CAST, given)
    assert len(played.asks) == 4
    assert (played.outcome.status, played.outcome.answer) == (status, None)


def test_a_silent_author_and_a_lost_first_reading_stop_nobody():
    lost = failed("overlong", "")
    given = everybody("Score: 6", "Answer: A", amy_2=lost, zoe_0=lost)
    played = play(ReviewDialogue(), PAPER, CAST, given)
    assert len(played.asks) == 11
    assert heard(played.asks_by_turn[1][0]) == []
    assert "(nothing was said)" in everything_said([played.asks_by_turn[3][0]])
    assert (played.outcome.answer, played.outcome.failures) == ("A", {"overlong": 4})


def test_a_lost_score_is_a_failure_and_not_unparsed():
    given = everybody("Score: 6", "Answer: A", bob_3=failed("timeout", ""))
    outcome = play(ReviewDialogue(), PAPER, CAST, given).outcome
    assert (outcome.score, outcome.unparsed, outcome.detail["parse_rate"]) == (6.0, 0, 1.0)


def test_exchanged_options_exchange_the_answer_alone():
    turned = Question(**{**PAPER.model_dump(), "options": PAPER.options[::-1]})
    own = play(ReviewDialogue(), PAPER, CAST, everybody("Score: 6", "Answer: A")).outcome
    other = play(ReviewDialogue(), turned, CAST, everybody("Score: 6", "Answer: B")).outcome
    assert (own.answer, other.answer, own.score) == ("A", "B", other.score)


def test_a_number_may_be_asked_for():
    outcome = play(ReviewDialogue(), RATED, CAST, everybody("Score: 6", "Answer: 6.50")).outcome
    assert (outcome.answer, outcome.score) == ("6.5", 6.0)
