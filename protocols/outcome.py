"""Outcomes: what a session ends with.

An outcome says what was answered, by which rule, how ties were to be broken and what could not be
read, so that a reader of the table needs nothing else to judge it. It never says whether the
answer is right: the answer key is joined later.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from protocols.canonical import canonical_json
from protocols.replies import Boundary

Status = Literal["answered", "tied", "abstained", "unparsed", "failed"]
TieRule = Literal["half", "wrong", "first", "best_expert", "none"]


class Outcome(BaseModel):
    """The end of one session (a group protocol ends with one of these for each question)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Status
    """answered; tied (an even distribution that stays even); abstained; unparsed (the method gave
    nothing that could be read: not correct); failed (see `boundary`)."""
    answer: str | None = None
    """The option's label, or the answer in canonical form; None unless answered."""
    score: float | None = None
    """For protocols whose outcome is a score instead of an answer."""
    distribution: tuple[float, ...] | None = None
    """Probabilities over the question's options, in their order; the mean of `readings`."""
    readings: tuple[tuple[float, ...], ...] = ()
    """One distribution for each answer order or side, mapped back to the question's own order.
    Accuracy is the mean over readings, an even one counting as `tie_rule` says."""
    votes: dict[str, float] = {}
    """Weight of each answer in the vote."""
    answered_by: str | None = None
    """The one expert whose answer this is, where the rule picks one expert."""
    rule: str
    """The aggregation rule, in the field's words: ``single``, ``plurality``..."""
    tie_rule: TieRule = "none"
    """How a tie is broken or scored."""
    tie_broken: bool = False
    """Whether the tie rule decided."""
    unparsed: int = 0
    """Replies from which no answer could be read."""
    failures: dict[Boundary, int] = {}
    """Replies that failed, by boundary."""
    boundary: Boundary | None = None
    """Why the session failed: provider and timeout are missing data, the rest is not correct."""
    detail: dict[str, Any] = {}
    """What the protocol wants to tell, as JSON: rounds, recruitment graph, quotes."""

    def as_json(self) -> str:
        """Return the outcome as canonical JSON: the bytes that replay compares."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Return the outcome that :meth:`as_json` wrote."""
        return cls.model_validate_json(text)

    @property
    def missing(self) -> bool:
        """Whether the data is missing (provider failure, timeout) rather than wrong."""
        return self.status == "failed" and self.boundary in ("provider", "timeout")


def failed_outcome(boundary: Boundary, *, rule: str, **fields: Any) -> Outcome:
    """Return the outcome of a session whose quorum was not reached."""
    return Outcome(status="failed", boundary=boundary, rule=rule, **fields)
