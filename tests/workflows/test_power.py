"""Power of the exact test: against sums written out, its own inverse, and simulated runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from workflows.statistics.power import (
    MOST,
    design_effect,
    measured_design_effect,
    paired_power,
    questions_needed,
    smallest_difference,
)
from workflows.statistics.sign_flip import sign_flip_p


@pytest.mark.parametrize(
    ("n", "difference", "discordance"),
    [(100, 0.1, 0.3), (80, 0.05, 0.05), (90, 0.2, 0.5), (30, 0.3, 1.0), (12, 0.0, 0.4)],
)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_power_is_the_sum_over_all_that_can_come_out(n, difference, discordance, level) -> None:
    favour = 0.5 + difference / (2 * discordance)
    total = 0.0
    for k in range(n + 1):
        rejecting = [
            c
            for c in range(k // 2 + 1, k + 1)
            if stats.binomtest(c, k).pvalue <= (1 - level) * (1 + 1e-12)
        ]
        if rejecting:
            total += stats.binom.pmf(k, n, discordance) * stats.binom.sf(
                min(rejecting) - 1, k, favour
            )
    found = paired_power(n, difference, discordance, level=level)
    assert found == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize(("n", "discordance"), [(60, 0.4), (150, 0.25)])
def test_the_smallest_difference_is_the_root_of_the_sum(n, discordance) -> None:
    fewest = [
        min(
            (c for c in range(k // 2 + 1, k + 1) if stats.binomtest(c, k).pvalue <= 0.05),
            default=k + 1,
        )
        for k in range(n + 1)
    ]

    def missing(difference: float) -> float:
        favour = 0.5 + difference / (2 * discordance)
        k = np.arange(n + 1)
        each = stats.binom.pmf(k, n, discordance) * stats.binom.sf(np.array(fewest) - 1, k, favour)
        return float(each.sum()) - 0.8

    expected = optimize.brentq(missing, 1e-6, discordance, xtol=1e-12)
    assert smallest_difference(n, discordance) == pytest.approx(expected, abs=1e-9)


@given(st.integers(20, 3000), st.floats(0.05, 0.9))
def test_what_is_needed_is_the_inverse_of_what_can_be_seen(n, discordance) -> None:
    smallest = smallest_difference(n, discordance)
    if smallest is None:
        assert paired_power(n, discordance, discordance) < 0.8
        return
    assert paired_power(n, smallest, discordance) == pytest.approx(0.8, abs=1e-4)
    needed = questions_needed(smallest, discordance).questions
    assert needed is not None
    assert needed <= n + 3  # the power does not rise with every single question
    assert paired_power(needed, smallest, discordance) >= 0.8
    assert paired_power(needed - 1, smallest, discordance) < 0.8


@pytest.mark.parametrize(("difference", "discordance"), [(0.05, 0.2), (0.1, 0.3), (0.02, 0.1)])
def test_the_uncorrected_formula_promises_one_to_two_over_the_difference_less(
    difference, discordance
) -> None:
    z_size, z_power = stats.norm.ppf(0.975), stats.norm.ppf(0.8)

    def excess(n: float) -> float:
        spread = math.sqrt(discordance - difference**2)
        return float(difference * math.sqrt(n) - z_size * math.sqrt(discordance) - z_power * spread)

    uncorrected = optimize.brentq(excess, 1, 1e7)
    needed = questions_needed(difference, discordance).questions
    assert needed is not None
    assert 1 / difference < needed - uncorrected < 2 / difference


@pytest.mark.parametrize(("n", "discordance"), [(0, 0.2), (100, 0.0), (3, 0.1), (5, 1.0)])
def test_too_few_questions_show_nothing(n, discordance) -> None:
    assert smallest_difference(n, discordance) is None


def test_a_sentence_says_what_is_needed() -> None:
    found = questions_needed(0.05, 0.2)
    assert found.questions is not None
    assert found.sentence == (
        f"a difference of 5.0 points needs {found.questions} questions (80 % power, 20 % of the "
        "questions coming out differently)."
    )
    assert found.more_than(100) == found.questions - 100
    assert found.more_than(100_000) == 0
    shared = questions_needed(0.05, 0.2, design_effect=1.5)
    assert shared.questions == math.ceil(found.questions * 1.5)
    assert "with a design effect of 1.5 for what questions share" in shared.sentence
    never = questions_needed(0.3, 0.2)
    assert (never.questions, never.more_than(5)) == (None, None)
    assert "cannot be where only 20.0 %" in never.sentence
    assert f"needs more than {MOST:,} questions" in questions_needed(1e-4, 0.5).sentence


@pytest.mark.parametrize(
    ("difference", "discordance", "more"),
    [
        (0.0, 0.2, {}),
        (-0.1, 0.2, {}),
        (math.nan, 0.2, {}),
        (0.1, 1.2, {}),
        (0.1, 0.2, {"power": 1.0}),
        (0.1, 0.2, {"level": 0.0}),
        (0.1, 0.2, {"design_effect": 0.5}),
    ],
)
def test_what_cannot_be_is_refused(difference, discordance, more) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1|at least 1"):
        questions_needed(difference, discordance, **more)


def test_design_effects() -> None:
    assert design_effect(1, 0.7) == 1.0
    assert design_effect(4, 0.5) == 2.5
    with pytest.raises(ValueError, match="correlated by"):
        design_effect(0.5, 0.1)
    alike = {f"{s}{q}": float(s % 2) for s in range(40) for q in "abc"}
    story = {q: q[:-1] for q in alike}
    assert measured_design_effect(alike, story) == pytest.approx(3.0)
    assert measured_design_effect(alike, None) == 1.0
    assert measured_design_effect(dict.fromkeys(alike, 0.5), story) == 1.0
    assert measured_design_effect({"a": 1.0}, {}) == 1.0


def test_a_measured_design_effect_is_that_of_the_variance() -> None:
    generator = np.random.default_rng(2)
    shared = generator.normal(0, 1, 4000).repeat(5)
    values = shared + generator.normal(0, 2, shared.size)
    named = {f"q{i}": float(v) for i, v in enumerate(values)}
    story = {f"q{i}": f"s{i // 5}" for i in range(values.size)}
    # Two of one story are correlated by 1 / (1 + 4).
    assert measured_design_effect(named, story) == pytest.approx(1 + 4 * 0.2, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("difference", "discordance", "size", "correlation"),
    [(0.1, 0.3, 1, 0.0), (0.06, 0.15, 1, 0.0), (0.1, 0.3, 4, 0.25)],
    ids=["single", "rare", "clusters"],
)
def test_the_stated_power_is_reached(difference, discordance, size, correlation) -> None:
    """500 simulated comparisons with as many questions as are said to be needed."""
    effect = design_effect(size, correlation)
    questions = questions_needed(difference, discordance, design_effect=effect).questions
    assert questions is not None
    clusters = -(-questions // size)
    generator = np.random.default_rng(12)
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    found = 0
    for _ in range(500):
        own = generator.choice([1.0, -1.0, 0.0], p=shares, size=(clusters, size))
        common = generator.choice([1.0, -1.0, 0.0], p=shares, size=(clusters, 1))
        # Both of two take the common value with probability r, which is how they correlate.
        take = generator.random((clusters, size)) < math.sqrt(correlation)
        means = np.where(take, common, own).mean(axis=1)
        found += sign_flip_p(list(means)) <= 0.05
    assert found / 500 == pytest.approx(0.8, abs=0.05)
    assert found / 500 >= 0.8 - 2 * math.sqrt(0.8 * 0.2 / 500)
