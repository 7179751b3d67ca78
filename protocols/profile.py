"""Skill profiles: what each expert was measured to be good at.

A profile is learned on questions of its own (``agents/profiles.py``) and enters sessions as an
asset of the cast, by content hash. Source: Symbolic-MoE (arXiv 2503.05641), section 3: an
expert's score in a skill is the sum of +1 for each right and -1 for each wrong answer to the
validation questions of that skill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.question import Question

PROFILE = "profile"
"""The name under which a cast holds a profile, and the kind of such an asset."""


class SkillProfile(BaseModel):
    """Measured skills of experts, by their labels in the roster."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    skills: dict[str, dict[str, float]]
    """Expert -> skill -> sum of +1 (right) and -1 (wrong)."""
    asked: dict[str, int]
    """Expert -> questions it was measured on; missing answers are left out."""
    right: dict[str, int]
    """Expert -> how many of them it had right."""
    measured_on: str = ""
    """Which questions: a digest or a description."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for expert, right in sorted(self.right.items()):
            if not 0 <= right <= self.asked.get(expert, 0):
                raise ValueError(
                    f"{expert!r} has {right} right of {self.asked.get(expert, 0)} asked"
                )
        return self

    @cached_property
    def experts(self) -> tuple[str, ...]:
        """The experts that the profile knows, by name."""
        return tuple(sorted({*self.skills, *self.asked}))

    @cached_property
    def known_skills(self) -> tuple[str, ...]:
        """The skills that some expert was measured in, by name."""
        return tuple(sorted({skill for scores in self.skills.values() for skill in scores}))

    def skill(self, expert: str, skill: str) -> float:
        """Return the expert's score in a skill; 0 where it was not measured."""
        return self._scores(expert).get(skill, 0.0)

    def competency(self, expert: str) -> float:
        """Return the sum of the expert's scores over all skills (g of the source)."""
        return self._competencies.get(expert, 0.0)

    @cached_property
    def _competencies(self) -> dict[str, float]:
        return {expert: math.fsum(scores.values()) for expert, scores in self.skills.items()}

    def accuracy(self, expert: str) -> float | None:
        """Return the share of the expert's questions it had right; None where it had none."""
        asked = self.asked.get(expert, 0)
        return self.right.get(expert, 0) / asked if asked else None

    def ranking(self) -> tuple[str, ...]:
        """Return the experts, best accuracy first, equal ones by name, unmeasured ones last."""
        return self._ranking

    @cached_property
    def _ranking(self) -> tuple[str, ...]:
        def place(expert: str) -> tuple[float, str]:
            accuracy = self.accuracy(expert)
            return (math.inf if accuracy is None else -accuracy, expert)

        return tuple(sorted(self.experts, key=place))

    def _scores(self, expert: str) -> Mapping[str, float]:
        return self.skills.get(expert, {})

    def as_asset(self) -> Asset:
        """Return the profile as an asset of a cast."""
        return Asset(kind=PROFILE, content=self.model_dump(mode="json"))

    @classmethod
    def from_asset(cls, asset: Asset) -> SkillProfile:
        """Return the profile that an asset holds; read once per content.

        Raises:
            Mistake: the asset does not hold a skill profile.
        """
        known = _READ.get(asset.digest)
        if known is not None:
            return known
        if asset.kind != PROFILE:
            raise Mistake(f"an asset of kind {asset.kind!r} is not a skill profile; give one")
        try:
            profile = cls.model_validate(asset.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"]) or "content"
            raise Mistake(f"the skill profile cannot be read at {where}: {first['msg']}") from None
        if len(_READ) >= _MOST_READ:
            _READ.clear()
        _READ[asset.digest] = profile
        return profile


_MOST_READ = 16
_READ: dict[str, SkillProfile] = {}
# Profiles by digest, as thousands of sessions of a run read the same one.


def cast_profile(assets: Mapping[str, Asset]) -> SkillProfile | None:
    """Return the profile among a cast's assets, or None."""
    asset = assets.get(PROFILE)
    return None if asset is None else SkillProfile.from_asset(asset)


def question_skills(question: Question) -> tuple[str, ...]:
    """Return the skills a question is filed under: its category and its subject, sorted."""
    return tuple(sorted({question.category, question.subject} - {""}))
