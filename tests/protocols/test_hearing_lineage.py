from __future__ import annotations

import json

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.asks import Ask
from protocols.canonical import canonical_json
from protocols.chance import Rng
from protocols.errors import ContractBroken, Mistake
from protocols.hearing import complete, hears, ring, sparse, star
from protocols.lineage import graph_from_json, graph_to_json, lineage
from protocols.messages import Message, Part, Place
from tests.protocols.examples import BY_NAME, cast_of
from tests.protocols.harness import keyed_answer, play

SEATS = ("d", "b", "a", "c")


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (complete(SEATS), {"a": "bcd", "b": "acd", "c": "abd", "d": "abc"}),
        (ring(SEATS), {"d": "bc", "b": "ad", "a": "bc", "c": "ad"}),
        (star(SEATS), {"d": "abc", "b": "d", "a": "d", "c": "d"}),
        (complete(("a",)), {"a": ""}),
        (ring(("a",)), {"a": ""}),
        (ring(("a", "b")), {"a": "b", "b": "a"}),
        (star(("a",)), {"a": ""}),
    ],
    ids=["complete", "ring", "star", "complete 1", "ring 1", "ring 2", "star 1"],
)
def test_who_hears_whom(graph, expected):
    assert {seat: "".join(hears(graph, seat)) for seat in expected} == expected


@given(st.integers(2, 14), st.integers(1, 13), st.integers())
def test_sparse_graphs_are_regular_connected_and_seeded(n, degree, seed):
    seats = [f"s{i}" for i in range(n)]
    lowest = 1 if n == 2 else 2
    if not lowest <= degree < n or n * degree % 2:
        with pytest.raises(Mistake, match="choose a degree"):
            sparse(seats, degree, Rng(seed))
        return
    graph = sparse(seats, degree, Rng(seed))
    assert all(
        len(hears(graph, seat)) == degree and seat not in hears(graph, seat) for seat in seats
    )
    assert networkx.is_weakly_connected(graph)
    assert graph_to_json(graph) == graph_to_json(sparse(seats, degree, Rng(seed)))


def test_equal_seats_are_a_mistake():
    with pytest.raises(Mistake, match="must differ"):
        complete(("a", "a"))


def test_lineage_is_read_off_the_origins():
    example = BY_NAME["symbolic_moe_model"]
    played = play(example.protocol, example.question, example.cast, keyed_answer)
    graph = lineage(played.asks)
    team = len(played.asks_by_turn[0])
    assert sorted(graph.edges) == [(f"0.{slot}", "1.0") for slot in range(team)]
    assert graph.edges["0.0", "1.0"]["parts"] == ["answer"]
    assert graph.nodes["1.0"] == {"turn": 1, "slot": 0, "seat": "aggregator", "expert": "zoe"}
    text = canonical_json(graph_to_json(graph))
    assert text == canonical_json(graph_to_json(lineage(reversed(played.asks))))
    again = graph_from_json(json.loads(text))
    assert canonical_json(graph_to_json(again)) == text
    assert networkx.utils.graphs_equal(
        networkx.node_link_graph(json.loads(text), edges="edges"), again
    )


def _ask(place: Place | None, origin: Place | None) -> Ask:
    seat = cast_of(judge=("ada",)).seat("judge")
    return Ask(seat, (Message("user", (Part("speech", "x", origin=origin),)),), place=place)


@pytest.mark.parametrize(
    "asks",
    [
        [_ask(None, None)],
        [_ask(Place(0, 0), Place(0, 0))],
        [_ask(Place(0, 0), None), _ask(Place(0, 1), Place(0, 0))],
        [_ask(Place(1, 0), Place(0, 0))],
    ],
    ids=["no place", "itself", "same turn", "unknown"],
)
def test_impossible_lineage_is_refused(asks):
    with pytest.raises(ContractBroken):
        lineage(asks)


def test_empty_lineage():
    assert graph_to_json(lineage([]))["nodes"] == []
