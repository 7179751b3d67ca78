"""Verdicts: rules of combination, what a tie and an unread vote are worth, swapping the answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workflows.judging import ABSENT, verdict
from workflows.judges.verdicts import (
    RULES,
    Reading,
    Verdict,
    Vote,
    combine,
    exchanged,
    score,
    score_vote,
    swapped,
    vote_of,
)

votes = st.sampled_from(["1", "2", "tie", None])
OTHER: dict[str, Vote] = {"1": "2", "2": "1", "tie": "tie"}
shares = st.integers(0, 100).map(lambda n: n / 100)


@st.composite
def verdicts(draw) -> Verdict:
    readings = []
    for order in draw(st.sampled_from([("ab",), ("ba",), ("ab", "ba"), ()])):
        vote, distribution = draw(votes), None
        if vote is not None and draw(st.booleans()):
            first = draw(shares)
            distribution = (first, 1 - first)
            vote = vote_of(distribution)
        readings.append(Reading(order, vote, distribution))
    return Verdict("j", "i", tuple(readings))


@pytest.mark.parametrize(
    ("ab", "ba", "summed", "agreed", "first", "consistent"),
    [
        ("1", "1", "1", "1", "1", True),
        ("1", "2", "tie", "tie", "1", False),
        ("2", "1", "tie", "tie", "2", False),
        ("1", "tie", "1", "tie", "1", False),
        ("tie", "2", "2", "tie", "tie", False),
        ("tie", "tie", "tie", "tie", "tie", True),
        ("1", None, "1", None, "1", None),
        (None, "2", "2", None, None, None),
        (None, None, None, None, None, None),
        ("2", ABSENT, "2", "2", "2", None),
        (ABSENT, "2", "2", "2", "2", None),
        (None, ABSENT, None, None, None, None),
        (ABSENT, ABSENT, None, None, None, None),
    ],
)
def test_combination(ab, ba, summed, agreed, first, consistent) -> None:
    one = verdict(ab, ba)
    assert combine(one, "sum") == summed
    assert combine(one, "mean") == summed  # votes without a distribution count as certain
    assert combine(one, "agree") == agreed
    assert combine(one, "first") == first
    assert one.consistent is consistent


@pytest.mark.parametrize(
    ("ab", "ba", "gold", "rule", "half", "wrong"),
    [
        ("1", "1", "1", "sum", 1.0, 1.0),
        ("1", "2", "1", "sum", 0.5, 0.0),
        ("1", "2", "1", "first", 1.0, 1.0),
        ("1", "tie", "1", "sum", 1.0, 1.0),
        ("1", "tie", "1", "agree", 0.5, 0.0),
        ("1", None, "1", "sum", 0.5, 0.5),
        ("1", None, "2", "sum", 0.0, 0.0),
        ("1", None, "1", "agree", 0.0, 0.0),
        (None, "1", "1", "first", 0.0, 0.0),
        (None, None, "1", "sum", 0.0, 0.0),
        ("1", "1", "tie", "sum", 0.0, 0.0),
        ("1", "2", "tie", "sum", 1.0, 1.0),
        (ABSENT, ABSENT, "1", "sum", None, None),
    ],
)
def test_scores(ab, ba, gold, rule, half, wrong) -> None:
    assert score(verdict(ab, ba), gold, rule) == half
    assert score(verdict(ab, ba), gold, rule, "wrong") == wrong


def test_without_ties_the_sum_is_the_mean_of_both_accuracies() -> None:
    for ab in ("1", "2", None):
        for ba in ("1", "2", None):
            wanted = ((ab == "1") + (ba == "1")) / 2
            assert score(verdict(ab, ba), "1", "sum") == wanted


def test_distributions_decide_under_the_mean() -> None:
    readings = (Reading("ab", "1", (0.9, 0.1), "logprobs"), Reading("ba", "2", (0.4, 0.6)))
    one = Verdict("j", "i", readings)
    assert combine(one, "sum") == "tie"
    assert combine(one, "mean") == "1"
    assert one.distribution == pytest.approx((0.65, 0.35))
    mixed = Verdict("j", "i", (Reading("ab", "1", (0.9, 0.1)), Reading("ba", "2")))
    assert mixed.distribution is None
    assert combine(mixed, "mean") == "2"


@pytest.mark.parametrize(
    ("distribution", "vote"),
    [((), None), ((0.5, 0.5), "tie"), ((0.6, 0.4), "1"), ((0.1 + 0.2, 0.7), "2")],
)
def test_votes_of_distributions(distribution, vote) -> None:
    assert vote_of(distribution) == vote


def test_a_vote_is_about_two_answers() -> None:
    with pytest.raises(ValueError, match="too many values"):
        vote_of((0.2, 0.3, 0.5))


@given(verdicts(), st.sampled_from(["1", "2", "tie"]), st.sampled_from(["half", "wrong"]))
def test_new_names_for_the_answers_change_nothing(one, gold, tie) -> None:
    other = swapped(one)
    assert swapped(other).votes == one.votes
    assert other.consistent is one.consistent
    assert other.both_orders is one.both_orders
    for rule in RULES:
        if rule == "first" and one.both_orders:
            continue  # which order is first is what has changed
        assert combine(other, rule) == exchanged(combine(one, rule))
        assert score(other, OTHER[gold], rule, tie) == pytest.approx(score(one, gold, rule, tie))


@given(votes, st.sampled_from(["1", "2", "tie"]))
def test_a_score_is_at_most_one_and_only_for_the_gold_answer(vote, gold) -> None:
    found = score_vote(vote, gold)
    assert (found == 1.0) is (vote == gold)
    assert score_vote(vote, gold, "wrong") in (0.0, 1.0)
