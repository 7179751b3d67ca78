"""Lineage: which ask read which reply, read off the origins of prompt parts.

Graphs are stored as node-link JSON with nodes and edges in sorted order, so that equal graphs are
equal bytes. ``networkx.node_link_graph(data, edges="edges")`` reads the same form.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from protocols.asks import Ask
from protocols.errors import ContractBroken
from protocols.messages import Place

if TYPE_CHECKING:
    from networkx import DiGraph


def place_id(place: Place) -> str:
    """Return the node of a place: ``turn.slot``."""
    return f"{place.turn}.{place.slot}"


def lineage(asks: Iterable[Ask]) -> DiGraph[str]:
    """Return the graph whose edges run from a reply to each ask that quotes it.

    Nodes are places (``turn.slot``; an ask and its reply share one) with ``turn``, ``slot``,
    ``seat`` and ``expert``. An edge's ``parts`` are the names of the quoting parts, sorted.

    Raises:
        ContractBroken: an ask has no place, or quotes a reply that is not earlier than itself.
    """
    from networkx import DiGraph

    placed = [(_placed(ask), ask) for ask in asks]
    graph = DiGraph()
    for place, ask in sorted(placed, key=lambda item: item[0]):
        seat = ask.seat
        graph.add_node(
            place_id(place), turn=place.turn, slot=place.slot, seat=seat.name, expert=seat.expert
        )
        for origin, names in sorted(_quotes(ask).items()):
            if origin.turn >= place.turn or place_id(origin) not in graph:
                raise ContractBroken(
                    f"the ask at {place_id(place)} quotes {place_id(origin)}, "
                    "which is not an earlier ask of this session"
                )
            graph.add_edge(place_id(origin), place_id(place), parts=sorted(names))
    return graph


def _placed(ask: Ask) -> Place:
    if ask.place is None:
        raise ContractBroken("an ask without a place has no lineage; number it with tape.advance")
    return ask.place


def _quotes(ask: Ask) -> dict[Place, set[str]]:
    """Return the names of the parts that quote each place."""
    quotes: dict[Place, set[str]] = {}
    for message in ask.messages:
        for part in message.parts:
            if part.origin is not None:
                quotes.setdefault(part.origin, set()).add(part.name)
    return quotes


def graph_to_json(graph: DiGraph[str]) -> dict[str, Any]:
    """Return a directed graph as node-link JSON, nodes and edges sorted by name."""
    return {
        "directed": True,
        "multigraph": False,
        "graph": dict(sorted(graph.graph.items())),
        "nodes": [{"id": node, **graph.nodes[node]} for node in sorted(graph.nodes)],
        "edges": [
            {"source": source, "target": target, **graph.edges[source, target]}
            for source, target in sorted(graph.edges)
        ],
    }


def graph_from_json(data: dict[str, Any]) -> DiGraph[str]:
    """Return the graph that :func:`graph_to_json` wrote.

    Raises:
        KeyError: `data` is not node-link JSON.
    """
    from networkx import DiGraph

    graph = DiGraph(**data["graph"])
    for node in data["nodes"]:
        graph.add_node(node["id"], **{name: node[name] for name in node if name != "id"})
    for edge in data["edges"]:
        attributes = {name: edge[name] for name in edge if name not in {"source", "target"}}
        graph.add_edge(edge["source"], edge["target"], **attributes)
    return graph
