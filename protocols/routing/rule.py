"""What every rule of recruitment is: a frozen model with the steps score and select."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from protocols.chance import Rng
from protocols.evidence import EVIDENCE
from protocols.routing.measured import Task
from protocols.routing.steps import Scores, Selection, best

EVERYBODY = 10**9
"""More than any pool holds."""


class Rule(BaseModel, ABC):
    """A rule of recruitment. What it fits is a pure function of the evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[tuple[str, ...]] = (EVIDENCE,)
    """The assets that it reads."""

    usual: ClassVar[int] = 1
    """How many experts it takes where nobody says otherwise."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return str(getattr(self, "rule"))  # noqa: B009 - each subclass has its own literal

    def assets(self) -> tuple[str, ...]:
        """Return the names of the assets that it reads with these parameters."""
        return self.needs

    @abstractmethod
    def score(self, task: Task) -> Scores:
        """Return what each expert of the pool is worth on the question."""

    def select(self, scores: Scores, k: int, rng: Rng) -> Selection:
        """Return who is taken: by default the k best, nothing left to chance."""
        return best(scores, k)

    def most(self, k: int) -> int:
        """Return the largest team that it makes where k are asked for."""
        return k
