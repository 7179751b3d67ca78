"""The answers that single experts gave in a run: what plurality and best-of-n are computed from.

A draw is one answer of one expert to one question, given by itself: a session of ``direct_answer``
(all answer orders together), a draw of ``self_consistency``, a vote of ``plurality``. It counts for
others only under the same conditions: the same expert, which read the passage or did not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.outcome import Outcome
from protocols.question import LABELS
from protocols.replies import MISSING_BOUNDARIES
from workflows.comparing.results import session_outcome

if TYPE_CHECKING:
    from orchestrator.store import SessionRow, Store

DRAWING = ("direct_answer", "self_consistency", "plurality")
"""The kinds of protocols whose sessions hold draws."""
LOOKED_AT = 20
"""Questions that are looked at for a passage."""
_EVEN = 1e-9


@dataclass(frozen=True, slots=True)
class Seated:
    """Who sits in an entry of a run."""

    kind: str
    roles: Mapping[str, tuple[str, ...]]
    """Role -> labels of experts."""
    readers: frozenset[str]
    """The roles that read the passage; empty where questions have none."""

    @property
    def experts(self) -> tuple[str, ...]:
        """All experts, each once."""
        return tuple(dict.fromkeys(label for labels in self.roles.values() for label in labels))

    @property
    def judge(self) -> str | None:
        """The judge of others; None where nobody judges others."""
        return self.roles["judge"][0] if "judge" in self.roles and len(self.roles) > 1 else None


@dataclass(frozen=True, slots=True)
class Draw:
    """One answer of one expert by itself."""

    entry: str
    """Where it was given."""
    expert: str
    reads: bool
    """Whether it read the passage."""
    question: str
    votes: Mapping[str, float]
    """Answer -> weight, 1 in all, shared where it was even; empty where nothing could be read."""
    of: int = 1
    """How many draws its session holds, which share its price."""
    missing: bool = False
    """Whether a provider failed or did not answer in time."""


def seated_in(store: Store, sessions: Sequence[SessionRow]) -> dict[str, Seated]:
    """Return who sits in each entry; teams stand under their labels."""
    first: dict[str, SessionRow] = {}
    for one in sessions:
        first.setdefault(one.entry, one)
    parts = {id for one in first.values() for id in (one.cast_part, one.parameters_part)}
    questions = {one.question_part for one in sessions[:LOOKED_AT]}
    documents = store.documents(parts | questions)
    passages = any(json.loads(documents[part]).get("passage") for part in questions)
    return {
        entry: _seated(
            one.kind,
            json.loads(documents[one.cast_part]),
            json.loads(documents[one.parameters_part]),
            passages,
        )
        for entry, one in first.items()
    }


def _seated(
    kind: str, cast: Mapping[str, Any], parameters: Mapping[str, Any], passages: bool
) -> Seated:
    readers = frozenset(cast.get("readers", ())) if passages else frozenset()
    if kind == "direct_answer" and not parameters.get("passage"):
        readers = frozenset()
    roles = {
        role: tuple(member["expert"] for member in members)
        for role, members in cast.get("members", {}).items()
        if members
    }
    return Seated(kind, roles, readers)


def read_draws(
    store: Store, sessions: Sequence[SessionRow], seated: Mapping[str, Seated]
) -> tuple[Draw, ...]:
    """Return the draws that sessions hold, in the order of the sessions."""
    found: list[Draw] = []
    for one in sessions:
        here = seated[one.entry]
        if here.kind in DRAWING and here.experts:
            found += _draws(one, here, session_outcome(one))
    return tuple(found)


def _draws(session: SessionRow, here: Seated, outcome: Outcome | None) -> list[Draw]:
    def draw(expert: str, votes: Mapping[str, float], of: int, *, missing: bool = False) -> Draw:
        reads = bool(here.readers)
        return Draw(session.entry, expert, reads, session.question_id, votes, of, missing)

    if here.kind == "direct_answer":
        missing = outcome is None or outcome.missing
        votes = {} if outcome is None else _votes(outcome)
        return [draw(here.experts[0], votes, 1, missing=missing)]
    answers = None if outcome is None else outcome.detail.get("answers")
    lost = outcome is None or any(one in MISSING_BOUNDARIES for one in outcome.failures)
    if isinstance(answers, list):
        return [
            draw(here.experts[0], _vote(one), len(answers), missing=lost and one is None)
            for one in answers
        ]
    given = answers if isinstance(answers, dict) else {}
    return [
        draw(expert, _vote(given.get(expert)), len(here.experts), missing=expert not in given)
        for expert in here.experts
    ]


def _vote(answer: object) -> dict[str, float]:
    return {answer: 1.0} if isinstance(answer, str) else {}


def _votes(outcome: Outcome) -> dict[str, float]:
    """Return what an outcome counts in a vote: its answer, or a share of each that is even."""
    if outcome.answer is not None:
        return _vote(outcome.answer)
    if outcome.status != "tied" or not outcome.distribution:
        return {}
    top = max(outcome.distribution)
    even = [LABELS[i] for i, value in enumerate(outcome.distribution) if value >= top - _EVEN]
    return {label: 1 / len(even) for label in even}
