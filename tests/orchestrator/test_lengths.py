"""Predicted lengths and measured pace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planner.lengths import ENOUGH, MEMORY, Lengths
from orchestrator.planner.pace import Pace
from tests.orchestrator.plan_examples import Thing


def test_before_anything_was_seen_the_prior_counts() -> None:
    lengths = Lengths(250.0)
    assert lengths.predict(Thing("a").ask) == 250.0
    assert lengths.predict(Thing("a", max_tokens=100).ask) == 100.0
    assert Lengths(0.0).predict(Thing("a").ask) == 1.0, "never nothing"


def test_lengths_are_learned_by_expert_and_role() -> None:
    lengths = Lengths()
    for tokens in (10, 20, 30, 40, 50, 60, 70, 80):
        lengths.learn(Thing("a", role="judge").ask, tokens)
    assert lengths.predict(Thing("a", role="judge").ask) == 60.0
    assert lengths.predict(Thing("b", role="judge").ask) == 60.0, "the role with another expert"
    assert lengths.predict(Thing("a", role="solver").ask) == 400.0
    for _ in range(ENOUGH):
        lengths.learn(Thing("b", role="judge").ask, 500)
    assert lengths.predict(Thing("b", role="judge").ask) == 500.0
    assert lengths.predict(Thing("a", role="judge").ask) == 60.0


def test_replies_without_tokens_teach_nothing() -> None:
    lengths = Lengths()
    for _ in range(50):
        lengths.learn(Thing("a").ask, 0)
    assert lengths.predict(Thing("a").ask) == 400.0


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=400))
def test_a_prediction_lies_among_what_was_seen_lately(seen: list[int]) -> None:
    lengths = Lengths(77.0)
    for tokens in seen:
        lengths.learn(Thing("a").ask, tokens)
    predicted = lengths.predict(Thing("a").ask)
    if len(seen) < ENOUGH:
        assert predicted == 77.0
    else:
        lately = seen[: len(seen) // ENOUGH * ENOUGH][-MEMORY:]
        assert min(lately) <= predicted <= max(lately)


def test_loads_are_measured() -> None:
    pace = Pace(load_s=10.0, loads={"c": 7.0})
    assert (pace.load_s("a"), pace.load_s("c")) == (10.0, 7.0)
    pace.learn_load("a", 2.0)
    assert pace.load_s("a") == 2.0
    assert pace.load_s("b") == 2.0, "a better guess than the prior"
    assert pace.load_s("c") == 7.0
    pace.learn_load("a", 3.0)
    assert 2.0 < pace.load_s("a") < 3.0
    pace.learn_load("b", -1.0)
    assert pace.load_s("b") == 0.0


def test_a_load_that_comes_from_host_memory_at_last_is_believed_at_once() -> None:
    pace = Pace()
    pace.learn_load("a", 12.0)  # from disk
    pace.learn_load("a", 0.2)
    assert pace.load_s("a") == 0.2
    pace.learn_load("a", 12.0)  # one that is slow again may be an exception
    assert 0.2 < pace.load_s("a") < 6.0


def test_steps_are_measured_by_expert() -> None:
    pace = Pace(step_s=0.01, step_ask_s=0.0001)
    assert pace.step_s("a", 100) == pytest.approx(0.02)
    assert pace.rate("a", 100) == pytest.approx(5_000.0)
    for _ in range(200):
        pace.learn_step("a", 100, 50, 50 * 0.04)
    assert pace.step_s("a", 100) == pytest.approx(0.04)
    assert pace.step_s("a", 0) == pytest.approx(0.02), "twice as slow, whatever runs"
    assert pace.step_s("b", 100) == pytest.approx(0.02)
    pace.learn_step("b", 100, 0, 5.0)
    pace.learn_step("b", 100, 5, 0.0)
    assert pace.step_s("b", 100) == pytest.approx(0.02), "nothing to learn from"
    assert pace.rate("b", 0) > 0.0
