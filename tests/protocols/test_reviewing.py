"""What all reviews share: which questions they take, scores, decisions."""

from __future__ import annotations

import pytest

from protocols.contract import Protocol
from protocols.errors import Mistake
from protocols.question import Question
from protocols.replies import Reply
from protocols.review_dialogue import ReviewDialogue
from protocols.review_panel import ReviewPanel
from protocols.review_revise import ReviewAndRevise
from protocols.reviewing import accepting, check_manuscript, mean, read_score, seat_count
from tests.protocols.examples import CHOICE, PAIR, PAPER, RATED, TEXT, cast_of
from tests.protocols.harness import play
from tests.protocols.reviewers import CAST


def asking(*options: str) -> Question:
    return Question(id="q", text="?", options=options, passage="Words.")


@pytest.mark.parametrize("protocol", [ReviewDialogue(), ReviewPanel(), ReviewAndRevise()])
@pytest.mark.parametrize("question", [CHOICE, PAIR, TEXT, PAPER.model_copy(update={"passage": ""})])
def test_a_review_takes_manuscripts_alone(protocol: Protocol, question):
    why = protocol.check_question(question)
    assert why is not None
    assert question.id in why
    with pytest.raises(Mistake, match=question.id):
        play(protocol, question, CAST, lambda _: Reply("Answer: A"))
    assert protocol.check_question(PAPER) is None
    assert protocol.check_question(RATED) is None


@pytest.mark.parametrize(
    ("options", "label"),
    [
        (("Accept", "Reject"), "A"),
        (("Reject it", "Accept it"), "B"),
        ((" accept", "REJECT"), "A"),
        (("Yes", "No"), None),
        (("Accept", "Accept too"), None),
        (("Accept", "Reject", "Revise"), None),
    ],
)
def test_which_option_accepts(options, label):
    assert accepting(asking(*options)) == label
    assert (check_manuscript(asking(*options)) is None) == (label is not None)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Score: 7", 7.0),
        ("**Score:** 7.5", 7.5),
        ("score: 7/10", 7.0),
        ("Score: 7 out of 10", 7.0),
        ("Score: 3\nScore: 8", 8.0),
        ("Score: 3\nScore: high", None),
        ("> Score: 3", None),
        ("My Score: 3", None),
        ("Score: 0", None),
        ("Score: 11", None),
        ("Score: -3", None),
        ("Score: 3-4", None),
        ("Score: 3/4", None),
        ("Score: 15/2", None),
        ("Score: 70%", None),
        ("Score: nan", None),
        ("Score: " + "9" * 1000, None),
        ("Score:", None),
        ("", None),
    ],
)
def test_reading_a_score(text, score):
    assert read_score(text) == score


def test_criteria_have_markers_of_their_own():
    assert read_score("Clarity: 4\nRigour: 9", "Clarity") == 4.0
    assert read_score("Clarity: 4\nRigour: 9", "Evidence") is None


def test_the_mean_leaves_out_what_is_unknown():
    assert mean([1.0, None, 2.0]) == 1.5
    assert mean([None]) is None
    assert mean([]) is None


def test_seats():
    assert seat_count(CAST, "reviewer", None) == 3
    assert seat_count(cast_of(reviewer=("ada",)), "reviewer", 4) == 4
    with pytest.raises(Mistake, match="reviewer"):
        seat_count(CAST, "reviewer", 4)
