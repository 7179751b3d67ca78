"""Two settings of imported NYU sessions compared, with the units that their sessions share.

Most questions were put in one setting only, so the raw difference mixes questions and judges; the
paired difference is over those that have both. Each figure stands with the unit it allows for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from workflows.nyu.figures import Judged
from workflows.statistics.paired import PairedDifference, paired_difference
from workflows.statistics.unpaired import (
    ClusteredDifference,
    Observed,
    Proportions,
    TwoWayDifference,
    clustered_difference,
    two_proportions,
    two_way_difference,
)

FIRST, SECOND = "human_debate", "human_consultancy"
UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True)
class Compared:
    """The accuracy of one setting less that of another."""

    first: str
    second: str
    n: tuple[int, int]
    """Sessions that count."""
    correct: tuple[int, int]
    proportions: Proportions
    """As if all sessions were independent, which they are not."""
    by_judge: ClusteredDifference
    """Judges resampled."""
    two_way: TwoWayDifference
    """Errors for judge and story, which are crossed."""
    questions: int
    """Questions with a session that counts in either."""
    questions_with_both: int
    over_questions: float | None
    """The mean over the questions with both of each one's difference; None without any."""
    paired: PairedDifference | None
    """The same with the story as unit: the mean over stories."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object; intervals are pairs."""
        paired = None
        if self.paired is not None:
            paired = {
                "questions": self.paired.questions,
                "mean_over_questions": self.over_questions,
                "stories": self.paired.clusters,
                "mean_over_stories": self.paired.mean,
                "interval": list(self.paired.interval),
                "method": self.paired.method,
                "p": self.paired.p_value,
            }
        return {
            "first": self.first,
            "second": self.second,
            "n": list(self.n),
            "correct": list(self.correct),
            "difference": self.proportions.difference,
            "p": self.proportions.p,
            "p_yates": self.proportions.p_yates,
            "by_judge": asdict(self.by_judge),
            "two_way": asdict(self.two_way),
            "questions": self.questions,
            "questions_with_both": self.questions_with_both,
            "paired": paired,
        }


def compare_settings(
    sessions: Sequence[Judged],
    stories: Mapping[str, str],
    first: str = FIRST,
    second: str = SECOND,
    *,
    seed: int = 0,
) -> Compared | None:
    """Compare two settings over the sessions that the published figures count.

    Args:
        sessions: of all settings.
        stories: session -> the story that it is about.
        first: the setting whose accuracy counts positively.
        second: the setting whose accuracy is taken off.
        seed: of the bootstraps and of the paired test.

    Returns:
        None where one of the settings has no session that counts.
    """
    kept = [one for one in sessions if one.counts and one.facts.setting in (first, second)]
    own = [one for one in kept if one.facts.setting == first]
    other = [one for one in kept if one.facts.setting == second]
    if not own or not other:
        return None
    observed = [
        Observed(
            float(one.correct),
            one.facts.setting == first,
            one.facts.judge or UNNAMED,
            stories.get(one.session, one.session),
        )
        for one in kept
    ]
    n, correct = (len(own), len(other)), (_right(own), _right(other))
    values, values_of_other = _by_question(own), _by_question(other)
    both = sorted(set(values) & set(values_of_other))
    story = {one.facts.question: stories.get(one.session, one.session) for one in kept}
    return Compared(
        first=first,
        second=second,
        n=n,
        correct=correct,
        proportions=two_proportions(correct[0], n[0], correct[1], n[1]),
        by_judge=clustered_difference(observed, seed=seed),
        two_way=two_way_difference(observed),
        questions=len(set(values) | set(values_of_other)),
        questions_with_both=len(both),
        over_questions=fmean(values[q] - values_of_other[q] for q in both) if both else None,
        paired=paired_difference(
            {q: values[q] for q in both}, {q: values_of_other[q] for q in both}, story, seed=seed
        )
        if both
        else None,
    )


def _right(sessions: Sequence[Judged]) -> int:
    return sum(one.correct for one in sessions)


def _by_question(sessions: Sequence[Judged]) -> dict[str, float]:
    """Return the share of each question's sessions that are right."""
    found: dict[str, list[float]] = {}
    for one in sessions:
        found.setdefault(one.facts.question, []).append(float(one.correct))
    return {question: fmean(values) for question, values in found.items()}
