"""Multi-agent debate: peers answer alone, then read one another's answers and answer again.

Schedule: ``{1..n}, {1..n}*``; with a summariser Z ``{1..n}, (Z, {1..n})*`` (shared) or
``{1..n}, ({Z1..Zn}, {1..n})*`` (one each). Price for r rounds: n(1+r); with a shared summary r
more, with one each n·r more. The plurality of the last answers counts.

Who sees what. In a round each solver sees its own last answer and the last answers of those it
hears, verbatim or summarised; a round is hidden until it is over. Who hears whom is the topology:
everybody all others (``complete``), both neighbours on a circle (``ring``), the first seat all and
all others only the first (``star``), or `degree` others, drawn anew for every session
(``sparse``).

Quorum: see ``deliberation.py``. The debate ends early only where nobody said anything. Where a
summary does not come, the answers stand in its place verbatim; where there is nothing to summarise
nobody is asked to.

Source: arXiv 2305.14325 (3 agents, one round after the first answers); topologies: 2406.11776.
Departures: a solver sees only the last answers, not the whole history of the talk; its own is
quoted like the others', not put as its own message; who said what stays unnamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import (
    PEERS,
    SOLVER,
    Deliberation,
    context_messages,
    said_part,
    solver_count,
    solver_seats,
)
from protocols.hearing import complete, hears, ring, sparse, star
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.prompts import prompt
from protocols.question import Question
from protocols.solving import TEMPLATE

SUMMARISER = "summariser"
OWN_TEMPLATE = "multiagent_debate"

Topology = Literal["complete", "ring", "star", "sparse"]
Hearing = tuple[tuple[int, ...], ...]
"""For every seat the seats that it hears, in order."""


class MultiagentDebate(Protocol):
    """Peers answer, read the others' last answers for some rounds, and vote."""

    kind: ClassVar[str] = "multiagent_debate"
    about: ClassVar[str] = "peers read one another's answers and answer again; plurality"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, PEERS, OWN_TEMPLATE)

    agents: int | None = Field(None, ge=1)
    """Solvers where one expert fills all seats. Null: one seat for each expert that is cast."""
    rounds: int = Field(1, ge=1)
    """r, the rounds of discussion after the first answers."""
    topology: Topology = "complete"
    """Who hears whom."""
    degree: int = Field(2, ge=1)
    """How many others each hears where the topology is ``sparse``."""
    summary: Literal["none", "shared", "each"] = "none"
    """Whether a summariser stands between: one summary for all, or one for each solver."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.summary == "shared" and self.topology != "complete":
            raise ValueError(
                "a shared summary tells everybody everything; set topology to 'complete', or "
                "summary to 'each'"
            )
        return self

    def roles(self) -> tuple[Role, ...]:
        """Return the solvers and the summariser, which is needed only for summaries."""
        return (
            Role(SOLVER, "answers, and answers again", many=True, reads_passage=True, draws=True),
            Role(
                SUMMARISER,
                "sums up the answers for the solvers",
                optional=self.summary == "none",
                draws=True,
            ),
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From the first answers alone to n asks a round and the summaries before it.

        Raises:
            Mistake: no sparse topology of this degree exists.
        """
        n = solver_count(cast, self.agents)
        if self.topology == "sparse":
            self._hearing(n, Rng("calls"))
        summaries = {"none": 0, "shared": 1, "each": n}[self.summary]
        return CallBound(n, n + self.rounds * (n + summaries))

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Answer, then discuss."""
        seats = solver_seats(cast, self.agents)
        hearing = self._hearing(len(seats), rng)
        talk = Deliberation(question, cast, seats)
        ballot = talk.take((yield talk.asks()))
        for _ in range(self.rounds):
            if talk.silent:
                break
            summaries: dict[int, Part] = {}
            if self.summary != "none":
                summaries = yield from self._summaries(talk, cast, hearing)
            said = [self._said(talk, i, hearing[i], summaries.get(i)) for i in range(len(seats))]
            ballot = talk.take((yield talk.asks(said)))
        told: dict[str, Any] = {}
        if self.topology != "complete":
            told["hearing"] = [list(heard) for heard in hearing]
        return talk.outcome(ballot, rule="plurality", **told)

    def _hearing(self, n: int, rng: Rng) -> Hearing:
        """Return who hears whom among n seats."""
        if self.topology == "sparse":
            return _places(sparse(_nodes(n), self.degree, rng.child("hearing")), n)
        return _fixed_hearing(self.topology, n)

    def _said(
        self, talk: Deliberation, place: int, others: Sequence[int], summary: Part | None
    ) -> list[Part]:
        """Return what a seat reads in a round, and what it is to do with it."""
        if summary is None:
            return [*talk.heard(place, others), prompt(OWN_TEMPLATE, "revise", summary=False)]
        shared = self.summary == "shared"
        return [
            *talk.heard(place, ()),
            prompt(OWN_TEMPLATE, "summary_heading", shared=shared),
            summary,
            prompt(OWN_TEMPLATE, "revise", summary=True),
        ]

    def _summaries(
        self, talk: Deliberation, cast: Cast, hearing: Hearing
    ) -> Session[dict[int, Part]]:
        """Ask for the summaries of a round; return by seat those that came."""
        everybody = range(len(talk.seats))
        groups = (tuple(everybody),) if self.summary == "shared" else hearing
        wanted = [i for i, group in enumerate(groups) if any(talk.said(j) for j in group)]
        if not wanted:
            return {}
        replies = yield tuple([_summary_ask(talk, cast, i, groups[i]) for i in wanted])
        talk.note(replies)
        summaries: dict[int, Part] = {}
        for i, reply in zip(wanted, replies, strict=True):
            part = said_part("summary", reply)
            if part is not None:
                summaries |= dict.fromkeys(everybody if self.summary == "shared" else (i,), part)
        return summaries


def _summary_ask(talk: Deliberation, cast: Cast, number: int, group: Sequence[int]) -> Ask:
    """Return the ask for summary `number`, of what the seats in `group` answered."""
    said = [prompt(PEERS, "heard")]
    theirs = prompt(PEERS, "theirs")
    for place in group:
        part = talk.said(place)
        if part is not None:
            said += (theirs, part)
    messages = context_messages(
        talk.question,
        passage=cast.reads_passage(SUMMARISER),
        system=prompt(OWN_TEMPLATE, "summary_system"),
        said=(*said, prompt(OWN_TEMPLATE, "summarise")),
    )
    name = f"{SUMMARISER}_{number}" if number else SUMMARISER
    return Ask(cast.seat(SUMMARISER, name=name), messages, question=talk.question.id)


@lru_cache(maxsize=256)
def _fixed_hearing(topology: Topology, n: int) -> Hearing:
    """Return who hears whom in a topology that is the same for every session."""
    make = {"complete": complete, "ring": ring, "star": star}[topology]
    return _places(make(_nodes(n)), n)


def _nodes(n: int) -> list[str]:
    """Return names for n seats whose sorted order is the order of the seats."""
    return [f"{place:06d}" for place in range(n)]


def _places(graph: Any, n: int) -> Hearing:
    return tuple([tuple([int(name) for name in hears(graph, node)]) for node in _nodes(n)])
