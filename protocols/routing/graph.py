"""The recruitment graph: which skills of a question led to which experts, and what each counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from protocols.lineage import graph_from_json
from protocols.profile import SkillProfile
from protocols.recruitment import SkillMatch
from protocols.routing.steps import Recruit

if TYPE_CHECKING:
    from networkx import DiGraph


def recruitment_graph(
    question: str,
    team: Sequence[Recruit],
    *,
    matches: Sequence[SkillMatch] = (),
    profile: SkillProfile | None = None,
    aggregator: str,
    vote_weights: Sequence[float],
) -> DiGraph[str]:
    """Return the graph question -> skill -> expert -> aggregator of one recruitment.

    Nodes are named ``kind:label`` and carry both. Weights: 1 for each skill of the question that
    reads as the known one; the expert's score in the skill; the expert's weight in the
    aggregation. A team recruited without any known skill hangs on the question by its odds.

    Args:
        question: the question's id.
        team: the recruits.
        matches: the question's skills and the known ones that they are read as.
        profile: where the skill scores come from; None without one.
        aggregator: what joins the answers: a rule's name or an expert's label.
        vote_weights: weight of each team member in the aggregation, in the team's order.
    """
    return graph_from_json(
        recruitment_json(
            question,
            team,
            matches=matches,
            profile=profile,
            aggregator=aggregator,
            vote_weights=vote_weights,
        )
    )


def recruitment_json(
    question: str,
    team: Sequence[Recruit],
    *,
    matches: Sequence[SkillMatch] = (),
    profile: SkillProfile | None = None,
    aggregator: str,
    vote_weights: Sequence[float],
) -> dict[str, Any]:
    """Return the graph as node-link JSON, nodes and edges sorted by name, as an outcome holds it.

    See :func:`recruitment_graph`; it is written without networkx, as every session has one.
    """
    read_as = Counter(match.known for match in matches) if profile is not None else Counter()
    skills = [(skill, f"skill:{skill}") for skill in sorted(read_as)]
    source, sink = f"question:{question}", f"aggregator:{aggregator}"
    nodes = {name: ("skill", skill) for skill, name in skills}
    nodes |= {source: ("question", question), sink: ("aggregator", aggregator)}
    edges: dict[tuple[str, str], dict[str, Any]] = {}
    for skill, name in skills:
        asked_as = [match.skill for match in matches if match.known == skill]
        edges[source, name] = {"weight": read_as[skill], "asked_as": asked_as}
    for recruit, vote_weight in zip(team, vote_weights, strict=True):
        expert = f"expert:{recruit.expert}"
        nodes[expert] = ("expert", recruit.expert)
        for skill, name in skills:
            assert profile is not None
            edges[name, expert] = {"weight": profile.skill(recruit.expert, skill)}
        if not skills:
            edges[source, expert] = {"weight": recruit.odds}
        edges[expert, sink] = {"weight": vote_weight}
    return {
        "directed": True,
        "multigraph": False,
        "graph": {},
        "nodes": [
            {"id": name, "kind": kind, "label": label}
            for name, (kind, label) in sorted(nodes.items())
        ],
        "edges": [{"source": ends[0], "target": ends[1], **edges[ends]} for ends in sorted(edges)],
    }
