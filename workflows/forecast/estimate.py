"""What a run would take, before anything is asked: its calls, by protocol and role.

The fewest and the most calls are bounds that the protocols state and that hold whatever the replies
are. How long a run takes on a fleet is a prediction, and stands in ``prediction.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.spec import Entry, RunSpec, Wanted, wanted_sessions
from protocols.contract import CallBound
from protocols.question import Question
from protocols.teams import staffed_calls

NONE = CallBound(0, 0)


@dataclass(frozen=True, slots=True)
class EntryEstimate:
    """What one protocol of a run would ask."""

    name: str
    kind: str
    sessions: int = 0
    calls: CallBound = NONE
    """Fewest and most, those within teams included."""
    by_role: dict[str, CallBound] = field(default_factory=dict)
    """Of the seats of each role; what a team asks within is in `calls` alone."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return {
            "name": self.name,
            "kind": self.kind,
            "sessions": self.sessions,
            **_bound_json(self.calls),
            "roles": {role: _bound_json(bound) for role, bound in self.by_role.items()},
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would ask."""

    name: str
    questions: int
    entries: tuple[EntryEstimate, ...]

    @property
    def sessions(self) -> int:
        """All sessions."""
        return sum(entry.sessions for entry in self.entries)

    @property
    def calls(self) -> CallBound:
        """Fewest and most calls of the whole run."""
        return sum((entry.calls for entry in self.entries), NONE)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return {
            "name": self.name,
            "questions": self.questions,
            "sessions": self.sessions,
            **_bound_json(self.calls),
            "protocols": [entry.as_json() for entry in self.entries],
        }


def estimate(spec: RunSpec) -> Estimate:
    """Count what a run would ask.

    Raises:
        Mistake: two of its protocols or questions are the same.
    """
    return count_calls(spec, wanted_sessions(spec))


def count_calls(spec: RunSpec, wanted: Iterable[Wanted]) -> Estimate:
    """Count what some sessions of a run would ask."""
    sessions = dict.fromkeys((entry.name for entry in spec.entries), 0)
    calls = dict.fromkeys(sessions, NONE)
    roles: dict[str, dict[str, CallBound]] = {name: {} for name in sessions}
    for one in wanted:
        name = one.entry.name
        sessions[name] += 1
        calls[name] += staffed_calls(one.entry.protocol, one.question, one.entry.cast)
        for role, bound in role_bounds(one.entry, one.question).items():
            roles[name][role] = roles[name].get(role, NONE) + bound
    entries = [
        EntryEstimate(e.name, e.protocol.kind, sessions[e.name], calls[e.name], roles[e.name])
        for e in spec.entries
    ]
    return Estimate(spec.name, len(spec.questions), tuple(entries))


def role_bounds(entry: Entry, question: Question) -> dict[str, CallBound]:
    """Return the fewest and the most asks to the seats of each role that is cast.

    Where a protocol says nothing about a role, it may make none or all that others leave; a
    protocol with a single role makes all.
    """
    whole = entry.protocol.calls(question, entry.cast)
    known = entry.protocol.role_calls(question, entry.cast)
    names = [r.name for r in entry.protocol.roles() if entry.cast.members.get(r.name)]
    if len(names) == 1:
        return {names[0]: known.get(names[0], whole)}
    named = sum((known[name] for name in names if name in known), NONE)
    rest = CallBound(0, max(whole.most - named.fewest, 0))
    return {name: known.get(name, rest) for name in names}


def _bound_json(bound: CallBound) -> dict[str, int]:
    return {"fewest_calls": bound.fewest, "most_calls": bound.most}
