"""The simulator against worlds that are small enough to be computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.fleets.fleet import Action, Dispatch, Load, Loaded, Results, Unload, WorkerJoined
from orchestrator.planner.plan import AsksArrived, ExpertThrottled, PlanEvent
from orchestrator.simulator.endpoints import Endpoint
from orchestrator.simulator.machines import Gpu, GpuExpert, GpuWorker, HostedExpert, PolicyBroke
from orchestrator.simulator.policies import BASELINES, Barrier, LongestQueue
from orchestrator.simulator.simulate import Call, KnownLengths, Report, Trace, World, simulate
from orchestrator.simulator.workloads import WORKLOADS, Draws, labels, seat, workload
from protocols.errors import Mistake

SLOW = GpuExpert(load_s=5.0, t0_s=1.0, t1_s=0.5, batch_limit=2)
"""Two requests run in 2 s a step, one in 1.5 s."""


def trace(*turns: Sequence[tuple[str, int]], arrives: float = 0.0) -> Trace:
    calls = [tuple([Call(seat("role", e), tokens) for e, tokens in turn]) for turn in turns]
    return Trace(tuple(calls), arrives=arrives)


def run(world: World, *traces: Trace, policy: str = "barrier") -> Report:
    return simulate(BASELINES[policy](), world, traces)


def asks(expert: str, *tokens: int) -> Dispatch:
    return Dispatch(0, "gpu", expert, ())


def test_a_batch_shrinks_as_its_requests_end() -> None:
    found = run(World.of({"a": SLOW}), trace([("a", 10)]), trace([("a", 20)]))
    assert found.makespan_s == pytest.approx(5 + 10 * 2.0 + 10 * 1.5)
    assert (found.asks, found.tokens, found.load_count, found.sessions) == (2, 30, 1, 2)
    assert found.session_s == pytest.approx((25.0, 40.0))
    assert (found.session_quantile(0.5), found.session_quantile(0.95)) == pytest.approx((25, 40))
    assert [found.share(s) for s in ("busy", "loading", "idle")] == pytest.approx(
        [35 / 40, 1 / 8, 0]
    )
    assert (found.hit_rate, found.queue_per_visit) == (0.0, 2)


def test_who_comes_in_the_middle_of_a_step_joins_at_the_next() -> None:
    found = run(World.of({"a": SLOW}), trace([("a", 10)]), trace([("a", 10)], arrives=6.0))
    # alone from 5.0 to 6.5; nine steps together; the second has one left
    assert found.makespan_s == pytest.approx(6.5 + 9 * 2.0 + 1.5)
    assert found.session_s == pytest.approx((26.0 - 6.0, 24.5))


def test_who_finds_no_place_in_the_batch_waits_for_one() -> None:
    found = run(World.of({"a": SLOW}), *[trace([("a", 10)]) for _ in range(3)])
    assert found.makespan_s == pytest.approx(5 + 10 * 2.0 + 10 * 1.5)


def test_a_worker_keeps_what_it_is_given_beyond_its_batch() -> None:
    gpu = Gpu(GpuWorker(name="gpu", memory_gb=1), {"a": SLOW})
    gpu.perform(Load("gpu", "a"), [], 0.0)
    gpu.advance(5.0)
    gpu.perform(asks("a"), [4, 8, 2], 5.0)
    assert gpu.next_at() == 5 + 4 * 2.0
    (first,) = gpu.advance(13.0)
    assert isinstance(first, Results)
    assert [(i, r.usage.completion_tokens) for i, r in first.items] == [(0, 4)]
    assert gpu.next_at() == 13 + 2 * 2.0  # the third runs at once


def test_a_load_runs_beside_generation_and_two_experts_share_the_rounds() -> None:
    gpu = Gpu(GpuWorker(name="gpu", memory_gb=2), {"a": SLOW, "b": SLOW})
    gpu.perform(Load("gpu", "a"), [], 0.0)
    assert gpu.advance(5.0) == [Loaded("gpu", "a", 5.0)]
    gpu.perform(Dispatch(0, "gpu", "a", ()), [10], 5.0)
    gpu.perform(Load("gpu", "b"), [], 5.0)
    assert gpu.next_at() == 10.0  # the load; the request would end at 20.0
    assert gpu.advance(10.0) == [Loaded("gpu", "b", 5.0)]
    gpu.perform(Dispatch(1, "gpu", "b", ()), [2], 10.0)
    # the round that runs ends at 11.0, after 4; then two rounds of 1.5 + 1.5
    assert gpu.next_at() == pytest.approx(17.0)
    gpu.advance(gpu.next_at() or 0.0)
    assert gpu.next_at() == pytest.approx(17.0 + 4 * 1.5)
    gpu.advance(gpu.next_at() or 0.0)
    assert gpu.next_at() is None
    assert gpu.times.busy == pytest.approx(18.0)
    assert (gpu.times.loading, gpu.times.idle) == (5.0, 0.0)


def test_loads_of_one_gpu_come_one_after_the_other() -> None:
    gpu = Gpu(GpuWorker(name="gpu", memory_gb=2), {"a": SLOW, "b": SLOW})
    gpu.perform(Load("gpu", "a"), [], 0.0)
    gpu.perform(Load("gpu", "b"), [], 1.0)
    assert gpu.next_at() == 5.0
    gpu.advance(5.0)
    assert gpu.next_at() == 10.0


def test_what_is_evicted_makes_room_and_must_be_loaded_again() -> None:
    world = World.of({"a": SLOW, "b": SLOW})
    found = run(world, trace([("a", 2)], [("b", 2)], [("a", 2)]))
    assert dict(found.loads) == {"a": 2, "b": 1}
    assert found.makespan_s == pytest.approx(3 * (5 + 2 * 1.5))
    roomy = run(
        World.of({"a": SLOW, "b": SLOW}, slots=2), trace([("a", 2)], [("b", 2)], [("a", 2)])
    )
    assert dict(roomy.loads) == {"a": 1, "b": 1}
    assert roomy.makespan_s == pytest.approx(2 * 5 + 3 * 3)
    assert roomy.hit_rate == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ([asks("a")], "asked and not loaded"),
        ([Load("gpu", "a"), asks("a")], "asked and not loaded"),
        ([Load("gpu", "c")], "cannot host c"),
        ([Load("gpu", "a"), Load("gpu", "a")], "loaded twice"),
        ([Load("gpu", "a"), Load("gpu", "b")], "no room for b"),
        ([Unload("gpu", "a")], "evicted and not loaded"),
        ([Load("gpu", "a"), Load("gpu", "b", ("a",))], "evicted and not loaded"),
    ],
)
def test_what_cannot_be_is_refused(actions: list[Action], said: str) -> None:
    gpu = Gpu(GpuWorker(name="gpu", memory_gb=1), {"a": SLOW, "b": SLOW})
    *before, last = actions
    for action in before:
        gpu.perform(action, [1], 0.0)
    with pytest.raises(PolicyBroke, match=said):
        gpu.perform(last, [1], 0.0)


def test_who_runs_is_not_evicted() -> None:
    gpu = Gpu(GpuWorker(name="gpu", memory_gb=1), {"a": SLOW})
    gpu.perform(Load("gpu", "a"), [], 0.0)
    gpu.advance(5.0)
    gpu.perform(asks("a"), [1], 5.0)
    with pytest.raises(PolicyBroke, match="while it runs"):
        gpu.perform(Unload("gpu", "a"), [], 5.0)


def test_the_barrier_groups_each_turn_by_expert() -> None:
    sessions = [trace([("a", 4), ("b", 4)], [("a", 4), ("b", 4)]) for _ in range(2)]
    found = run(World.of({"a": SLOW, "b": SLOW}), *sessions)
    assert [v.expert for v in found.visits] == ["a", "b", "a"]  # b stays for the second turn
    assert [v.asks for v in found.visits] == [2, 4, 2]
    assert found.makespan_s == pytest.approx(3 * 5 + 4 * 4 * 2.0)


def test_the_barrier_waits_for_the_last_session() -> None:
    sessions = [trace([("a", 2)], [("a", 2)]), trace([("a", 20)], [("a", 2)])]
    found = run(World.of({"a": SLOW}), *sessions)
    assert found.makespan_s == pytest.approx(5 + 2 * 2.0 + 18 * 1.5 + 2 * 2.0)
    free = run(World.of({"a": SLOW}), *sessions, policy="longest_queue")
    assert free.makespan_s == pytest.approx(5 + 4 * 2.0 + 16 * 1.5 + 2 * 1.5)


def test_one_session_after_the_other_asks_one_at_a_time() -> None:
    found = run(World.of({"a": SLOW}), *[trace([("a", 2), ("a", 2)])] * 2, policy="per_session")
    assert found.makespan_s == pytest.approx(5 + 4 * 2 * 1.5)
    assert (found.queue_per_visit, found.plans > 4) == (4, True)


def test_first_in_first_out_serves_neighbours_together() -> None:
    found = run(
        World.of({"a": SLOW, "b": SLOW}),
        trace([("a", 2), ("a", 2), ("b", 2), ("a", 2)]),
        policy="fifo",
    )
    assert [v.expert for v in found.visits] == ["a", "b", "a"]
    assert found.makespan_s == pytest.approx(3 * 5 + 2 * 2.0 + 2 * 2 * 1.5)


def test_a_batch_of_fifo_batch_is_never_refilled() -> None:
    sessions = [trace([("a", 4)]), trace([("a", 2)]), trace([("a", 4)])]
    found = run(World.of({"a": SLOW}), *sessions, policy="fifo_batch")
    assert found.makespan_s == pytest.approx(5 + (2 * 2.0 + 2 * 1.5) + 4 * 1.5)
    assert found.load_count == 1


def test_two_gpus_share_the_experts() -> None:
    sessions = [trace([("a", 4), ("b", 4)])]
    found = run(World.of({"a": SLOW, "b": SLOW}, gpus=2), *sessions)
    assert found.makespan_s == pytest.approx(5 + 4 * 1.5)
    assert {v.worker for v in found.visits} == {"gpu_000", "gpu_001"}
    unequal = run(World.of({"a": SLOW}, gpus=2), trace([("a", 4)]))
    assert [unequal.share(s) for s in ("busy", "loading", "idle")] == pytest.approx(
        [6 / 22, 5 / 22, 11 / 22]
    )


def test_no_more_sessions_live_than_the_window_holds() -> None:
    world = World.of({"a": SLOW}, window=1)
    found = run(world, trace([("a", 2)]), trace([("a", 2)]), Trace(()))
    assert found.makespan_s == pytest.approx(5 + 2 * 2 * 1.5)
    assert (found.sessions, found.asks) == (3, 2)


@pytest.mark.parametrize(
    ("figures", "seconds"),
    [
        (HostedExpert(latency_s=1.0, concurrency=2), 3.0),
        (HostedExpert(latency_s=1.0, token_s=0.5, concurrency=5), 2.0),
        (HostedExpert(latency_s=1.0, requests_per_minute=30), 9.0),
        (HostedExpert(latency_s=1.0, requests_per_minute=60, burst_s=3), 3.0),
        (HostedExpert(latency_s=1.0, tokens_per_minute=30), 17.0),
    ],
)
def test_hosted_experts_keep_their_limits(figures: HostedExpert, seconds: float) -> None:
    world = World.of({"api": figures})
    found = run(world, *[trace([("api", 2)]) for _ in range(5)])
    assert found.makespan_s == pytest.approx(seconds)
    assert (found.load_count, found.hit_rate, found.queue_per_visit) == (0, None, None)
    assert found.share("busy") is None
    limited = figures.requests_per_minute or figures.tokens_per_minute
    assert (found.throttled > 0) == (limited is not None)


def test_a_hosted_expert_is_not_loaded() -> None:
    endpoint = Endpoint("api", "gpt", HostedExpert())
    endpoint.perform(Load("api", "gpt"), [], 0.0)
    assert endpoint.next_at() is None


def test_nothing_takes_no_time() -> None:
    found = run(World.of({"a": SLOW}))
    assert (found.makespan_s, found.planner_share, found.session_quantile(0.5)) == (0.0, 0.0, 0.0)
    assert found.as_json()["hit_rate"] is None


def test_an_unknown_expert_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="no expert b, c"):
        run(World.of({"a": SLOW}), trace([("c", 1), ("a", 1)], [("b", 1)]))


class Lazy:
    """Does nothing, and asks to be woken at `wake_at`."""

    def __init__(self, wake_at: float | None, actions: Sequence[Action] = ()) -> None:
        self.wake_at = wake_at
        self.actions = list(actions)

    def apply(self, event: PlanEvent, now: float) -> None:
        return

    def plan(self, now: float) -> tuple[list[Action], float | None]:
        actions, self.actions = self.actions, []
        return actions, self.wake_at


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Lazy(None), "1 asks waiting for ever"),
        (Lazy(0.0), "again and again"),
        (Lazy(None, [Load("elsewhere", "a")]), "no worker elsewhere"),
    ],
)
def test_a_policy_that_stalls_is_told_so(policy: Lazy, said: str) -> None:
    with pytest.raises(PolicyBroke, match=said):
        simulate(policy, World.of({"a": SLOW}), [trace([("a", 1)])])


class Watched:
    """A baseline, and all that it was told."""

    def __init__(self) -> None:
        self.inner = LongestQueue()
        self.events: list[PlanEvent] = []
        self.actions: list[Action] = []
        self.arrivals: list[float] = []

    def apply(self, event: PlanEvent, now: float) -> None:
        self.events.append(event)
        if isinstance(event, AsksArrived):
            self.arrivals += [now] * len(event.items)
        self.inner.apply(event, now)

    def plan(self, now: float) -> tuple[list[Action], float | None]:
        actions, wake_at = self.inner.plan(now)
        self.actions += actions
        return actions, wake_at


def test_the_policy_hears_what_a_driver_would_tell_it() -> None:
    world = World.of({"a": SLOW, "api": HostedExpert(requests_per_minute=60)})
    watched = Watched()
    simulate(watched, world, [trace([("a", 1), ("api", 1), ("api", 1)])])
    joined = [e for e in watched.events if isinstance(e, WorkerJoined)]
    assert joined[0] == WorkerJoined("gpu_000", {"a": 2}, 1.0, {"a": 1.0})
    assert (joined[1].memory_gb, joined[1].batch_limits) == (None, {"api": 128})
    (throttled,) = [e for e in watched.events if isinstance(e, ExpertThrottled)]
    assert throttled == ExpertThrottled("api", 1.0)
    arrived = [item for e in watched.events if isinstance(e, AsksArrived) for item in e.items]
    assert len(arrived) == 4  # one of them twice
    assert watched.arrivals == [0.0, 0.0, 0.0, 1.0]
    assert {item.group for item in arrived} == {arrived[0].group}
    places = [(i.ask.place.turn, i.ask.place.slot) for i in arrived[:3] if i.ask.place]
    assert places == [(0, 0), (0, 1), (0, 2)]


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(sorted(WORKLOADS)),
    policy=st.sampled_from(sorted(BASELINES)),
    sessions=st.integers(1, 40),
    gpus=st.integers(1, 3),
    slots=st.integers(1, 3),
    window=st.none() | st.integers(1, 20),
    report_s=st.sampled_from((0.0, 0.02, 0.7)),
    seed=st.integers(0, 1_000),
)
def test_every_ask_is_answered_once_under_every_baseline(
    name: str,
    policy: str,
    sessions: int,
    gpus: int,
    slots: int,
    window: int | None,
    report_s: float,
    seed: int,
) -> None:
    traces = workload(name, sessions, draws=Draws(mean=20.0), seed=seed)
    world = World.of(
        {e: GpuExpert(batch_limit=3) for e in labels()},
        gpus=gpus,
        slots=slots,
        window=window,
        report_s=report_s,
    )
    calls = [call for one in traces for turn in one.turns for call in turn]
    found = simulate(BASELINES[policy](), world, traces)
    assert (found.sessions, found.asks) == (sessions, len(calls))
    assert found.tokens == sum(call.tokens for call in calls)
    assert sum(visit.asks for visit in found.visits) == len(calls)
    assert found.operations == 3 * len(calls)
    again = simulate(BASELINES[policy](), world, traces)
    assert replace(again, policy_cpu_s=0.0) == replace(found, policy_cpu_s=0.0)


def test_a_workload_is_its_seed() -> None:
    assert workload("mixed", 8, seed=1) == workload("mixed", 8, seed=1)
    assert workload("mixed", 8, seed=1) == workload("mixed", 20, seed=1)[:8]
    assert workload("mixed", 8, seed=1) != workload("mixed", 8, seed=2)
    shapes = [[len(turn) for turn in one.turns] for one in workload("mixed", 4)]
    assert shapes == [[3, 1], [3, 3, 3], [2, 2, 2, 2, 2, 1], [1] * 6]


def test_lengths_have_their_mean() -> None:
    calls = [c for t in workload("debate", 2_000) for turn in t.turns for c in turn]
    assert sum(call.tokens for call in calls) / len(calls) == pytest.approx(400, rel=0.02)
    popular = sum(call.seat.expert == "expert_00" for call in calls) / len(calls)
    rare = sum(call.seat.expert == "expert_15" for call in calls) / len(calls)
    assert popular > 2.5 * rare > 0.05


def test_known_lengths_are_told_before_the_asks_arrive() -> None:
    class Nosy(Barrier):
        def __init__(self, lengths: KnownLengths) -> None:
            super().__init__()
            self.lengths = lengths
            self.seen: list[float] = []

        def apply(self, event: PlanEvent, now: float) -> None:
            if isinstance(event, AsksArrived):
                self.seen += [self.lengths.predict(item.ask) for item in event.items]
            super().apply(event, now)

    lengths = KnownLengths()
    nosy = Nosy(lengths)
    simulate(nosy, World.of({"a": SLOW}), [trace([("a", 7)], [("a", 9)])], lengths=lengths)
    assert nosy.seen == [7.0, 9.0]


def test_what_happened_may_be_told_a_little_later() -> None:
    world = World.of({"a": SLOW}, report_s=4.0)
    found = run(world, trace([("a", 2)], [("a", 2)]), trace([("a", 4)]))
    # loaded at 5, told at 8; two steps of two and two of one end at 15, told at 16; then the
    # second turn, which the barrier held, ends at 19, told at 20
    assert found.session_s == pytest.approx((16.0, 20.0))
    assert found.plans == 5
