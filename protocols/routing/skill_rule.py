"""Symbolic-MoE as a rule: the score of ``recruitment.py``, drawn or taken."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocols.chance import Rng
from protocols.profile import PROFILE
from protocols.recruitment import Variant, match_skills, score
from protocols.routing.measured import Task
from protocols.routing.rule import Rule
from protocols.routing.steps import Scores, Selection, best, drawn, scores_of


class SkillRule(Rule):
    """k draws with chances proportional to suitability times competency, or the k best.

    The step by step is in ``recruitment.py``. Reads the asset ``profile``; where there is none,
    the profile that the evidence gives.

    Price: k asks at most, as an expert drawn twice answers once. Source: Symbolic-MoE (arXiv
    2503.05641) and its code. Departures: those of ``recruitment.py``.
    """

    rule: Literal["symbolic_moe"] = "symbolic_moe"
    needs = (PROFILE,)
    usual = 3
    temperature: float = Field(default=0.5, gt=0.0, allow_inf_nan=False)
    """T of the competency and of the softmax."""
    variant: Variant = "source"
    """Weights S * G (``source``), or their softmax."""
    replacement: bool = True
    """Draw with replacement (``source``), or take the k best by weight."""

    def score(self, task: Task) -> Scores:
        """Return the weights w; only experts with S > 0 may be taken."""
        profile = task.skill_profile
        matches = match_skills(task.skills, profile.known_skills, task.similarity)
        found = score(
            profile,
            [match.known for match in matches],
            task.pool,
            temperature=self.temperature,
            variant=self.variant,
        )
        return scores_of(
            task.pool,
            found.weights,
            allowed=[weight > 0.0 for weight in found.weights],
            digits=12,
            why={
                "skills": [[match.skill, match.known] for match in matches],
                "suitability": dict(zip(task.pool, found.suitability, strict=True)),
                "competency": dict(zip(task.pool, found.competency, strict=True)),
            },
        )

    def select(self, scores: Scores, k: int, rng: Rng) -> Selection:
        """Draw k times, or take the k best."""
        return drawn(scores, k, rng) if self.replacement else best(scores, k)
