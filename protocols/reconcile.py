"""ReConcile: a round table of experts that discuss until they agree, and vote by confidence.

Schedule: ``{1..n}``, then while they are not unanimous, up to r times: ``{1..n}``. Price: n asks
to n(1+r). Gathering convincing samples (``convincing.py``) is paid for elsewhere.

Who sees what. In a round every expert sees all answers of the last one, grouped: each answer with
how many gave it, then the explanations of those who did with the confidence that each states, its
own marked as such. Every group is shown, a third answer of a three-way split too; explanations
without a readable answer form a group of their own. With convincing samples, each expert also sees
those of every other. A round is hidden until it is over.

Unanimous is a table where every seat has a readable answer and all are equal; seats without data
(provider, timeout) are left out of that. Aggregation: after every round a vote in which an answer
weighs by its stated confidence (:func:`confidence_weight`); the last one is the outcome. Where no
confidence can be read, the answer keeps the least weight of the table (ours). The detail tells
``answers``, ``confidences``, ``votes`` and ``answer`` for the first answers and after every round,
and whether the table was ``unanimous`` in the end. Quorum: see ``deliberation.py``.

Source: arXiv 2309.13007. Departures: invalid output has no vote and is never replaced by a random
answer; no answer of a split is dropped; convincing samples are shown in the discussion only, so
that first answers do not depend on them; one's own explanation is marked. With
``first_confidence: false`` the first answers are the plain ones of every other deliberation, to
start from the same; until the first round they then have no confidence.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from protocols.asks import Ask
from protocols.ballots import Ballot
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.confidence import TEMPLATE as CONFIDENCE_TEMPLATE
from protocols.confidence import confidence_part, read_confidence
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.convincing import CONVINCING, cast_samples
from protocols.deliberation import (
    PEERS,
    SOLVER,
    Deliberation,
    names_of,
    silence,
    solver_count,
    solver_seats,
)
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.prompts import prompt
from protocols.question import Question
from protocols.quoting import quoted
from protocols.solving import TEMPLATE

OWN_TEMPLATE = "reconcile"
LEAST_WEIGHT = 0.1


def confidence_weight(confidence: float) -> float:
    """Return what a vote with this stated confidence counts: the source's table."""
    if confidence <= 0.6:
        return LEAST_WEIGHT
    if confidence < 0.8:
        return 0.3
    if confidence < 0.9:
        return 0.5
    return 0.8 if confidence < 1.0 else 1.0


class Reconcile(Protocol):
    """Experts discuss with stated confidence until all agree; a vote weighted by confidence."""

    kind: ClassVar[str] = "reconcile"
    about: ClassVar[str] = "a round table discusses until it agrees; confidence-weighted vote"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, PEERS, CONFIDENCE_TEMPLATE, OWN_TEMPLATE)

    agents: int | None = Field(None, ge=1)
    """Solvers where one expert fills all seats. Null: one seat for each expert that is cast."""
    rounds: int = Field(3, ge=0)
    """r, the most rounds of discussion; fewer where the experts agree."""
    first_confidence: bool = True
    """Whether the first answers come with a stated confidence too."""
    convincing: int = Field(0, ge=0)
    """Convincing samples of each other expert that are shown (the source: 4); 0 shows none."""

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the solvers."""
        about = "answers with a confidence, and discusses"
        draws = self.rounds > 0
        return (Role(SOLVER, about, many=True, reads_passage=True, draws=draws),)

    def assets(self) -> tuple[str, ...]:
        """Return the convincing samples, where some are to be shown."""
        return (CONVINCING,) if self.convincing else ()

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From the first answers alone to n asks in every round."""
        n = solver_count(cast, self.agents)
        return CallBound(n, n * (1 + self.rounds))

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Answer, discuss while not unanimous, vote."""
        table = _Table(question, cast, solver_seats(cast, self.agents))
        samples = self._samples(cast, table)
        first = confidence_part() if self.first_confidence else None
        replies = yield _first_asks(table, first)
        table.hear(replies)
        ballot = table.vote()
        for _ in range(self.rounds):
            if table.unanimous or table.silent:
                break
            shown = table.groups()
            task = (prompt(OWN_TEMPLATE, "discuss"), confidence_part())
            table.hear(
                (
                    yield table.asks(
                        [
                            [*samples[place], prompt(PEERS, "heard"), *shown[place], *task]
                            for place in range(len(table.seats))
                        ]
                    )
                )
            )
            ballot = table.vote()
        return table.outcome(ballot, rule="confidence_weighted", unanimous=table.unanimous)

    def _samples(self, cast: Cast, table: Deliberation) -> list[list[Part]]:
        """Return the convincing samples that each seat reads."""
        if not self.convincing:
            return [[]] * len(table.seats)
        samples = cast_samples(cast.assets)
        experts = [seat.expert for seat in table.seats]
        return [samples.parts_for(expert, experts, self.convincing) for expert in experts]


def _first_asks(table: Deliberation, confidence: Part | None) -> tuple[Ask, ...]:
    return table.asks(None if confidence is None else [(confidence,)] * len(table.seats))


class _Table(Deliberation):
    """A deliberation whose stands have stated confidences."""

    __slots__ = ("_stated",)

    @property
    def unanimous(self) -> bool:
        """Whether everybody of whom there is data gives one and the same answer."""
        found = [stand.answer for stand in self.stands if stand is not None and not stand.missing]
        return bool(found) and None not in found and len(set(found)) == 1

    def vote(self) -> Ballot:
        """End a round by the vote weighted by confidence."""
        read = [None if s is None else read_confidence(s.reply.text) for s in self.stands]
        stated = [value if isinstance(value, float) else None for value in read]
        self._stated = stated
        weights = [LEAST_WEIGHT if c is None else confidence_weight(c) for c in stated]
        told = {
            name: confidence
            for name, stand, confidence in zip(
                names_of(self.seats), self.stands, stated, strict=True
            )
            if stand is not None and not stand.missing
        }
        ballot = self.close(weights, confidences=told)
        self.rounds[-1]["votes"] = ballot.votes
        return ballot

    def groups(self) -> list[list[Part]]:
        """Return for every seat all answers of the last round, grouped, in slot order."""
        members: dict[str | None, list[int]] = {}
        for place, stand in enumerate(self.stands):
            if stand is not None and self.said(place) is not None:
                members.setdefault(stand.answer, []).append(place)
        unread = members.pop(None, [])
        ordered = [
            ([self._heading("group", len(p)), Part("group_answer", quoted(answer or ""))], p)
            for answer, p in members.items()
        ]
        if unread:
            ordered.append(([self._heading("unread_group", len(unread))], unread))
        shown = ["" if c is None else f"{c:.2f}" for c in self._stated]
        yours = [prompt(OWN_TEMPLATE, "yours", confidence=confidence) for confidence in shown]
        theirs = [prompt(OWN_TEMPLATE, "theirs", confidence=confidence) for confidence in shown]
        each: list[list[Part]] = []
        for reader in range(len(self.seats)):
            parts: list[Part] = []
            for headings, places in ordered:
                parts += headings
                for place in places:
                    parts.append(yours[place] if place == reader else theirs[place])
                    parts.append(self.said(place) or silence())
            each.append(parts)
        return each

    def _heading(self, section: str, number: int) -> Part:
        return prompt(OWN_TEMPLATE, section, number=number, of=len(self.seats))
