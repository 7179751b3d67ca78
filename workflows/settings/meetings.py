"""The key ``crossplay`` of a workflow file: who meets whom, as ordinary protocols of the run.

Every debater meets every other twice on each question: once it argues for A, once for B. Each
meeting is a protocol of the run (``mia v noa``: mia argues for A, noa for B), so that it is stored,
resumed, forked and replayed like any other. What follows from them is in ``running/crossplay.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

VERSUS = " v "
ALONE = " alone"

MeetingKind = Literal["crossplay", "self_play", "consultancy"]


class Meeting(NamedTuple):
    """One protocol of a cross-play."""

    name: str
    """Of the protocol in its run."""
    kind: MeetingKind
    first: str
    """The debater that argues for A; of a consultancy the only one, which argues for both."""
    second: str
    """The debater that argues for B."""


def meeting_of(entry: str, protocol: str) -> Meeting | None:
    """Return the meeting that a protocol of a run is, read off its name; None where it is none.

    Args:
        entry: the protocol's name in its run.
        protocol: its kind.
    """
    if protocol == "consultancy" and entry.endswith(ALONE):
        label = entry.removesuffix(ALONE)
        return Meeting(entry, "consultancy", label, label)
    first, versus, second = entry.partition(VERSUS)
    if protocol != "debate" or not versus:
        return None
    return Meeting(entry, "self_play" if first == second else "crossplay", first, second)


class DebaterSpec(BaseModel):
    """One debater of a cross-play. A label is short for its `expert`."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    expert: str
    """A label, or ``provider/model``."""
    best_of: int = Field(1, ge=1)
    """Drafts of every speech, of which a rater picks the one that is heard."""
    name: str = ""
    """What tables call it; by default the expert, with ``x4`` behind it for four drafts."""

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: object) -> object:
        return {"expert": data} if isinstance(data, (str, int, float)) else data

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name or (self.expert if self.best_of == 1 else f"{self.expert} x{self.best_of}")


class CrossplaySpec(BaseModel):
    """A cross-play: debaters that all meet on both sides of every question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    debaters: tuple[DebaterSpec, ...] = Field(min_length=2)
    """Experts, each perhaps at several levels of best-of-N."""
    debate: dict[str, Any] = {}
    """Parameters of every debate: ``rounds``, ``orders``..."""
    self_play: bool = True
    """Whether every debater also argues both sides, to see how the judge does with two equals."""
    consultancy: bool | dict[str, Any] = False
    """Whether every debater is also a consultant, for both sides; or its parameters."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        labels = [debater.label for debater in self.debaters]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two debaters are called {label!r}; give one another 'name'")
            if VERSUS in label:
                raise ValueError(f"{label!r}: {VERSUS!r} stands between two debaters; name it anew")
        for where, given in (("debate", self.debate), ("consultancy", self.consultancy)):
            for name, why in _SET_HERE.items():
                if isinstance(given, dict) and name in given:
                    raise ValueError(f"{where}: {name!r} cannot be set, as {why}")
        return self

    def meetings(self) -> tuple[Meeting, ...]:
        """Return who meets whom: all ordered pairs, then each with itself, then alone."""
        labels = [debater.label for debater in self.debaters]
        found = [Meeting(a + VERSUS + b, "crossplay", a, b) for a in labels for b in labels]
        met = [meeting for meeting in found if meeting.first != meeting.second]
        if self.self_play:
            met += [Meeting(a + VERSUS + a, "self_play", a, a) for a in labels]
        if self.consultancy is not False:
            met += [Meeting(a + ALONE, "consultancy", a, a) for a in labels]
        return tuple(met)

    def entries(self) -> tuple[dict[str, Any], ...]:
        """Return the meetings as entries of ``protocols``."""
        by_label = {debater.label: debater for debater in self.debaters}
        return tuple(
            self._entry(meeting, by_label[meeting.first], by_label[meeting.second])
            for meeting in self.meetings()
        )

    def _entry(self, meeting: Meeting, first: DebaterSpec, second: DebaterSpec) -> dict[str, Any]:
        if meeting.kind == "consultancy":
            return {
                "kind": "consultancy",
                "name": meeting.name,
                "cast": {"consultant": first.expert},
                "sides": "both",
                "best_of": first.best_of,
                **(self.consultancy if isinstance(self.consultancy, dict) else {}),
            }
        alone = meeting.kind == "self_play"
        return {
            "kind": "debate",
            "name": meeting.name,
            "cast": {"debater": [first.expert] if alone else [first.expert, second.expert]},
            "sides": "A",
            "best_of": first.best_of if alone else _drafts(first, second),
            **self.debate,
        }


def _drafts(first: DebaterSpec, second: DebaterSpec) -> int | list[int]:
    return 1 if first.best_of == second.best_of == 1 else [first.best_of, second.best_of]


_SET_HERE: Mapping[str, str] = {
    "best_of": "it belongs to a debater (crossplay.debaters[0].best_of)",
    "cast": "debaters stand in crossplay.debaters, all others in the workflow's cast",
    "kind": "meetings are debates and consultancies",
    "name": "meetings are called after the debaters",
    "open": "everybody argues for both sides in turn",
    "sides": "everybody argues for both sides in turn",
}
