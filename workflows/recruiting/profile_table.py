"""Measured experts as lines of a table: accuracy, competency, and how good each is at what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.profile_file import Measured


@dataclass(frozen=True, slots=True)
class SkillCell:
    """An expert in a skill."""

    score: float
    """Sum of +1 for each right and -1 for each wrong answer."""
    asked: int
    """Questions of the skill that it answered."""

    @property
    def right(self) -> int:
        """How many of them it had right."""
        return round((self.asked + self.score) / 2)

    @property
    def share(self) -> float:
        """Score / asked, from -1 (all wrong) to 1 (all right); 0 where it was not asked."""
        return self.score / self.asked if self.asked else 0.0


@dataclass(frozen=True, slots=True)
class ExpertLine:
    """One expert of a profile."""

    expert: str
    asked: int
    """Questions that it answered; missing ones are left out."""
    right: int
    accuracy: float | None
    """right / asked; None where nothing was measured."""
    competency: float
    """The sum of its scores over all skills."""
    skills: dict[str, SkillCell]
    """The skills that it was measured in, by name."""
    cost: float | None = None
    """Mean price of one answer, in the unit of the evidence."""

    def as_json(self) -> dict[str, Any]:
        """Return the line as a JSON object."""
        return {
            "expert": self.expert,
            "asked": self.asked,
            "right": self.right,
            "accuracy": self.accuracy,
            "competency": self.competency,
            "cost": self.cost,
            "skills": {
                skill: {"score": cell.score, "asked": cell.asked, "right": cell.right}
                for skill, cell in self.skills.items()
            },
        }


def expert_lines(measured: Measured) -> list[ExpertLine]:
    """Return the experts, best accuracy first, equal ones by name, unmeasured ones last."""
    profile, counts = measured.profile, measured.counts()
    return [
        ExpertLine(
            expert=expert,
            asked=profile.asked.get(expert, 0),
            right=profile.right.get(expert, 0),
            accuracy=profile.accuracy(expert),
            competency=profile.competency(expert),
            skills={
                skill: SkillCell(score, counts[expert][skill])
                for skill, score in sorted(profile.skills.get(expert, {}).items())
            },
            cost=measured.evidence.cost.get(expert),
        )
        for expert in profile.ranking()
    ]


def common_skills(lines: list[ExpertLine]) -> list[str]:
    """Return all skills, those of the most questions first, equal ones by name."""
    most: dict[str, int] = {}
    for line in lines:
        for skill, cell in line.skills.items():
            most[skill] = max(most.get(skill, 0), cell.asked)
    return sorted(most, key=lambda skill: (-most[skill], skill))


def shortened(text: str, width: int) -> str:
    """Return a name in one line; of a long one the beginning and the end, which tell it apart."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) <= width:
        return line
    end = (width - 1) // 2
    return f"{line[: width - 1 - end]}\N{HORIZONTAL ELLIPSIS}{line[-end:]}"
