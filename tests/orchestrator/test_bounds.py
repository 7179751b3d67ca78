"""The lower bounds: computed by hand, and never above what any policy needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planner.plan import Planner
from orchestrator.simulator.bounds import fewest_loads, lower_bounds, reference_loads
from orchestrator.simulator.machines import GpuExpert, GpuWorker, HostedExpert
from orchestrator.simulator.policies import BASELINES
from orchestrator.simulator.simulate import Call, Policy, Trace, World, simulate
from orchestrator.simulator.workloads import WORKLOADS, labels, seat, workload

FAST = GpuExpert(load_s=5.0, t0_s=1.0, t1_s=0.5, batch_limit=4)
"""A full batch makes 4 tokens in 3 s: 0.75 s each."""


def trace(*turns: str, tokens: int = 10, arrives: float = 0.0) -> Trace:
    calls = [tuple([Call(seat("role", e), tokens) for e in turn]) for turn in turns]
    return Trace(tuple(calls), arrives=arrives)


@pytest.mark.parametrize(
    ("experts", "stages", "slots", "loads"),
    [(16, 3, 1, 46), (16, 1, 1, 16), (16, 3, 3, 42), (16, 6, 1, 91), (2, 3, 4, 2)],
)
def test_the_reference_number_of_loads(experts: int, stages: int, slots: int, loads: int) -> None:
    assert reference_loads(experts, stages, slots) == loads


@pytest.mark.parametrize(
    ("sessions", "slots", "loads"),
    [
        (["abc"], 1, 3),
        (["abc abc abc"], 1, 7),  # one of three stays at each turn
        (["abc abc abc"], 2, 5),
        (["abc abc abc"], 3, 3),
        (["a b a b"], 1, 4),
        (["a b a b"], 2, 2),
        (["abc abc", "def def"], 1, 10),
        (["abc abc", "cde cde"], 1, 7),  # the two share an expert: one of them counts, d and e once
        (["abc abc", "ad"], 1, 6),
        (["abc a"], 1, 3),
        (["abc d"], 1, 4),
        ([""], 1, 0),
    ],
)
def test_loads_that_nobody_can_avoid(sessions: list[str], slots: int, loads: int) -> None:
    traces = [trace(*session.split()) for session in sessions]
    experts = {e: FAST for e in "abcdef" if e in "".join(sessions)}
    assert fewest_loads(traces, experts, slots) == (loads, loads * 5.0)


def test_the_bounds_of_the_debate_are_those_of_the_published_table() -> None:
    world = World.of({e: GpuExpert() for e in labels()})
    bounds = lower_bounds(world, workload("debate", 3_000))
    assert bounds.loads == 36  # five disjoint teams of three with 7 loads each, and one expert
    assert bounds.setup_s == pytest.approx(bounds.work_s + 360)
    assert bounds.work_s == pytest.approx(27_000 * 400 * 0.0228 / 256, rel=0.02)
    assert lower_bounds(world, workload("symbolic_moe", 3_000)).loads == 16


def test_work_and_setup() -> None:
    sessions = [trace("a", "b") for _ in range(100)]
    tight = lower_bounds(World.of({"a": FAST, "b": FAST}), sessions)
    assert (tight.work_s, tight.setup_s, tight.which) == (1500.0, 1510.0, "setup")
    roomy = lower_bounds(World.of({"a": FAST, "b": FAST}, slots=2), sessions)
    assert (roomy.setup_s, roomy.makespan_s) == (1505.0, 1505.0)
    two = lower_bounds(World.of({"a": FAST, "b": FAST}, gpus=2), sessions)
    assert (two.work_s, two.setup_s) == (750.0, 755.0)


def test_loads_alone_may_be_the_bound() -> None:
    slow = FAST.model_copy(update={"load_s": 1_000.0})
    bounds = lower_bounds(World.of({"a": slow, "b": slow}, slots=2), [trace("ab")])
    assert bounds.setup_s == 2_000.0


def test_the_path_is_the_longest_session_alone() -> None:
    one, many = [trace("ab", "a")], [trace("ab", "a"), trace("a", tokens=1)]
    for sessions in (one, many):
        bounds = lower_bounds(World.of({"a": FAST, "b": FAST}), sessions)
        assert (bounds.path_s, bounds.which) == (10 + 3 * 10 * 1.5, "path")
    roomy = lower_bounds(World.of({"a": FAST, "b": FAST}, slots=2, gpus=2), one)
    assert roomy.path_s == 5 + 2 * 10 * 1.5
    late = lower_bounds(World.of({"a": FAST, "b": FAST}), [trace("a", arrives=100.0)])
    assert late.path_s == 100.0 + 15.0


@pytest.mark.parametrize(
    ("figures", "seconds"),
    [
        (HostedExpert(latency_s=2.0, concurrency=4), 6.0),
        (HostedExpert(latency_s=0.0, requests_per_minute=60.0), 9.0),
        (HostedExpert(latency_s=0.0, tokens_per_minute=60.0), 100.0 - 10.0 - 1.0),
    ],
)
def test_hosted_experts(figures: HostedExpert, seconds: float) -> None:
    bounds = lower_bounds(World.of({"a": figures}), [trace("a")] * 10)
    assert (bounds.hosted_s, bounds.which, bounds.work_s) == (seconds, "hosted", 0.0)


def test_experts_that_nobody_asks_do_not_count() -> None:
    bounds = lower_bounds(World.of({"a": FAST, "b": FAST, "c": HostedExpert()}), [trace("a")])
    assert (bounds.loads, bounds.hosted_s) == (1, 0.0)
    nothing = lower_bounds(World.of({"a": FAST}), [])
    assert (nothing.makespan_s, nothing.loads) == (0.0, 0)
    assert nothing.as_json()["which"] in ("work", "setup", "path", "hosted")


EXPERTS = ("a", "b", "c", "d", "api")
CALLS = st.tuples(st.sampled_from(EXPERTS), st.integers(1, 9))
SESSIONS = st.lists(
    st.lists(st.lists(CALLS, min_size=1, max_size=3), min_size=1, max_size=4),
    min_size=1,
    max_size=8,
)
SIZES = st.lists(st.sampled_from((1.0, 2.0)), min_size=4, max_size=4)


@settings(deadline=None, max_examples=150)
@given(
    sessions=SESSIONS,
    sizes=SIZES,
    loads=st.lists(st.sampled_from((0.5, 3.0, 20.0)), min_size=4, max_size=4),
    memory=st.sampled_from((2.0, 3.0, 4.0)),
    gpus=st.integers(1, 2),
    arrives=st.sampled_from((0.0, 7.0)),
)
def test_no_policy_beats_the_bounds(
    sessions: list[list[list[tuple[str, int]]]],
    sizes: Sequence[float],
    loads: Sequence[float],
    memory: float,
    gpus: int,
    arrives: float,
) -> None:
    world = World(
        experts={
            **{
                label: GpuExpert(load_s=load, t0_s=0.3, t1_s=0.1, batch_limit=3, size_gb=size)
                for label, load, size in zip(EXPERTS, loads, sizes, strict=False)
            },
            "api": HostedExpert(latency_s=2.0, concurrency=2, requests_per_minute=40.0),
        },
        workers=tuple([GpuWorker(name=f"gpu_{i}", memory_gb=memory) for i in range(gpus)]),
    )
    traces = [
        Trace(
            tuple([tuple([Call(seat("role", e), n) for e, n in turn]) for turn in turns]),
            arrives=arrives * number,
        )
        for number, turns in enumerate(sessions)
    ]
    bounds = lower_bounds(world, traces)
    policies: dict[str, Callable[[], Policy]] = {**BASELINES, "planner": Planner}
    for name, make in policies.items():
        found = simulate(make(), world, traces)
        assert found.makespan_s >= bounds.makespan_s - 1e-6, name
        assert found.load_count >= bounds.loads, name


@pytest.mark.parametrize("name", sorted(WORKLOADS))
@pytest.mark.parametrize("slots", [1, 3])
def test_no_baseline_beats_the_bounds_of_the_workloads(name: str, slots: int) -> None:
    traces = workload(name, 200)
    world = World.of({e: GpuExpert() for e in labels()}, slots=slots)
    bounds = lower_bounds(world, traces)
    for make in BASELINES.values():
        assert simulate(make(), world, traces).makespan_s >= bounds.makespan_s
