"""Agreement of orders, experts and runs: by hand, and what is missing told."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workflows.agreement import (
    BothOrders,
    choice,
    expert_entropy,
    first_position_share,
    flip_rate,
    right_in_both,
    run_spread,
)
from workflows.intervals import wilson

CHOICES: dict[str, BothOrders] = {
    "steady": (0, 0),
    "first shown": (0, 1),
    "second shown": (1, 0),
    "steady too": (1, 1),
    "tied": (None, 0),
}


@pytest.mark.parametrize(
    ("reading", "place"),
    [
        ((0.7, 0.3), 0),
        ((0.2, 0.3, 0.5), 2),
        ((0.5, 0.5), None),
        ((0.5, 0.5 - 1e-9), None),
        ((), None),
    ],
)
def test_a_choice_is_the_likeliest_option(reading, place) -> None:
    assert choice(reading) == place


def test_flips_by_hand() -> None:
    found = flip_rate(CHOICES)
    assert (found.mean, found.n, found.missing) == (0.5, 4, 1)
    assert found.interval == wilson(2, 4)
    assert found.bounds == pytest.approx((2 / 5, 3 / 5))
    shared = flip_rate(CHOICES, dict.fromkeys(CHOICES, "one passage"))
    assert (shared.method, shared.interval) == ("none", (0.0, 1.0))


def test_right_in_both_orders_by_hand() -> None:
    right = dict.fromkeys(CHOICES, 0)
    found = right_in_both(CHOICES, right)
    assert found.mean == pytest.approx(1 / 5)
    assert (found.n, found.missing) == (5, 0)
    del right["steady"]
    assert right_in_both(CHOICES, right).missing == 1


def test_a_steady_judge_has_no_favourite_position() -> None:
    found = first_position_share(CHOICES)
    assert found.mean == pytest.approx(0.5)
    assert (found.n, found.missing) == (4, 1)
    assert first_position_share({"a": (0, 1), "b": (0, 1)}).mean == 1.0
    assert first_position_share({"a": (1, 0), "b": (0, 0)}).mean == 0.25
    with pytest.raises(ValueError, match="no choices between two options"):
        first_position_share({"a": (0, 2)})


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
