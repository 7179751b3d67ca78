"""Rank and fuse: comparisons in pairs, the mean of L - L^T, and the best K fused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.contract import CallBound
from protocols.rank_and_fuse import LIMIT, RankAndFuse, pair_scores, ranked, read_preference
from protocols.replies import Reply
from tests.protocols.deliberating import LOST, REFUSED, answered, names, said_to, schedule
from tests.protocols.examples import CHOICE, TABLE, cast_of
from tests.protocols.harness import play, says

CAST = cast_of(solver=TABLE, comparer=("dee",), aggregator=("zoe",))
L = [[0, 1.2, -0.3], [-1, 0, 0.4], [0.5, -0.2, 0]]


def by_strength(strength, **given):
    """Solvers answer A, B, C...; the comparer prefers the seat that is stronger."""

    def answer(ask):
        role = ask.seat.role
        if ask.seat.name in given:
            return given[ask.seat.name]
        if role == "comparer":
            one, two = (text.split("\n")[0] for text in said_to(ask))
            logit = strength[one.split("-")[2]] - strength[two.split("-")[2]]
            p = 1 / (1 + math.exp(-logit))
            return says("Hm.", distribution=(p, 1 - p), distribution_source="logprobs")
        if role == "aggregator":
            return answered(ask, "D")
        return answered(ask, "ABC"[int(ask.seat.name[7:] or 0)])

    return answer


STRENGTH = {"solver": 0.0, "solver_1": 1.0, "solver_2": 2.0}


def test_the_worked_example_of_the_scores():
    preferences = {(i, j): L[i][j] for i in range(3) for j in range(3) if i != j}
    scores = pair_scores(range(3), preferences)
    assert [round(scores[i], 6) for i in range(3)] == [0.466667, -0.533333, 0.066667]
    assert ranked(scores) == [0, 2, 1]


def test_candidates_are_compared_in_both_orders_and_the_best_are_fused():
    played = play(RankAndFuse(top=2), CHOICE, CAST, by_strength(STRENGTH))
    assert schedule(played) == [
        ["solver", "solver_1", "solver_2"],
        ["comparer"] * 6,
        ["aggregator"],
    ]
    comparison, final = played.asks[3], played.asks[-1]
    reading = ["candidate", "answer", "candidate", "answer", "compare"]
    assert names(comparison) == ["question", "options", *reading]
    assert comparison.options == ("1", "2")
    shown = [text.split("\n")[1] for text in said_to(final)]
    assert shown == ["words-of-solver_2-in-0.", "words-of-solver_1-in-0."]  # best first
    outcome = played.outcome
    assert (outcome.answer, outcome.rule, outcome.votes) == ("D", "rank_and_fuse", {})
    assert outcome.detail["ranking"] == ["solver_2", "solver_1", "solver"]
    assert outcome.detail["scores"] == pytest.approx({"solver": -2, "solver_1": 0, "solver_2": 2})
    assert (outcome.detail["best"], outcome.detail["vote"]) == ("C", "A")


@pytest.mark.parametrize("seed", range(4))
def test_one_order_of_each_pair_is_drawn_and_counts_for_both(seed):
    protocol = RankAndFuse(orders=1)
    played = play(protocol, CHOICE, CAST, by_strength(STRENGTH), seed=seed)
    assert len(played.asks) == 3 + 3 + 1
    assert played.outcome.detail["scores"] == pytest.approx(
        {"solver": -2, "solver_1": 0, "solver_2": 2}
    )
    firsts = [said_to(ask)[0].split("\n")[0] for ask in played.asks_by_turn[1]]
    again = play(protocol, CHOICE, CAST, by_strength(STRENGTH), seed=seed)
    assert firsts == [said_to(ask)[0].split("\n")[0] for ask in again.asks_by_turn[1]]


def test_a_liking_for_the_first_place_cancels_out_in_both_orders():
    def biased(ask):
        if ask.seat.role == "comparer":
            return Reply("Answer: 1")
        return answered(ask, "A")

    outcome = play(RankAndFuse(), CHOICE, CAST, biased).outcome
    assert set(outcome.detail["scores"].values()) == {0.0}
    assert outcome.detail["ranking"] == ["solver", "solver_1", "solver_2"]  # equal ones by seat


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (Reply("So.\nAnswer: 1"), LIMIT),
        (Reply("Answer: **2**."), -LIMIT),
        (Reply("Answer: (1)"), LIMIT),
        (Reply("Answer: A"), None),
        (Reply("Answer: 1 or 2"), None),
        (Reply("Answer: 12"), None),
        (Reply("> Answer: 1"), None),
        (Reply(""), None),
        (LOST, None),
        (Reply("Answer: 1", distribution=(0.25, 0.75)), -math.log(3)),
        (Reply("", distribution=(1.0, 0.0)), LIMIT),
        (Reply("", distribution=(1e-9, 1 - 1e-9)), -LIMIT),
        (Reply("Answer: 1", distribution=(0.5, 0.2)), None),
        (Reply("Answer: 1", distribution=(1.0,)), None),
        (Reply("Answer: 1", distribution=(1.5, -0.5)), None),
    ],
)
def test_a_preference_is_read_or_not(reply, value):
    assert read_preference(reply) == (None if value is None else pytest.approx(value))


def test_what_cannot_be_read_is_left_out_of_both_rows():
    assert pair_scores([0, 1, 2], {(0, 1): 2.0}) == {0: 2.0, 1: -2.0, 2: 0.0}
    assert pair_scores([0, 1], {(0, 1): 2.0, (1, 0): 1.0}) == {0: 0.5, 1: -0.5}
    assert pair_scores([0, 1], {}) == {0: 0.0, 1: 0.0}


@given(st.lists(st.floats(-4, 4), min_size=12, max_size=12))
def test_the_scores_of_all_candidates_sum_to_zero(values):
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    scores = pair_scores(range(4), dict(zip(pairs, values, strict=True)))
    assert math.fsum(scores.values()) == pytest.approx(0.0, abs=1e-9)


def test_comparisons_that_fail_cost_the_ranking_not_the_session():
    played = play(RankAndFuse(), CHOICE, CAST, by_strength(STRENGTH, comparer=REFUSED))
    assert played.outcome.failures == {"refused": 6}
    assert (played.outcome.answer, played.outcome.detail["scores"]["solver"]) == ("D", 0.0)
    unread = play(RankAndFuse(), CHOICE, CAST, by_strength(STRENGTH, comparer=Reply("Hm.")))
    assert (unread.outcome.unparsed, unread.outcome.answer) == (6, "D")


def test_silent_candidates_are_not_compared():
    played = play(RankAndFuse(), CHOICE, CAST, by_strength(STRENGTH, solver_1=LOST))
    assert len(played.asks) == 3 + 2 + 1
    assert played.outcome.detail["ranking"] == ["solver_2", "solver"]
    alone = by_strength(STRENGTH, solver_1=LOST, solver_2=REFUSED)
    played = play(RankAndFuse(), CHOICE, CAST, alone)
    assert (len(played.asks), played.outcome.answer) == (4, "D")
    nobody = by_strength({}, solver=REFUSED, solver_1=LOST, solver_2=REFUSED)
    played = play(RankAndFuse(), CHOICE, CAST, nobody)
    assert (len(played.asks), played.outcome.boundary) == (3, "timeout")


def test_nothing_stands_in_for_the_fusion():
    outcome = play(RankAndFuse(), CHOICE, CAST, by_strength(STRENGTH, aggregator=LOST)).outcome
    assert (outcome.status, outcome.boundary, outcome.answer) == ("failed", "timeout", None)
    assert outcome.detail["best"] == "C"


def test_calls():
    assert RankAndFuse().calls(CHOICE, CAST) == CallBound(3, 3 + 6 + 1)
    assert RankAndFuse(orders=1).calls(CHOICE, CAST) == CallBound(3, 3 + 3 + 1)
    bounds = RankAndFuse().role_calls(CHOICE, CAST)
    assert bounds["comparer"] == CallBound(0, 6)
