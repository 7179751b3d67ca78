"""Where workers belong: decided without Ray."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.roster import Expert
from orchestrator.fleets.ray_cluster import node_from
from orchestrator.planner.placement import (
    Node,
    NoRoom,
    Place,
    fits,
    missing_places,
    offered,
    plan_places,
    share_of,
)

API = Expert(label="api", model="openai/gpt")


def expert(label: str, gpu_gb: float, gpus: int = 1, accelerator: str | None = None) -> Expert:
    return Expert(
        label=label, model=f"scripted/{label}", gpu_gb=gpu_gb, gpus=gpus, accelerator=accelerator
    )


def a100(name: str, gpus: int = 1, gpu_gb: float | None = 80.0) -> Node:
    return Node(name, cpus=8.0, gpus=gpus, accelerator="A100", gpu_gb=gpu_gb)


def a10g(name: str, gpus: int = 1) -> Node:
    return Node(name, cpus=4.0, gpus=gpus, accelerator="A10G", gpu_gb=24.0)


SMALL, MEDIUM, LARGE = expert("small", 16), expert("medium", 40), expert("large", 80, gpus=4)
ON_A10G = expert("picky", 16, accelerator="A10G")

Shape = tuple[str, int, tuple[str, ...]]


def shapes(places: tuple[Place, ...]) -> list[Shape]:
    return sorted((place.node, place.gpus, place.experts) for place in places)


@pytest.mark.parametrize(
    ("nodes", "experts", "expected"),
    [
        pytest.param([], [API], [("", 0, ("api",))], id="no node yet: anywhere"),
        pytest.param(
            [Node("head"), Node("n", cpus=1)], [API], [("n", 0, ("api",))], id="not without CPUs"
        ),
        pytest.param(
            [a10g("n", 2)],
            [API, SMALL],
            [("n", 0, ("api",)), *[("n", 1, ("small",))] * 2],
            id="one worker on each GPU",
        ),
        pytest.param(
            [a10g("n"), a100("m")],
            [SMALL, MEDIUM],
            [("m", 1, ("small", "medium")), ("n", 1, ("small",))],
            id="who fits where",
        ),
        pytest.param(
            [a10g("n"), a100("m")],
            [ON_A10G, MEDIUM],
            [("m", 1, ("medium",)), ("n", 1, ("picky",))],
            id="an accelerator is kept",
        ),
        pytest.param(
            [a100("m", 8)],
            [LARGE, SMALL],
            [*[("m", 1, ("small",))] * 4, ("m", 4, ("large",))],
            id="several GPUs first, the rest for one",
        ),
        pytest.param(
            [a100("m", 8)], [LARGE], [("m", 4, ("large",))] * 2, id="nobody needs one GPU"
        ),
        pytest.param(
            [a100("m", 4)], [LARGE, SMALL], [("m", 4, ("large", "small"))], id="no GPU is left"
        ),
        pytest.param(
            [a100("m", 4), a10g("n")],
            [LARGE, SMALL],
            [("m", 4, ("large",)), ("n", 1, ("small",))],
            id="the small one leaves the large node alone",
        ),
        pytest.param(
            [Node("n", gpus=2)], [SMALL], [("n", 1, ("small",))] * 2, id="unknown memory may do"
        ),
        pytest.param([a100("m", 2)], [], [], id="nobody to serve"),
    ],
)
def test_places(nodes: list[Node], experts: list[Expert], expected: list[Shape]) -> None:
    assert shapes(plan_places(nodes, experts)) == expected


def test_api_workers_are_dealt_out() -> None:
    nodes = [Node("a", cpus=1), Node("b", cpus=1), Node("c")]
    assert [place.node for place in plan_places(nodes, [API], workers=3)] == ["a", "b", "a"]


def test_a_fleet_takes_no_more_gpus_than_told() -> None:
    places = plan_places([a100("m", 8)], [LARGE, SMALL], gpus=6)
    assert [place.gpus for place in places] == [4, 1, 1]
    with pytest.raises(NoRoom, match="of which the fleet may take 3"):
        plan_places([a100("m", 8)], [LARGE], gpus=3)


@pytest.mark.parametrize(
    ("nodes", "wanting", "said"),
    [
        ([Node("n", cpus=4)], SMALL, "small asks for 1 GPU with 16 GB, but .* offers no GPU;"),
        ([a10g("n"), a10g("m")], MEDIUM, "1 x A10G of 24 GB on each of 2 nodes;"),
        ([a100("n", 2), a100("m", 2)], LARGE, "large asks for 4 GPUs each with 80 GB, but"),
        ([a100("n", 2)], ON_A10G, "picky asks for 1 GPU A10G with 16 GB.*2 x A100 of 80 GB on one"),
        ([Node("n", gpus=1)], LARGE, "1 x GPU on one node"),
    ],
)
def test_who_fits_nowhere_is_told_in_one_line(
    nodes: list[Node], wanting: Expert, said: str
) -> None:
    with pytest.raises(NoRoom, match=said) as caught:
        plan_places(nodes, [API, wanting])
    assert caught.value.experts == (wanting,)
    assert "\n" not in str(caught.value)


def test_others_like_it_are_counted() -> None:
    with pytest.raises(NoRoom, match=r"\(and 1 more experts like it\)"):
        plan_places([], [SMALL, MEDIUM])


def test_what_is_missing_when_nodes_come_and_go() -> None:
    before = plan_places([a10g("a"), a10g("b")], [API, SMALL])
    after = plan_places([a10g("b"), a10g("c")], [API, SMALL])
    assert missing_places(before, before, workers=None) == []
    moved = [*(place for place in before if place.node == "b")]
    fresh = missing_places(after, moved, workers=None)
    assert sorted((place.node, place.gpus) for place in fresh) == [("c", 0), ("c", 1)]
    waiting = [place for place in before if place.gpus]  # one keeper still waits for a GPU
    fresh = missing_places([place for place in after if place.gpus], waiting, workers=None)
    assert fresh == []
    assert missing_places(plan_places([a10g("c")], [API], workers=2), before, workers=2) == []


NODES = st.builds(
    Node,
    id=st.sampled_from("abcd"),
    cpus=st.sampled_from([0.0, 4.0]),
    gpus=st.integers(0, 8),
    accelerator=st.sampled_from(["", "A100", "A10G"]),
    gpu_gb=st.sampled_from([None, 24.0, 80.0]),
)
NEEDS = st.builds(
    expert,
    label=st.sampled_from("uvwxyz"),
    gpu_gb=st.sampled_from([8.0, 40.0]),
    gpus=st.sampled_from([1, 2, 4]),
    accelerator=st.sampled_from([None, "A100", "A10G"]),
)


@given(
    st.lists(NODES, unique_by=lambda node: node.id),
    st.lists(NEEDS, unique_by=lambda e: e.label),
    st.none() | st.integers(1, 9),
)
def test_every_plan_holds(nodes: list[Node], experts: list[Expert], limit: int | None) -> None:
    try:
        places = plan_places(nodes, experts, gpus=limit)
    except NoRoom:
        return
    assert places == plan_places(list(reversed(nodes)), experts, gpus=limit)
    by_id = {node.id: node for node in nodes}
    for name, node in by_id.items():
        assert sum(place.gpus for place in places if place.node == name) <= node.gpus
    assert limit is None or sum(place.gpus for place in places) <= limit
    for one in experts:
        hosts = [place for place in places if one.label in place.experts]
        assert hosts
        for place in hosts:
            node = by_id[place.node]
            assert place.gpus >= one.gpus
            assert fits(one, node.accelerator, node.gpu_gb)


def test_nodes_are_read_from_what_ray_says() -> None:
    said = {"NodeID": "n", "Resources": {"CPU": 4.0, "GPU": 2.0, "accelerator_type:A100": 1.0}}
    assert node_from(said, 40.0) == Node("n", 4.0, 2, "A100", 40.0)
    labelled = {"NodeID": "n", "Resources": {}, "Labels": {"ray.io/accelerator-type": "L4"}}
    assert node_from(labelled) == Node("n", accelerator="L4")
    assert offered([node_from({"NodeID": "n", "Resources": {"GPU": 1.0}})]) == "1 x GPU on one node"


@pytest.mark.parametrize(("limit", "drivers"), [(256, 3), (7, 7), (64, 1), (5, 2)])
def test_shares_add_up(limit: int, drivers: int) -> None:
    assert sum(share_of(limit, (i, drivers)) for i in range(drivers)) == limit


def test_nobody_gets_nothing() -> None:
    assert [share_of(1, (i, 3)) for i in range(3)] == [1, 1, 1]
