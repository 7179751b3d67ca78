"""Agreement of orders, experts and runs: by hand, and what is missing told."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols.outcome import Outcome
from workflows.comparing.table import Scored, protocol_row
from workflows.questions.answer_key import AnswerKey
from workflows.statistics.agreement import agreement_lines, expert_entropy, run_spread


@given(st.lists(st.lists(st.sampled_from([*"abc", None]), max_size=6), max_size=10))
def test_entropy_between_experts_is_scipys(drawn) -> None:
    found = expert_entropy({str(place): given for place, given in enumerate(drawn)})
    read = [[a for a in given if a is not None] for given in drawn]
    several = [given for given in read if len(given) > 1]
    assert (found.questions, found.left_out) == (len(several), len(drawn) - len(several))
    assert found.unread == sum(map(len, drawn)) - sum(map(len, read))
    if not several:
        assert found.bits is None
        return
    bits = [stats.entropy([given.count(a) for a in "abc"], base=2) for given in several]
    assert found.bits == pytest.approx(statistics.fmean(bits), abs=1e-9)


def test_runs_spread() -> None:
    runs: list[dict[str, float | None]] = [
        {"a": 1.0, "b": 0.0, "c": 1.0, "d": None},
        {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0},
        {"a": 1.0, "b": 0.0, "c": 1.0},
    ]
    found = run_spread(runs)
    assert found.accuracies == pytest.approx((2 / 3, 1.0, 2 / 3))
    assert found.mean == pytest.approx(7 / 9)
    assert found.deviation == pytest.approx(statistics.stdev([2 / 3, 1, 2 / 3]))
    assert (found.questions, found.left_out) == (3, 1)
    assert found.changing == pytest.approx(1 / 3)
    one = run_spread([{"a": None}])
    assert (one.accuracies, one.mean, one.deviation, one.changing) == ((None,), None, None, None)
    assert run_spread([]).questions == 0


def ended(answer: str, **answers: str | None) -> Outcome:
    detail = {"answers": answers} if answers else {}
    return Outcome(status="answered", answer=answer, rule="plurality", detail=detail)


KEY = AnswerKey.model_validate(
    {"gold": {"a": "A", "b": "A"}, "kinds": {"a": "choice", "b": "choice"}}
)


def test_a_table_tells_how_experts_and_repeats_differ() -> None:
    scored = [
        Scored("a", ended("A", x="A", y="A", z=None)),
        Scored("a", ended("B", x="A", y="B")),
        Scored("b", ended("A", x="A", y="B")),
        Scored("b", ended("A", x="A", y=None)),
    ]
    row = protocol_row("vote", scored, KEY, {}, calls=8)
    assert row.entropy is not None
    assert row.entropy.bits == pytest.approx(2 / 3)
    assert row.entropy.left_out == 1
    assert row.spread is not None
    assert (row.spread.mean, row.spread.changing) == (0.75, 0.5)
    entropy, spread = agreement_lines([row])
    assert "0.67 bits" in entropy
    assert "3 questions" in entropy
    assert "75.0 % on the average of 2 repeats" in spread
    assert "35.4 points" in spread
    assert "50.0 % change" in spread
    assert row.as_json()["spread"]["deviation"] == pytest.approx(statistics.stdev([1.0, 0.5]))


def test_without_votes_and_repeats_nothing_is_said() -> None:
    row = protocol_row("one", [Scored("a", ended("A"))], KEY, {}, calls=1)
    assert row.entropy is None
    assert row.spread is None
    assert agreement_lines([row]) == []
