"""PGR, APGR and CPT by hand, and where there is no gap to recover."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.recruiting.strong_weak import (
    Sent,
    StrongWeak,
    area,
    first_share,
    recovered,
    strong_weak,
)


def figures(
    strong: str, weak: str, scores: list[float] | None = None, bar: float = 0.5
) -> StrongWeak | None:
    """Figures of a router; `strong` and `weak` hold one flag a question."""
    ids = [f"q{n:03}" for n in range(len(strong))]
    found = scores or [1 - n / len(ids) for n in range(len(ids))]
    singles = {
        "S": {q: flag == "1" for q, flag in zip(ids, strong, strict=True) if flag != "-"},
        "W": {q: flag == "1" for q, flag in zip(ids, weak, strict=True) if flag != "-"},
    }
    sent = [Sent(q, score, score >= bar) for q, score in zip(ids, found, strict=True)]
    return strong_weak("router", ("S", "W"), sent, singles)


def test_a_curve_by_hand() -> None:
    """Gap 2 of 4: the first question recovers half of it, the second costs it, two more win."""
    ids = ["a", "b", "c", "d", "e"]
    strong = {"a": True, "b": False, "c": True, "d": True, "e": True}
    weak = {"a": False, "b": True, "c": False, "d": False, "e": True}
    curve = recovered(ids, strong, weak)
    assert curve == [0.0, 0.5, 0.0, 0.5, 1.0, 1.0]
    assert first_share(curve, 0.5) == 0.2
    assert first_share(curve, 0.8) == 0.8
    places = [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5]  # of 0, 0.1, ... 1, rounded to even
    assert area(curve) == pytest.approx(
        sum((curve[a] + curve[b]) / 2 for a, b in pairwise(places)) / 10
    )


def test_a_perfect_router_recovers_the_gap_at_once() -> None:
    found = figures("1" * 40 + "0" * 60, "0" * 100)
    assert found is not None
    assert (found.strong_accuracy, found.weak_accuracy, found.n) == (0.4, 0.0, 100)
    assert (found.cpt_50, found.cpt_80) == (0.2, 0.32)
    assert found.strong_share == pytest.approx(0.51)
    assert found.pgr == 1.0
    assert found.apgr == pytest.approx((0 / 2 + 0.25 + 0.5 + 0.75 + 6 + 1 / 2 + 0) / 10)


def test_a_router_that_learned_nothing_recovers_half_of_it() -> None:
    found = figures("10" * 50, "00" * 50)
    assert found is not None
    assert found.apgr == pytest.approx(0.5, abs=0.02)
    assert found.cpt_50 == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("strong", "weak"),
    [("10" * 20, "01" * 20), ("1" * 20, "1" * 20), ("0" * 40, "1" * 40)],
    ids=["not shown to be one", "none", "the weak one is better"],
)
def test_without_a_gap_nothing_is_recovered(strong: str, weak: str) -> None:
    found = figures(strong, weak)
    assert found is not None
    assert (found.pgr, found.apgr, found.cpt_50, found.cpt_80) == (None, None, None, None)


def test_only_questions_with_both_answers_count() -> None:
    found = figures("11-1", "0-00")
    assert found is not None
    assert found.n == 2
    assert figures("----", "1111") is None
    assert figures("", "") is None


def test_equal_scores_go_by_question() -> None:
    first = figures("1" * 20 + "0" * 20, "0" * 40, [0.5] * 40)
    assert first is not None
    assert first.cpt_50 == 0.25
    assert first == figures("1" * 20 + "0" * 20, "0" * 40, [0.5] * 40)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_a_curve_begins_at_0_and_ends_at_1(flags: list[tuple[bool, bool]]) -> None:
    ids = [str(n) for n in range(len(flags))]
    strong = {q: flag[0] for q, flag in zip(ids, flags, strict=True)}
    weak = {q: flag[1] for q, flag in zip(ids, flags, strict=True)}
    if sum(strong.values()) <= sum(weak.values()):
        return
    curve = recovered(ids, strong, weak)
    assert (curve[0], curve[-1]) == (0.0, 1.0)
    assert 0.0 < first_share(curve, 0.5) <= first_share(curve, 0.8) <= 1.0
