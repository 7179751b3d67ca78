"""Topology debate: agents on a graph of who hears whom, which is mended while they discuss.

Schedule: ``{1..n}, (reflector, actor, {1..n})*`` for c cycles. Price: n to n + c·(2 + n) asks. It
ends early where all readable answers agree (two or more), or where nobody said anything; where
the reflector's scores cannot be read the actor is not asked, and the graph stays as it is.

Who sees what. First: the question alone. The reflector sees the question, every last answer and
the exchanges (edges between two that said something), and scores each for robustness and
coherence from 1 to 10. The actor sees the question, what the reflector wrote and the scores that
were read off it, and adds and cuts edges. Then each agent sees its own last answer and those of
the agents that it hears, in the order of their numbers; what is said in a turn is hidden until it
is over.

Aggregation: plurality over the last answers of all. Failures, unreadable answers and the quorum
are as in ``deliberation.py``; a reflector or an actor that fails leaves the graph as it is.

Source: arXiv 2510.18032 (OptAgent: reflector, actor, majority of all agents). Departures: the
agents have no hand-written profiles and give one first answer instead of one of three, so that
their first asks are those of the other deliberations; the number of cycles, the early stop, and
the rule that everybody hears somebody are ours; verbal reinforcement across questions is left
out, as it needs many questions at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one
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
from protocols.edges import (
    Changes,
    Edge,
    Edges,
    Score,
    Topology,
    changed,
    edges_text,
    heard_by,
    read_scores,
    start_edges,
)
from protocols.errors import Mistake
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.prompts import prompt
from protocols.question import Question
from protocols.solving import TEMPLATE

REFLECTOR, ACTOR = "reflector", "actor"
OWN_TEMPLATE = "topology_debate"


class TopologyDebate(Protocol):
    """Agents hear one another along edges that a reflector scores and an actor mends."""

    kind: ClassVar[str] = "topology_debate"
    about: ClassVar[str] = "agents discuss on a graph of who hears whom, which is mended meanwhile"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, PEERS, OWN_TEMPLATE)

    agents: int | None = Field(None, ge=2)
    """n, the seats that one expert fills. Null: one for each expert."""
    topology: Topology = "complete"
    """Who hears whom at the start: ``complete``, ``ring``, ``star`` or ``sparse``."""
    degree: int = Field(2, ge=1)
    """How many others everybody hears at the start, where the topology is ``sparse``."""
    cycles: int = Field(2, ge=1)
    """c, the cycles of reflecting, acting and answering anew (ours)."""

    def roles(self) -> tuple[Role, ...]:
        """Return the roles: the agents, and the two that mend the graph."""
        about = "answers, hears others, answers anew"
        return (
            Role(SOLVER, about, many=True, reads_passage=True, draws=True),
            Role(REFLECTOR, "scores every exchange", reads_passage=True, draws=True),
            Role(ACTOR, "adds and cuts exchanges", reads_passage=True, draws=True),
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From the first answers alone to all cycles with reflector and actor."""
        n = self._count(cast)
        return CallBound(n, n + self.cycles * (2 + n))

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Answer; mend the graph and answer anew until all agree or the cycles are over."""
        n = self._count(cast)
        edges = start_edges(self.topology, n, self.degree, rng.child("topology"))
        group = Deliberation(question, cast, solver_seats(cast, n))
        group.hear((yield group.asks()))
        ballot = group.close(edges=_listed(edges))
        revise = prompt(OWN_TEMPLATE, "revise")
        while len(group.rounds) <= self.cycles and not group.silent and not _unanimous(group):
            changes, told = yield from _mended(cast, group, edges)
            edges = changes.edges
            said = [
                [*group.heard(place, [one - 1 for one in heard_by(edges, place + 1)]), revise]
                for place in range(n)
            ]
            group.hear((yield group.asks(said)))
            ballot = group.close(edges=_listed(edges), **told)
        return group.outcome(ballot, rule="plurality")

    def _count(self, cast: Cast) -> int:
        """Return the number of agents.

        Raises:
            Mistake: there would be one.
        """
        n = solver_count(cast, self.agents)
        if n < 2:
            raise Mistake(f"one {SOLVER!r} has nobody to hear; cast two, or set 'agents'")
        return n


def _unanimous(group: Deliberation) -> bool:
    """Whether two or more have a readable answer and all of these are the same."""
    voted = [stand.answer for stand in group.stands if stand and stand.answer is not None]
    return len(voted) > 1 and len(set(voted)) == 1


def _listed(edges: Edges) -> list[list[int]]:
    return [list(edge) for edge in edges]


def _mended(
    cast: Cast, group: Deliberation, edges: Edges
) -> Session[tuple[Changes, dict[str, Any]]]:
    """Have the exchanges scored and the graph changed; return the changes and what is told."""
    n = len(group.seats)
    open_edges = tuple([edge for edge in edges if all(group.said(one - 1) for one in edge)])
    changes = Changes(edges)
    scores: dict[Edge, Score] = {}
    if open_edges:
        reflected = yield from ask_one(_reflector_ask(cast, group, open_edges))
        group.note((reflected,))
        scores = read_scores(reflected.text, open_edges)
        reflection = said_part("reflection", reflected)
        if scores and reflection is not None:
            acted = yield from ask_one(_actor_ask(cast, group, edges, scores, reflection))
            group.note((acted,))
            changes = changed(edges, acted.text, n)
    return changes, {
        "scores": [[*edge, *score] for edge, score in scores.items()],
        "unscored": len(open_edges) - len(scores),
        "added": _listed(changes.added),
        "cut": _listed(changes.cut),
        "ignored": changes.ignored,
    }


def _reflector_ask(cast: Cast, group: Deliberation, edges: Edges) -> Ask:
    """Return the ask that shows every agent's last answer and the exchanges to score."""
    parts = []
    for place in range(len(group.seats)):
        said = group.said(place)
        if said is not None:
            parts += [prompt(OWN_TEMPLATE, "agent", number=place + 1), said]
    parts += [prompt(OWN_TEMPLATE, "exchanges"), Part("edges", edges_text(edges))]
    parts.append(prompt(OWN_TEMPLATE, "reflect_task"))
    return _ask(cast, group.question, REFLECTOR, parts)


def _actor_ask(
    cast: Cast, group: Deliberation, edges: Edges, scores: dict[Edge, Score], reflection: Part
) -> Ask:
    """Return the ask that shows what the reflector wrote and the scores read off it."""
    parts = [
        prompt(OWN_TEMPLATE, "reflection"),
        reflection,
        prompt(OWN_TEMPLATE, "current"),
        Part("edges", edges_text(edges, scores)),
        prompt(OWN_TEMPLATE, "act_task", agents=len(group.seats)),
    ]
    return _ask(cast, group.question, ACTOR, parts)


def _ask(cast: Cast, question: Question, role: str, parts: Sequence[Part]) -> Ask:
    system = prompt(OWN_TEMPLATE, f"{role}_system")
    passage = cast.reads_passage(role)
    messages = context_messages(question, passage=passage, system=system, said=parts)
    return Ask(cast.seat(role), messages, question=question.id)
