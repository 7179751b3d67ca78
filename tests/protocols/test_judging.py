"""The judge's turn: both orders, ties, and orders that are lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.asks import Ask
from protocols.debate import Debate
from protocols.replies import Reply, failed
from tests.protocols.debating import CAST, always, for_option, judged_by
from tests.protocols.examples import PAIR
from tests.protocols.harness import play


@pytest.mark.parametrize(
    ("judge", "status", "answer", "distribution"),
    [
        (for_option("The cook"), "answered", "B", (0.0, 1.0)),
        (for_option("The miller"), "answered", "A", (1.0, 0.0)),
        (always("Answer: A"), "tied", None, (0.5, 0.5)),
        (always("Answer: B"), "tied", None, (0.5, 0.5)),
        (always(0.9, 0.1), "tied", None, (0.5, 0.5)),
        (always(0.5, 0.5), "tied", None, (0.5, 0.5)),
    ],
    ids=["B", "A", "first", "second", "first by 0.9", "even"],
)
@pytest.mark.parametrize("tie", ["half", "wrong"])
def test_both_orders_cancel_a_favoured_position(judge, status, answer, distribution, tie):
    outcome = play(Debate(tie=tie), PAIR, CAST, judged_by(judge)).outcome
    assert (outcome.status, outcome.answer) == (status, answer)
    assert outcome.distribution == pytest.approx(distribution)
    assert len(outcome.readings) == 2
    assert (outcome.rule, outcome.tie_rule, outcome.tie_broken) == ("mean_of_orders", tie, False)
    assert outcome.unparsed == 0


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_mean_of_both_readings_in_the_questions_own_order(first, second):
    given_ = iter([(first, 1 - first), (second, 1 - second)])

    def judge(ask: Ask) -> Reply:
        return Reply("", distribution=next(given_), distribution_source="logprobs")

    outcome = play(Debate(rounds=1), PAIR, CAST, judged_by(judge)).outcome
    assert outcome.readings == ((first, 1 - first), (1 - second, second))
    assert outcome.distribution is not None
    assert outcome.distribution[0] == pytest.approx((first + 1 - second) / 2)
    assert outcome.detail["distribution_sources"] == ["logprobs", "logprobs"]


def test_one_order_is_a_single_reading():
    outcome = play(Debate(orders=1), PAIR, CAST, judged_by(always(0.3, 0.7))).outcome
    assert (outcome.answer, outcome.rule) == ("B", "single")
    assert outcome.readings == ((0.3, 0.7),)
    assert "consistent" not in outcome.detail


@pytest.mark.parametrize(
    ("replies", "status", "readings", "unparsed", "failures"),
    [
        (["I cannot tell.", "Answer: A"], "answered", ((), (0.0, 1.0)), 1, {}),
        (["I cannot tell.", "Answer: C"], "unparsed", (), 2, {}),
        ([failed("refused", "no"), "Answer: A"], "answered", ((), (0.0, 1.0)), 0, {"refused": 1}),
        ([failed("refused", "no"), "?"], "unparsed", (), 1, {"refused": 1}),
    ],
)
def test_an_order_that_cannot_be_read_keeps_its_place(
    replies, status, readings, unparsed, failures
):
    rest = iter(replies)

    def judge(ask: Ask) -> Reply:
        value = next(rest)
        return value if isinstance(value, Reply) else Reply(value)

    outcome = play(Debate(), PAIR, CAST, judged_by(judge)).outcome
    assert (outcome.status, outcome.readings, outcome.unparsed) == (status, readings, unparsed)
    assert outcome.failures == failures
    assert not outcome.missing


@pytest.mark.parametrize("boundary", ["provider", "timeout", "refused", "overlong", "malformed"])
def test_a_judge_that_fails_in_every_order_fails_the_session(boundary):
    outcome = play(
        Debate(), PAIR, CAST, judged_by(lambda ask: failed(boundary, "judge is out"))
    ).outcome
    assert (outcome.status, outcome.boundary) == ("failed", boundary)
    assert outcome.missing == (boundary in ("provider", "timeout"))
    assert outcome.failures == {boundary: 2}


@pytest.mark.parametrize("boundary", ["provider", "timeout"])
def test_a_missing_order_is_missing_data(boundary):
    rest = iter([Reply("Answer: A"), failed(boundary, "gone")])
    outcome = play(Debate(), PAIR, CAST, judged_by(lambda ask: next(rest))).outcome
    assert outcome.missing
    assert outcome.boundary == boundary
