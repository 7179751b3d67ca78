"""Agreement of readings with each other: both orders, several experts, several runs.

Pure functions over plain mappings by question, so that anything that was chosen can be handed in.
A choice is the place of an option in the question's own order, whatever was shown first; None is no
choice (a tie, or nothing readable). Questions that are missing altogether are not in the mappings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from statistics import fmean, stdev

from workflows.intervals import MeanOutcome, mean_outcome

EVEN = 1e-6
"""Probabilities this close are equal."""

BothOrders = tuple[int | None, int | None]
"""What was chosen with the options in their own order, and with the two swapped."""


@dataclass(frozen=True, slots=True)
class RunSpread:
    """How much the same protocol's accuracy differs from run to run."""

    accuracies: tuple[float | None, ...]
    """Of every run; None where all is missing."""
    mean: float | None
    deviation: float | None
    """Standard deviation over runs; None with fewer than two."""
    questions: int
    """Questions with an outcome in every run."""
    changing: float | None
    """The share of these whose outcome is not the same in all runs."""
    left_out: int
    """Questions that are missing in a run; they do not count for `changing`."""


@dataclass(frozen=True, slots=True)
class ExpertEntropy:
    """How much experts differ in their answers."""

    bits: float | None
    """Mean over questions of the entropy of the answers given; 0 where all agree."""
    questions: int
    """Questions with at least two readable answers."""
    left_out: int
    unread: int
    """Answers that could not be read; they do not count."""


def choice(reading: Sequence[float]) -> int | None:
    """Return the place of the likeliest option; None where several are, or none is given."""
    top = max(reading, default=0.0)
    likeliest = [place for place, value in enumerate(reading) if value >= top - EVEN]
    return likeliest[0] if len(likeliest) == 1 else None


def flip_rate(
    choices: Mapping[str, BothOrders], clusters: Mapping[str, str] | None = None, *, seed: int = 0
) -> MeanOutcome:
    """Return the share of questions where the choice changes when the options are swapped.

    Questions without a choice in one of the orders are missing: not told, so neither flipped nor
    kept; the bounds say what they could be.
    """
    return mean_outcome(
        {q: None if None in pair else float(pair[0] != pair[1]) for q, pair in choices.items()},
        clusters,
        seed=seed,
    )


def right_in_both(
    choices: Mapping[str, BothOrders],
    right: Mapping[str, int],
    clusters: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
) -> MeanOutcome:
    """Return the share of questions where the right option is chosen in both orders.

    No choice is not right. A question whose right option is not known is missing.
    """
    return mean_outcome(
        {
            q: float(pair == (right[q], right[q])) if q in right else None
            for q, pair in choices.items()
        },
        clusters,
        seed=seed,
    )


def first_position_share(
    choices: Mapping[str, BothOrders], clusters: Mapping[str, str] | None = None, *, seed: int = 0
) -> MeanOutcome:
    """Return the share of choices between two options that fall on the one shown first.

    Both orders of a question are one observation, their mean: without a preference for a position
    it is a half, however easy the questions are. A question without a choice in one of the orders
    is missing, as one order alone would mix the preference with which option is better.

    Raises:
        ValueError: a choice is not one of two options.
    """
    values: dict[str, float | None] = {}
    for question, pair in choices.items():
        if any(one not in (0, 1, None) for one in pair):
            raise ValueError(f"{question!r}: {pair} are no choices between two options")
        values[question] = None if None in pair else ((pair[0] == 0) + (pair[1] == 1)) / 2
    return mean_outcome(values, clusters, seed=seed)


def expert_entropy(answers: Mapping[str, Sequence[Hashable | None]]) -> ExpertEntropy:
    """Return the entropy between experts, in bits.

    Args:
        answers: question -> the canonical answer of every expert; None could not be read.
    """
    found = []
    for given in answers.values():
        counts = Counter(answer for answer in given if answer is not None)
        total = counts.total()
        if total > 1:
            found.append(sum(n / total * log2(total / n) for n in counts.values()))
    return ExpertEntropy(
        bits=fmean(found) if found else None,
        questions=len(found),
        left_out=len(answers) - len(found),
        unread=sum(answer is None for given in answers.values() for answer in given),
    )


def run_spread(runs: Sequence[Mapping[str, float | None]]) -> RunSpread:
    """Return how much runs of one protocol differ.

    Args:
        runs: of each, question -> outcome; None or no entry is missing.
    """
    accuracies = [mean_outcome(run).mean for run in runs]
    told = [accuracy for accuracy in accuracies if accuracy is not None]
    asked = {question for run in runs for question in run}
    outcomes = [[run.get(question) for run in runs] for question in sorted(asked)]
    complete = [values for values in outcomes if None not in values]
    return RunSpread(
        accuracies=tuple(accuracies),
        mean=fmean(told) if told else None,
        deviation=stdev(told) if len(told) > 1 else None,
        questions=len(complete),
        changing=fmean(len(set(values)) > 1 for values in complete) if complete else None,
        left_out=len(outcomes) - len(complete),
    )
