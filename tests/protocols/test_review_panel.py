"""Review panel: personas at once, one rebuttal, a meta-review, and who is lenient."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protocols.contract import CallBound
from protocols.replies import Reply, failed
from protocols.review_panel import PERSONAS, Persona, ReviewPanel
from tests.protocols.examples import PAPER, RATED
from tests.protocols.harness import everything_said, play
from tests.protocols.reviewers import CAST, everybody, heard

GOOD = everybody("Score: 6", "Answer: A")
NAMES = ("empiricist", "theorist", "pragmatist")


def test_summary_personas_rebuttal_meta_review():
    played = play(ReviewPanel(), PAPER, CAST, GOOD)
    assert [[ask.seat.name for ask in turn] for turn in played.asks_by_turn] == [
        ["librarian"],
        [f"reviewer_{name}" for name in NAMES],
        ["author"],
        ["chair"],
    ]
    assert [ask.seat.expert for ask in played.asks_by_turn[1]] == ["ada", "bob", "cy"]


def test_who_hears_what():
    played = play(ReviewPanel(), PAPER, CAST, GOOD)
    _, reviews, (author,), (chair,) = played.asks_by_turn
    written = ["ada_1_0", "bob_1_1", "cy_1_2"]
    assert [heard(ask) for ask in reviews] == [["lee_0_0"]] * 3
    assert heard(author) == written
    assert heard(chair) == ["lee_0_0", *written, "amy_2_0"]


def test_each_persona_has_a_view_and_nobody_else_reads_its_name():
    played = play(ReviewPanel(), PAPER, CAST, GOOD)
    for ask, persona in zip(played.asks_by_turn[1], PERSONAS, strict=True):
        assert persona.view in ask.messages[0].text
        assert sum(other.view in everything_said([ask]) for other in PERSONAS) == 1
    for turn in played.asks_by_turn[2:]:
        assert not [name for name in NAMES if name in everything_said(list(turn))]


@pytest.mark.parametrize("m", [1, 2, 5])
def test_calls(m):
    personas = tuple(Persona(name=f"p{i}", view=f"view {i}") for i in range(m))
    protocol = ReviewPanel(personas=personas)
    assert protocol.calls(PAPER, CAST) == CallBound(1 + m, m + 3)
    assert len(play(protocol, PAPER, CAST, GOOD).asks) == m + 3


def test_bias_is_the_distance_to_the_other_personas():
    given = everybody(
        "Answer: B",
        ada_1="Score: 2\nAnswer: B",
        bob_1="Score: 6\nAnswer: A",
        cy_1="Score: 7\nAnswer: B",
    )
    outcome = play(ReviewPanel(), PAPER, CAST, given).outcome
    assert (outcome.answer, outcome.score, outcome.rule) == ("B", 5.0, "chair")
    told = outcome.detail["personas"]
    assert [one["name"] for one in told] == list(NAMES)
    assert [one["score_bias"] for one in told] == [-4.5, 1.5, 3.0]
    assert [one["accept_bias"] for one in told] == [-0.5, 1.0, -0.5]
    assert [one["recommendation"] for one in told] == ["B", "A", "B"]
    assert outcome.detail["vote"] == "B"


def test_bias_needs_others():
    alone = ReviewPanel(personas=PERSONAS[:1])
    told = play(alone, PAPER, CAST, GOOD).outcome.detail["personas"]
    assert (told[0]["score_bias"], told[0]["accept_bias"]) == (None, None)


def test_nobody_stands_in_for_an_undecided_chair():
    given = everybody("Score: 6", "Answer: A", zoe_3="Well.")
    outcome = play(ReviewPanel(), PAPER, CAST, given).outcome
    assert (outcome.status, outcome.unparsed, outcome.detail["vote"]) == ("unparsed", 1, "A")
    given = everybody("Score: 6", "Answer: A", zoe_3=failed("timeout", ""))
    assert play(ReviewPanel(), PAPER, CAST, given).outcome.missing


def test_unread_and_lost_reviews_are_counted_and_the_others_go_on():
    given = everybody("Score: 6", "Answer: A", ada_1="Hm.", bob_1=failed("refused", ""))
    played = play(ReviewPanel(), PAPER, CAST, given)
    assert heard(played.asks_by_turn[2][0]) == ["ada_1_0", "cy_1_2"]
    outcome = played.outcome
    assert (outcome.answer, outcome.score) == ("A", 6.0)
    assert (outcome.unparsed, outcome.failures) == (1, {"refused": 1})
    assert [one["recommendation"] for one in outcome.detail["personas"]] == [None, None, "A"]


@pytest.mark.parametrize(
    ("nothing", "status"),
    [
        (failed("provider", ""), "failed"),
        (failed("refused", ""), "failed"),
        (Reply(""), "unparsed"),
    ],
)
def test_without_any_review_nobody_answers_or_decides(nothing, status):
    given = everybody("Answer: A", ada_1=nothing, bob_1=nothing, cy_1=nothing)
    played = play(ReviewPanel(), PAPER, CAST, given)
    assert len(played.asks) == 4
    assert played.outcome.status == status
    assert played.outcome.missing == (nothing.failure is not None and nothing.failure.missing)


def test_a_lost_summary_and_a_lost_rebuttal_are_told_as_such():
    lost = failed("timeout", "")
    given = everybody("Score: 6", "Answer: A", lee_0=lost, amy_2=lost)
    played = play(ReviewPanel(), PAPER, CAST, given)
    assert everything_said([played.asks[-1]]).count("(nothing was said)") == 2
    assert (played.outcome.answer, played.outcome.failures) == ("A", {"timeout": 2})


def test_a_split_panel_says_who_would_win_and_the_chair_decides():
    given = everybody("Answer: B", ada_1="Answer: A", bob_1="Answer: B", cy_1="Hm.")
    outcome = play(ReviewPanel(), PAPER, CAST, given).outcome
    assert (outcome.detail["vote"], outcome.answer) == ("A", "B")


def test_a_number_may_be_asked_for():
    outcome = play(ReviewPanel(), RATED, CAST, everybody("Score: 6", "Answer: 7")).outcome
    assert outcome.answer == "7"
    assert {one["accept_bias"] for one in outcome.detail["personas"]} == {None}


def test_personas_differ_and_have_plain_names():
    with pytest.raises(ValidationError, match="different names"):
        ReviewPanel(personas=(PERSONAS[0], PERSONAS[0]))
    with pytest.raises(ValidationError):
        Persona(name="Big Name", view="x")
    with pytest.raises(ValidationError):
        ReviewPanel(personas=())
