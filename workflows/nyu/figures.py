"""Figures of imported NYU sessions: by setting, and whether they equal what the source recorded.

The published figures are over the sessions that are in the paper and that a live judge decided.
Correct means that the last belief in the right answer is more than a half: a tie is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from protocols.nyu_rules import judge_score
from protocols.outcome import Outcome
from protocols.question import LABELS
from workflows.questions.answer_key import RecordedFacts
from workflows.statistics.calibration import (
    Forecast,
    calibrated_ece,
    expected_calibration_error,
    mean,
)

SETTINGS = ("human_debate", "human_consultancy", "ai_debate", "ai_consultancy")
"""The order of the settings; others follow by name."""
EQUAL = 1e-6
"""Recorded and recomputed figures this close are equal."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One session with what its source tells."""

    session: str
    facts: RecordedFacts
    outcome: Outcome
    right: int | None
    """The place of the right option."""
    cost: float
    """What continuing costs the judge, in bits."""

    @property
    def decided(self) -> bool:
        """Whether a live judge decided it."""
        return self.outcome.status != "abstained"

    @property
    def counts(self) -> bool:
        """Whether the published figures count it."""
        return self.facts.in_paper and self.decided and self.right is not None

    @property
    def forecast(self) -> Forecast | None:
        """The last belief with what is right; None where either is not known."""
        if self.outcome.distribution is None or self.right is None:
            return None
        return Forecast(self.outcome.distribution, self.right)

    @property
    def correct(self) -> bool:
        """Whether the last belief in the right answer is more than a half."""
        return self.forecast is not None and round(self.forecast.p_right, 6) > 0.5

    @property
    def continues(self) -> int:
        """How often the judge continued."""
        return int(self.outcome.detail["continues"])

    @property
    def reward(self) -> float | None:
        """The judge's score in bits."""
        if self.forecast is None:
            return None
        return judge_score(self.forecast.p_right, self.continues, cost=self.cost)

    @property
    def honest(self) -> bool | None:
        """Whether the consultant argued for the right answer; None for a debate."""
        sides = self.outcome.detail.get("sides")
        if not sides or self.right is None:
            return None
        return bool(sides[0]["side"] == LABELS[self.right])


@dataclass(frozen=True, slots=True)
class Stratum:
    """The consultancies whose consultant argued for the right, or for the wrong answer."""

    n: int
    correct: int


@dataclass(frozen=True, slots=True)
class Setting:
    """The figures of one setting."""

    setting: str
    n: int
    correct: int
    accuracy: float | None
    mean_continues: float | None
    mean_reward: float | None
    """Of log2 p(correct) - 0.05 t, in bits."""
    ece: float | None
    ece_if_calibrated: float | None = None
    """What a calibrated judge with the same beliefs would show."""
    honest: Stratum | None = None
    """Of a consultancy."""
    dishonest: Stratum | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object; a debate has no strata."""
        data = asdict(self)
        if self.honest is None:
            del data["honest"], data["dishonest"]
        return data


@dataclass(frozen=True, slots=True)
class Unequal:
    """A figure of a session that is not what its source recorded."""

    session: str
    figure: str
    recorded: float | None
    recomputed: float | None


def settings_of(sessions: Sequence[Judged]) -> tuple[Setting, ...]:
    """Return the figures of every setting, also of one that the paper does not count."""
    names = {one.facts.setting for one in sessions}
    order = [name for name in SETTINGS if name in names] + sorted(names - set(SETTINGS))
    return tuple(
        _setting(name, [one for one in sessions if one.facts.setting == name]) for name in order
    )


def _setting(name: str, sessions: Sequence[Judged]) -> Setting:
    counted = [one for one in sessions if one.counts]
    correct = sum(one.correct for one in counted)
    forecasts = [one.forecast for one in counted if one.forecast is not None]
    consultancy = any(one.honest is not None for one in sessions)
    return Setting(
        setting=name,
        n=len(counted),
        correct=correct,
        accuracy=correct / len(counted) if counted else None,
        mean_continues=mean([one.continues for one in counted]),
        mean_reward=mean([one.reward for one in counted if one.reward is not None]),
        ece=expected_calibration_error(forecasts),
        ece_if_calibrated=calibrated_ece(forecasts),
        honest=_stratum(counted, True) if consultancy else None,
        dishonest=_stratum(counted, False) if consultancy else None,
    )


def _stratum(counted: Sequence[Judged], honest: bool) -> Stratum:
    found = [one for one in counted if one.honest is honest]
    return Stratum(len(found), sum(one.correct for one in found))


def unequal(one: Judged) -> Iterator[Unequal]:
    """Yield what the source recorded of a session and what is recomputed otherwise."""
    facts = one.facts
    p_right = None if one.forecast is None else one.forecast.p_right
    recorded_p = None
    if facts.final_probs is not None and one.right is not None:
        recorded_p = facts.final_probs[one.right]
    recorded: Mapping[str, float | None] = {
        "prob_correct": recorded_p,
        "correct": facts.correct,
        "num_continues": facts.continues,
        "judge_reward": facts.reward,
    }
    recomputed: Mapping[str, float | None] = {
        "prob_correct": p_right,
        "correct": one.correct if one.decided else None,
        "num_continues": one.continues if one.decided else None,
        "judge_reward": one.reward,
    }
    for figure, said in recorded.items():
        found = recomputed[figure]
        same = said == found if said is None or found is None else abs(said - found) <= EQUAL
        if not same:
            yield Unequal(one.session, figure, said, found)
