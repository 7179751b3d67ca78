"""Agreement of experts with each other, and of a protocol with itself from run to run.

Pure functions over plain mappings by question. What both orders of a judge agree on stands in
``judges/figures.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from workflows.comparing.wording import counted_of
from workflows.statistics.intervals import mean_outcome

if TYPE_CHECKING:
    from workflows.comparing.table import Row


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


def agreement_lines(rows: Sequence[Row]) -> list[str]:
    """Say how far experts differed in a vote, and protocols from repeat to repeat."""
    said = []
    for row in rows:
        entropy, spread = row.entropy, row.spread
        if entropy is not None and entropy.bits is not None:
            over = counted_of(entropy.questions, "question")
            said.append(
                f"{row.name}: a question's experts differ in their answers by "
                f"{entropy.bits:.2f} bits on the average (entropy; {over} with two readable "
                "answers or more)"
            )
        if spread is not None and spread.mean is not None and spread.deviation is not None:
            changing = "" if spread.changing is None else f", {100 * spread.changing:.1f} % change"
            said.append(
                f"{row.name}: {100 * spread.mean:.1f} % on the average of "
                f"{counted_of(len(spread.accuracies), 'repeat')}, with a standard deviation of "
                f"{100 * spread.deviation:.1f} points; of "
                f"{counted_of(spread.questions, 'question')} complete in all{changing or ' none'}"
            )
    return said
