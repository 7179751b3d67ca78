"""Edges: who hears whom as data, the scores that an observer gives and the changes that follow.

An edge (speaker, hearer) names two agents by number, from 1. What is not of the asked form, or
names an agent or an edge that there is not, is left unread and counted; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from protocols.chance import Rng
from protocols.hearing import complete, hears, ring, sparse, star

if TYPE_CHECKING:
    from networkx import DiGraph

Topology = Literal["complete", "ring", "star", "sparse"]
Edge = tuple[int, int]
Edges = tuple[Edge, ...]
"""Edges in sorted order."""

LONGEST_LINE = 200
"""Characters; a longer line is never a score or a change."""

_ARROW = r"\s*(\d{1,3})\s*(?:->|\u2192)\s*(\d{1,3})\s*"
_VALUE = r"\s*[:=]?\s*(\d{1,2}(?:\.\d{1,3})?)\s*(?:/\s*10)?\s*"
_SCORE = re.compile(
    rf"[\s*-]*{_ARROW}:\s*robustness{_VALUE}[,;]\s*coherence{_VALUE}[.\s*]*", re.IGNORECASE
)
_CHANGE = re.compile(rf"[\s*-]*(add|cut)\s*:{_ARROW}[.\s*]*", re.IGNORECASE)
_LOOKS_LIKE_CHANGE = re.compile(r"[\s*-]*(add|cut)\s*:", re.IGNORECASE)


class Score(NamedTuple):
    """What an observer thinks of one exchange, each from 1 to 10."""

    robustness: float
    coherence: float


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of an actor's changes."""

    edges: Edges
    """The edges after them."""
    added: Edges = ()
    cut: Edges = ()
    ignored: int = 0
    """Lines that cannot be carried out."""


def start_edges(topology: Topology, agents: int, degree: int, rng: Rng) -> Edges:
    """Return the edges of a start topology over so many agents.

    Raises:
        Mistake: no sparse graph of that degree exists.
    """
    if topology != "sparse":
        return _fixed_edges(topology, agents)
    names = _names(agents)
    return _edges_of(sparse(names, degree, rng), names)


@lru_cache(maxsize=256)
def _fixed_edges(topology: Topology, agents: int) -> Edges:
    names = _names(agents)
    shapes = {"complete": complete, "ring": ring, "star": star}
    return _edges_of(shapes[topology](names), names)


def _names(agents: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(1, agents + 1))


def _edges_of(graph: DiGraph[str], names: Sequence[str]) -> Edges:
    """Read the edges off a graph over numbered names."""
    pairs = [(int(speaker), int(name)) for name in names for speaker in hears(graph, name)]
    return tuple(sorted(pairs))


def heard_by(edges: Edges, hearer: int) -> tuple[int, ...]:
    """Return the agents that `hearer` hears, in order."""
    return tuple([speaker for speaker, one in edges if one == hearer])


def edges_text(edges: Edges, scores: dict[Edge, Score] | None = None) -> str:
    """Return the edges, one a line, with their scores where they have any."""
    lines = []
    for edge in edges:
        score = (scores or {}).get(edge)
        told = "" if score is None else f": robustness {score[0]:g}, coherence {score[1]:g}"
        lines.append(f"{edge[0]} -> {edge[1]}{told}")
    return "\n".join(lines)


def read_scores(text: str, edges: Edges) -> dict[Edge, Score]:
    """Read an observer's scores: the last readable line of each of `edges`, in their order."""
    found: dict[Edge, Score] = {}
    for line in text.splitlines():
        match = _SCORE.fullmatch(line) if len(line) <= LONGEST_LINE else None
        if match is None:
            continue
        score = Score(float(match[3]), float(match[4]))
        if all(1.0 <= value <= 10.0 for value in score):
            found[int(match[1]), int(match[2])] = score
    return {edge: found[edge] for edge in edges if edge in found}


def changed(edges: Edges, text: str, agents: int) -> Changes:
    """Carry out the changes that an actor's text asks for, in their order.

    A change that adds what is there or cuts what is not, that names a stranger or one agent
    twice, or that would leave somebody hearing nobody (ours), is not carried out but counted.
    """
    now = set(edges)
    ignored = 0
    for line in text.splitlines():
        if len(line) > LONGEST_LINE or _LOOKS_LIKE_CHANGE.match(line) is None:
            continue
        match = _CHANGE.fullmatch(line)
        if match is None or not _carried_out(now, match, agents):
            ignored += 1
    return Changes(
        edges=tuple(sorted(now)),
        added=tuple(sorted(now.difference(edges))),
        cut=tuple(sorted(set(edges) - now)),
        ignored=ignored,
    )


def _carried_out(now: set[Edge], match: re.Match[str], agents: int) -> bool:
    """Make one change in `now` and say whether it could be made."""
    edge = int(match[2]), int(match[3])
    if edge[0] == edge[1] or not all(1 <= agent <= agents for agent in edge):
        return False
    if match[1].lower() == "add":
        if edge in now:
            return False
        now.add(edge)
        return True
    if edge not in now or sum(hearer == edge[1] for _, hearer in now) == 1:
        return False
    now.remove(edge)
    return True
