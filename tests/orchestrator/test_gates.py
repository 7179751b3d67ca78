"""Gates: what an endpoint's experts share, and what is learned from what comes back."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.engine import Attempted, Throttled
from agents.roster import Expert
from orchestrator.fleets.fleet import Dispatch, Results, WorkerJoined, WorkerLost
from orchestrator.limits.circuit import Circuit
from orchestrator.limits.gates import Gate, Gates
from orchestrator.limits.limits import Limit
from orchestrator.planner.lengths import Lengths
from orchestrator.planner.plan import AsksArrived, Planner
from protocols.replies import RateHint, Reply, Usage, failed
from tests.orchestrator.plan_examples import Thing, texts, things

URL = "http://127.0.0.1:8000/v1"
FINE = Reply("x", usage=Usage(50, 50))
DOWN = failed("provider", "connection refused", cause="connection")


def gate(limit: Limit | None = None, **more: Any) -> Gate:
    return Gate("openai", limit, Lengths(), **more)


def experts(*labels: str, url: str | None = URL) -> list[Expert]:
    return [Expert(label=one, model=f"openai/{one}", base_url=url) for one in labels]


class Run:
    """A planner with one worker, and the time."""

    def __init__(self, limits: dict[str, Limit], labels: str = "ab", room: int = 256) -> None:
        self.gates = Gates(experts(*labels), limits, circuit=lambda: Circuit(3, 10.0))
        self.planner = Planner(gates=self.gates)
        self.planner.apply(WorkerJoined("w", dict.fromkeys(labels, room)), 0.0)
        self.running: list[tuple[int, int, str]] = []
        self.wake_at: float | None = None

    def plan(self, now: float) -> list[str]:
        actions, self.wake_at = self.planner.plan(now)
        gone = []
        for action in actions:
            assert isinstance(action, Dispatch)
            for index, task in enumerate(texts(action.asks)):
                self.running.append((action.batch, index, action.expert))
                gone.append(f"{action.expert}{task}")
        return gone

    def end(self, now: float, result: Attempted = FINE, count: int = 1) -> None:
        for _ in range(count):
            batch, index, _ = self.running.pop(0)
            self.planner.apply(Results(batch, ((index, result),)), now)


def test_experts_of_an_endpoint_share_its_rate_and_take_turns() -> None:
    run = Run({URL: Limit(requests_per_minute=240.0)})
    run.planner.apply(AsksArrived([*things("a", 100), *things("b", 3)]), 0.0)
    assert sorted(run.plan(0.0)) == ["a0", "a1", "b0", "b1"], "a burst of a second, evenly"
    assert run.wake_at == pytest.approx(0.25)
    assert run.plan(0.25) == ["a2"]
    assert run.plan(0.26) == []
    assert run.plan(0.5) == ["b2"], "b's turn, though a has many more"
    assert run.plan(0.75) == ["a3"]


def test_concurrency_holds_for_all_experts_together() -> None:
    run = Run({URL: Limit(concurrency=3)})
    run.planner.apply(AsksArrived([*things("a", 5), *things("b", 5)]), 0.0)
    assert len(run.plan(0.0)) == 3
    assert run.wake_at is None, "nothing but an end lets another go"
    run.end(1.0)
    assert len(run.plan(1.0)) == 1
    run.planner.apply(WorkerLost("w", "killed", replaced=True), 2.0)
    run.planner.apply(WorkerJoined("w2", {"a": 9, "b": 9}), 2.0)
    assert len(run.plan(2.0)) == 3, "what a lost worker held is free again"


def test_an_expert_without_room_does_not_hold_up_the_others() -> None:
    run = Run({URL: Limit(concurrency=100)}, room=2)
    run.planner.apply(AsksArrived([*things("a", 5), *things("b", 2)]), 0.0)
    assert sorted(run.plan(0.0)) == ["a0", "a1", "b0", "b1"]
    run.end(0.5)
    assert len(run.plan(0.5)) == 1


def test_tokens_are_reserved_by_estimate_and_corrected_when_they_are_known() -> None:
    one = gate(Limit(tokens_per_minute=30_000.0))
    long = Thing("a", 1, max_tokens=900)
    assert one.next_at(long.ask, 0.0) <= 0.0
    one.send(long, 0.0)
    second = Thing("a", 2, max_tokens=900)
    assert one.next_at(second.ask, 0.0) == pytest.approx(0.6, abs=0.02), "a second holds 500"
    one.end(long, Reply("x", usage=Usage(1, 49)), 0.0)
    assert one.next_at(second.ask, 0.0) <= 0.0, "it took fifty"


def test_an_ask_larger_than_a_burst_goes_when_the_bucket_is_full() -> None:
    run = Run({URL: Limit(tokens_per_minute=6_000.0)}, labels="a")
    run.planner.apply(AsksArrived([Thing("a", i, max_tokens=5_000) for i in range(2)]), 0.0)
    assert run.plan(0.0) == ["a0"]
    assert run.wake_at is not None
    assert run.wake_at == pytest.approx(4.0, abs=0.1), "401 of 100 a second, and a full bucket"
    assert run.plan(run.wake_at) == ["a1"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3_000)), max_size=40))
def test_every_ask_goes_within_the_time_that_the_limits_take(asks: list[tuple[str, int]]) -> None:
    run = Run({URL: Limit(requests_per_minute=600, tokens_per_minute=60_000.0, concurrency=4)})
    items = [Thing(expert, n, max_tokens=most) for n, (expert, most) in enumerate(asks)]
    run.planner.apply(AsksArrived(items), 0.0)
    now, gone = 0.0, []
    for _ in range(500):
        gone += run.plan(now)
        if len(gone) == len(items):
            break
        if run.wake_at is not None:
            now = run.wake_at
        else:
            run.end(now, Reply("x"))
    assert len(gone) == len(items), "nothing starves"
    assert now <= len(items) / 10 + sum(most + 1 for _, most in asks) / 1_000 + 1.0


def test_being_throttled_rests_the_endpoint_and_cuts_once_for_all_under_way() -> None:
    one = gate(Limit(requests_per_minute=600.0))
    items = things("a", 4)
    for item in items:
        assert one.next_at(item.ask, 0.0) <= 0.0
        one.send(item, 0.0)
    one.end(items[0], Throttled(2.0), 1.0)
    assert one.next_at(items[0].ask, 1.0) == 3.0
    assert one.share == pytest.approx(0.9)
    one.end(items[1], Throttled(1.0), 1.5)
    assert one.share == pytest.approx(0.9), "it was under way before the cut"
    assert one.rests_until == 3.0
    one.end(items[2], FINE, 4.0)
    assert 0.9 < one.share < 1.0
    one.end(items[3], FINE, 1e6)
    assert one.share == 1.0, "it grows back"


def test_where_no_rate_is_known_the_requests_at_once_are_cut_and_grow_back() -> None:
    one = gate()
    items = things("a", 30)
    for item in items:
        one.send(item, 0.0)
    one.end(items[0], Throttled(0.0), 1.0)
    assert one.window == pytest.approx(20.0)
    assert one.next_at(items[0].ask, 1.0) == math.inf
    for item in items[1:]:
        one.end(item, FINE, 2.0)
    assert one.window > 20.0
    assert one.next_at(items[0].ask, 2.0) <= 2.0


def test_where_no_rate_is_known_the_one_at_which_answers_came_is_found() -> None:
    one = gate()
    items = things("a", 60)
    for number, item in enumerate(items[:50]):
        one.send(item, number / 10)
        one.end(item, FINE, number / 10 + 0.01)
    over, other = items[50:52]
    for item in items[52:58]:
        assert one.window < math.inf, "a few that are turned away are put up with"
        one.send(item, 5.0)
        one.end(item, Throttled(0.0), 5.0)
    assert one.window == math.inf
    gaps = []
    now = 5.0
    for _ in range(8):
        now = one.next_at(over.ask, now)
        one.send(over, now)
        one.forget(over)
        gaps.append(now)
    assert gaps[-1] - gaps[0] == pytest.approx(7 / 9.0, rel=0.1), "a tenth less than ten a second"
    one.send(other, 30.0)
    one.end(other, FINE, 30.0)
    now = one.next_at(over.ask, 40.0)
    one.send(over, now)
    assert one.next_at(over.ask, now) == now, "it grows: there is a burst again"


def test_an_unknown_endpoint_is_not_sent_everything_at_once_but_soon() -> None:
    run = Run({}, labels="a", room=4_096)
    run.planner.apply(AsksArrived(things("a", 2_000)), 0.0)
    sent = [len(run.plan(0.0))]
    for round_ in range(1, 4):
        run.end(float(round_), count=len(run.running))
        sent.append(len(run.plan(float(round_))))
    assert sent == [64, 128, 256, 512]
    named = Run({URL: Limit(concurrency=1_000)}, labels="a", room=4_096)
    named.planner.apply(AsksArrived(things("a", 2_000)), 0.0)
    assert len(named.plan(0.0)) == 1_000


def test_headers_make_buckets_where_nothing_was_named() -> None:
    one = gate()
    first, second = things("a", 2)
    one.send(first, 0.0)
    hint = RateHint(requests_limit=600, requests_left=1, requests_reset_s=59.0)
    one.end(first, Throttled(0.0, rate_hint=hint), 0.0)
    assert one.next_at(second.ask, 0.0) <= 0.0
    one.send(second, 0.0)
    assert one.next_at(second.ask, 0.0) == pytest.approx(0.1, rel=0.2)


def test_headers_never_widen_what_was_named_and_may_narrow_it() -> None:
    one = gate(Limit(requests_per_minute=60, tokens_per_minute=60_000.0))
    first, second = things("a", 2)
    assert one.next_at(first.ask, 0.0) <= 0.0
    one.send(first, 0.0)
    wide = RateHint(requests_limit=9_000, requests_left=8_999)
    one.end(first, Throttled(0.0, rate_hint=replace(wide, tokens_limit=90_000, tokens_left=5)), 0.0)
    assert one.next_at(second.ask, 0.0) == pytest.approx(1.0, rel=0.2)


def test_headers_of_a_day_say_nothing_of_a_minute() -> None:
    one = gate()
    (first,) = things("a", 1)
    one.send(first, 0.0)
    day = RateHint(requests_limit=200, requests_left=0, requests_reset_s=80_000.0)
    one.end(first, Throttled(0.0, rate_hint=day), 0.0)
    assert one.next_at(first.ask, 0.0) <= 0.0


def test_an_endpoint_that_does_not_answer_is_left_alone_and_probed() -> None:
    run = Run({}, labels="a")
    run.planner.apply(AsksArrived(things("a", 9)), 0.0)
    assert len(run.plan(0.0)) == 9
    run.end(1.0, DOWN, count=3)
    (change,) = run.gates.take_changes()
    assert (change.kind, change.endpoint) == ("circuit_open", URL)
    assert "left alone for 10 s: connection refused" in change.message
    run.end(1.0, DOWN, count=6)
    assert run.gates.is_shut("a", 2.0)
    run.planner.apply(AsksArrived(things("a", 5)), 2.0)
    assert run.plan(2.0) == []
    assert run.wake_at == 11.0
    assert run.plan(11.0) == ["a0"], "one probe"
    assert run.plan(11.5) == []
    run.end(12.0, FINE)
    assert [one.kind for one in run.gates.take_changes()] == ["circuit_closed"]
    assert len(run.plan(12.0)) == 4


@pytest.mark.parametrize("cause", ["authentication", "not_found", "not_recorded"])
def test_failures_that_another_attempt_cannot_cure_show_that_somebody_is_there(cause: str) -> None:
    one = gate(circuit=Circuit(failures=2))
    for item in things("a", 5):
        one.send(item, 0.0)
        one.end(item, failed("provider", "no", cause=cause), 0.0)
    assert one.circuit.state == "closed"


def test_a_long_rest_is_told_once() -> None:
    run = Run({}, labels="a")
    run.planner.apply(AsksArrived(things("a", 3)), 0.0)
    run.plan(0.0)
    run.end(1.0, Throttled(120.0, "come back later"), count=2)
    run.end(1.0, Throttled(2.0, "come back soon"))
    (change,) = run.gates.take_changes()
    assert (change.kind, change.endpoint) == ("endpoint_rests", URL)
    assert change.message == f"{URL}: asks to be left alone for 120 s: come back later"


def test_a_silent_endpoint_is_given_up_and_still_probed() -> None:
    one = gate(circuit=Circuit(failures=1, wait_s=10.0), patience_s=60.0)
    first, second = things("a", 2)
    one.send(first, 0.0)
    one.end(first, DOWN, 5.0)
    assert one.due(6.0) == 65.0
    assert one.given_up(64.0) is None
    one.circuit.sent()  # a probe that hangs
    reply = one.given_up(65.0)
    assert reply is not None
    assert reply.failure is not None
    assert reply.failure.boundary == "provider"
    assert reply.failure.message == "openai: given up after 60 s: connection refused"
    assert one.due(66.0) is None
    assert [change.kind for change in one.changes] == ["circuit_open", "endpoint_given_up"]
    one.circuit.forgotten()
    assert one.given_up(70.0) is None, "what waits may be its next probe"
    one.send(second, 70.0)
    one.end(second, FINE, 71.0)
    assert one.given_up(1_000.0) is None


def test_an_account_without_quota_is_given_up_as_throttled() -> None:
    one = gate(patience_s=60.0)
    now = 0.0
    (item,) = things("a", 1)
    while one.given_up(now) is None:
        now = max(now, one.next_at(item.ask, now)) + 0.1
        one.send(item, now)
        one.end(item, Throttled(5.0, "insufficient quota"), now)
        now += 0.1
        assert now < 100.0, "given up by time"
    reply = one.given_up(now)
    assert reply is not None
    assert reply.failure is not None
    assert reply.failure.cause == "throttled"
    assert "insufficient quota" in reply.failure.message


def test_experts_of_this_process_have_no_gate_unless_a_limit_names_them() -> None:
    local = Expert(label="x", model="scripted/slow")
    assert Gates([local], {}).of("x") is None
    named = Gates([local], {"scripted": Limit(concurrency=2)})
    assert named.of("x") is not None
    two = Gates([*experts("a"), *experts("b", url=None)])
    assert two.of("a") is not two.of("b")
