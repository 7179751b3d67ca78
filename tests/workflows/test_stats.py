from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols.outcome import Outcome
from workflows.comparing import findings
from workflows.comparing.table import Row, Scored, protocol_row
from workflows.questions.answer_key import AnswerKey
from workflows.statistics.intervals import SCORES
from workflows.statistics.paired import mean_interval, paired_difference, sign_flip_p, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (231, 400)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(k: int, n: int, level: float) -> None:
    expected = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson(k, n, level) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_holds_the_proportion(n: int, share: float) -> None:
    low, high = wilson(min(share * n, n), n)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


def test_wilson_takes_halves_and_nothing() -> None:
    assert wilson(2, 10).low < wilson(2.5, 10).low < wilson(3, 10).low
    assert wilson(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="cannot be"):
        wilson(11, 10)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (12, 3), (1, 9), (20, 0)])
def test_sign_flip_on_single_questions_is_exact_mcnemar(wins: int, losses: int) -> None:
    n = wins + losses
    expected = stats.binomtest(wins, n).pvalue if n else 1.0
    assert sign_flip_p([1.0] * wins + [-1.0] * losses + [0.0] * 30) == pytest.approx(
        expected, abs=1e-9
    )


@given(st.lists(st.sampled_from([-1, -0.5, -1 / 3, 0, 0.2, 0.7, 1]), max_size=9))
def test_sign_flip_counts_all_sign_patterns(differences: list[float]) -> None:
    observed = abs(sum(differences))
    patterns = list(itertools.product((1, -1), repeat=len(differences)))
    hits = sum(
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= observed - 1e-9
        for signs in patterns
    )
    assert sign_flip_p(differences) == pytest.approx(hits / len(patterns), abs=1e-9)


def test_sign_flip_of_many_is_drawn_seeded_and_near_exact() -> None:
    differences = [1.0] * 40 + [-1.0] * 22
    expected = stats.binomtest(40, 62).pvalue
    found = sign_flip_p(differences, seed=3)
    assert found == sign_flip_p(differences, seed=3)
    assert found == pytest.approx(expected, abs=0.004)
    assert sign_flip_p([1.0] * 400) == pytest.approx(1 / 100_001)  # never zero


def test_few_clusters_take_t() -> None:
    values = [0.1, -0.4, 1.0, 0.5, 0.25]
    interval, method = mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert method == "t"
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("values", [[], [0.4]])
def test_one_cluster_has_no_interval(values: list[float]) -> None:
    assert mean_interval(values) == ((-1.0, 1.0), "none")


def test_bootstrap_is_seeded_and_scipys_but_for_its_draws() -> None:
    generator = np.random.default_rng(7)
    values = list(generator.choice([-1.0, -0.5, 0.0, 0.25, 1.0], size=200))
    interval, method = mean_interval(values, seed=5)
    assert method == "bootstrap"
    assert mean_interval(values, seed=5)[0] == interval
    assert mean_interval(values, seed=6)[0] != interval
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=generator
    ).confidence_interval
    assert interval == pytest.approx((expected.low, expected.high), abs=0.01)


def test_a_t_interval_is_cut_to_what_can_be() -> None:
    assert mean_interval([1.0, -1.0, 1.0])[0] == (-1.0, 1.0)
    wide = stats.ttest_1samp([1.0, -1.0, 1.0], 0).confidence_interval(0.95)
    assert mean_interval([1.0, -1.0, 1.0], limit=math.inf)[0] == pytest.approx(
        (wide.low, wide.high), abs=1e-9
    )
    first, second = {"a": 1.0, "b": 0.0, "c": 1.0}, {"a": 0.0, "b": 1.0, "c": 0.0}
    story = {q: q for q in first} | {"a2": "a"}
    rows = [
        Row(n, "protocol", 3, 1, 0.5, 0, 1, 3, 0, 0, values=v)
        for n, v in (("x", {**first, "a2": 0.5}), ("y", {**second, "a2": 0.5}))
    ]
    (pair,) = findings.compare_rows([(row.name, row) for row in rows], story)
    assert -1.0 <= pair.difference.interval.low <= pair.difference.interval.high <= 1.0
    assert pair.could_show is None  # more than can be


def test_bootstrap_of_a_constant_is_a_point() -> None:
    assert mean_interval([0.25] * 50)[0] == pytest.approx((0.25, 0.25), abs=1e-12)


def test_paired_difference_counts_clusters_not_questions() -> None:
    first = {f"q{i}": 1.0 for i in range(6)}
    second = {**first, "q0": 0.0, "q1": 0.0, "q2": 0.0, "q3": 0.0}
    clusters = {f"q{i}": "story" if i < 4 else f"s{i}" for i in range(6)}
    by_cluster = paired_difference(first, second, clusters)
    assert (by_cluster.clusters, by_cluster.questions) == (3, 6)
    assert by_cluster.mean == pytest.approx(1 / 3)
    assert by_cluster.p_value == 1.0  # one story differs: nothing is shown
    assert by_cluster.discordance == pytest.approx(4 / 6)
    alone = paired_difference(first, second)
    assert alone.mean == pytest.approx(4 / 6)
    assert alone.p_value == pytest.approx(0.125)


def test_missing_values_leave_their_cluster_out_and_widen_the_bounds() -> None:
    first = {"a": 1.0, "b": 1.0, "c": None, "d": 0.0}
    second = {"a": 0.0, "b": None, "c": 1.0}
    found = paired_difference(first, second, {"a": "x", "b": "y", "c": "z", "d": "x"})
    assert (found.questions, found.clusters, found.missing) == (0, 0, 4)
    assert (found.mean, found.p_value, found.method) == (0.0, 1.0, "none")
    # Story x holds +1 and (0 or -1), story y +1 or 0, story z 0 or -1.
    assert found.bounds == pytest.approx((-1 / 3, 0.5))


def test_no_question_at_all() -> None:
    found = paired_difference({}, {})
    assert (found.clusters, found.mean, found.bounds) == (0, 0.0, (0.0, 0.0))


def test_a_difference_hangs_on_its_seed_alone() -> None:
    first = {f"q{i}": float(i % 3 == 0) for i in range(90)}
    second = {f"q{i}": float(i % 7 == 0) for i in range(90)}
    found = paired_difference(first, second, seed=1)
    reordered = {q: first[q] for q in sorted(first, reverse=True)}
    assert paired_difference(reordered, second, seed=1) == found
    others = {paired_difference(first, second, seed=seed).interval for seed in range(2, 8)}
    assert others - {found.interval}
    assert found.interval.low < found.mean < found.interval.high


def test_scores_are_compared_by_their_means() -> None:
    generator = np.random.default_rng(4)
    first = {f"q{i}": float(v) for i, v in enumerate(generator.normal(3, 2, 25))}
    second = {q: v - 1.5 + float(generator.normal(0, 0.5)) for q, v in first.items()}
    found = paired_difference(first, second, limits=SCORES)
    each = np.array([first[q] - second[q] for q in sorted(first)])
    expected = stats.ttest_1samp(each, 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(each.mean(), abs=1e-9)
    assert found.interval == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.bounds == pytest.approx((found.mean, found.mean))
    unknown = paired_difference({**first, "q0": None}, second, limits=SCORES)
    assert unknown.bounds == (-math.inf, math.inf)
    assert paired_difference({"q": 7.0}, {"q": 9.5}, limits=SCORES).interval == SCORES


@pytest.mark.parametrize("value", [1.5, -0.1, math.nan, math.inf])
def test_what_cannot_be_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"'q' is .* which cannot be"):
        paired_difference({"q": value}, {"q": 1.0})
    if not math.isfinite(value):
        with pytest.raises(ValueError, match="cannot be"):
            paired_difference({"q": 1.0}, {"q": value}, limits=SCORES)


def test_two_orders_of_a_question_are_one_observation() -> None:
    """Five questions that differ in both orders: ten observations would have been a verdict."""
    gold = {f"q{i}": "A" for i in range(12)}
    key = AnswerKey(gold=gold, kinds=dict.fromkeys(gold, "choice"))

    def outcome(right: bool) -> Outcome:
        reading = (0.9, 0.1) if right else (0.2, 0.8)
        answer = "A" if right else "B"
        return Outcome(status="answered", answer=answer, rule="mean", readings=(reading, reading))

    def made(name: str, wrong: int) -> Row:
        scored = [Scored(q, outcome(place >= wrong)) for place, q in enumerate(gold)]
        return protocol_row(name, scored, key, {}, calls=24)

    rows = [("a", made("a", 0)), ("b", made("b", 5))]
    orders = [
        {f"{q}#{order}": value for q, value in row.values.items() for order in (1, 2)}
        for _, row in rows
    ]
    naive = paired_difference(orders[0], orders[1])
    assert naive.clusters == 24
    assert naive.p_value == pytest.approx(2 / 2**10)
    assert naive.p_value < 0.05
    (pair,) = findings.compare_rows(rows, {})
    assert (pair.difference.clusters, pair.difference.questions) == (12, 12)
    assert pair.difference.p_value == pytest.approx(2 / 2**5)
    assert pair.p_holm > 0.05
    assert pair.interval_holm.low <= 0.0 < pair.difference.mean
    # Counted as what they are, orders within a question, they give the same answer.
    unit = {one: one.partition("#")[0] for one in orders[0]}
    nested = paired_difference(orders[0], orders[1], unit)
    assert (nested.mean, nested.p_value) == (pair.difference.mean, pair.difference.p_value)
    assert nested.interval == pair.difference.interval
