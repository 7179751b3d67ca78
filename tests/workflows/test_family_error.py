"""Simulated families of comparisons: how often anything is claimed where nothing is true."""

from __future__ import annotations

from itertools import combinations
from math import sqrt

import numpy as np
import pytest

from workflows.statistics.power import questions_needed
from workflows.statistics.sequential import Decider
from workflows.statistics.sign_flip import holm, holm_adjusted, sign_flip_p

pytestmark = pytest.mark.slow

RUNS = 300
ALLOWED = 0.05 + 2 * sqrt(0.05 * 0.95 / RUNS)
"""Five in a hundred, and two standard errors of the simulation."""
PAIRS = list(combinations(range(4), 2))


def outcomes(generator: np.random.Generator, clusters: int, size: int) -> np.ndarray:
    """Outcomes of four equal protocols: (cluster, question, protocol).

    Questions of a cluster share how hard it is for each protocol, so that they are no independent
    observations of who is better.
    """
    hard = generator.normal(0, 1, (clusters, 1, 1)) + generator.normal(0, 1, (clusters, size, 1))
    # What a cluster does to one protocol and not to another is what a wrong unit takes for skill.
    suits = generator.normal(0, 1.5, (clusters, 1, 4))
    found = generator.normal(0, 1, (clusters, size, 4)) + hard + suits > 0
    return found.astype(float)


def differences(found: np.ndarray) -> list[list[float]]:
    """The mean difference of every cluster, for each of the six pairs."""
    means = found.mean(axis=1)
    return [list(means[:, a] - means[:, b]) for a, b in PAIRS]


@pytest.mark.parametrize(("clusters", "size"), [(45, 1), (16, 8)], ids=["single", "clusters"])
def test_without_a_difference_a_family_is_rarely_wrong(clusters, size) -> None:
    generator = np.random.default_rng(5)
    wrong = by_question = 0
    for run in range(RUNS):
        found = outcomes(generator, clusters, size)
        family = differences(found)
        if run < 30:  # the others agree by construction
            adjusted = holm_adjusted(family)
            rejected = [one.p <= 0.05 for one in adjusted]
            assert rejected == [not i.low <= 0 <= i.high for i in (o.interval for o in adjusted)]
        wrong += min(holm([sign_flip_p(one) for one in family])) <= 0.05
        if size > 1 and run < 60:
            single = [list((found[:, :, a] - found[:, :, b]).ravel()) for a, b in PAIRS]
            by_question += min(holm([sign_flip_p(one) for one in single])) <= 0.05
    assert wrong / RUNS <= ALLOWED
    if size > 1:  # the wrong unit is what the right one protects from
        assert by_question / 60 > 0.15


@pytest.mark.parametrize(("clusters", "size"), [(400, 1), (150, 4)], ids=["single", "clusters"])
def test_looking_after_every_cluster_is_rarely_wrong(clusters, size) -> None:
    generator = np.random.default_rng(8)
    wrong = peeking = 0
    for _ in range(RUNS):
        family = np.array(differences(outcomes(generator, clusters, size)))
        decider = Decider(PAIRS)
        for place, column in enumerate(family.T):
            told = decider.add(str(place), dict(zip(PAIRS, column.tolist(), strict=True)))
        wrong += any(told.values())
        # The same looks with a test that was made for one look: t of the mean so far, with Holm's
        # first step.
        n = np.arange(1, clusters + 1)
        sums, squares = family.cumsum(axis=1), (family**2).cumsum(axis=1)
        z = np.abs(sums) / np.sqrt(np.maximum(squares, 1e-9))
        peeking += bool((z[:, n > 30] > 2.638).any())
    assert wrong / RUNS <= ALLOWED
    assert peeking / RUNS > 0.15


def test_a_true_difference_is_decided_early_and_rightly() -> None:
    """With three times the questions of a fixed test, most runs stop long before them."""
    difference, discordance = 0.12, 0.3
    fixed = questions_needed(difference, discordance).questions
    assert fixed is not None
    generator = np.random.default_rng(3)
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    after = []
    for _ in range(100):
        drawn = generator.choice([1.0, -1.0, 0.0], p=shares, size=3 * fixed)
        decider = Decider(["pair"], planned=drawn.size)
        for place, d in enumerate(drawn.tolist()):
            if decider.add(str(place), {"pair": d})["pair"]:
                break
        (found,) = decider.standings()
        assert found.decided_after is None or found.mean > 0
        after.append(found.decided_after or 10 * fixed)
    assert np.mean(np.array(after) <= 3 * fixed) >= 0.95
    assert np.median(after) < 1.5 * fixed
