"""The planner is a state machine without I/O: events in, actions out."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from agents.engine import Throttled
from orchestrator.fleets.fleet import Dispatch, LoadFailed, Results, WorkerJoined, WorkerLost
from orchestrator.planner.plan import AsksArrived, Cancelled, ExpertThrottled, Planner, PlanSettings
from protocols.asks import Ask, Model, Seat
from protocols.messages import Message, Part
from protocols.replies import Reply


@dataclass(frozen=True)
class Thing:
    """An item with an ask for an expert; `number` tells it from others."""

    expert: str
    number: int = 0

    @property
    def group(self) -> object:
        return self

    @property
    def due(self) -> float | None:
        return None

    @property
    def ask(self) -> Ask:
        seat = Seat("solver", "solver", self.expert, Model("scripted/echo"))
        return Ask(seat, (Message("user", (Part("task", str(self.number)),)),))


def things(expert: str, count: int) -> list[Thing]:
    return [Thing(expert, number) for number in range(count)]


def dispatches(planner: Planner, now: float = 0.0) -> list[Dispatch]:
    return [action for action in planner.plan(now)[0] if isinstance(action, Dispatch)]


def test_asks_of_many_sessions_leave_in_one_batch_per_expert() -> None:
    planner = Planner()
    planner.apply(WorkerJoined("w", {"a": 256, "b": 256}), 0.0)
    planner.apply(AsksArrived([Thing("a", 1), Thing("b", 2), Thing("a", 3)]), 0.0)
    batches = dispatches(planner)
    assert [(batch.expert, len(batch.asks)) for batch in batches] == [("a", 2), ("b", 1)]
    assert planner.in_flight == 3
    assert dispatches(planner) == []


def test_a_worker_never_runs_more_than_its_batch_limit() -> None:
    planner = Planner(PlanSettings(max_batch=4))
    planner.apply(WorkerJoined("w", {"a": 6}), 0.0)
    planner.apply(AsksArrived(things("a", 10)), 0.0)
    first = dispatches(planner)
    assert [len(batch.asks) for batch in first] == [4, 2]
    planner.apply(Results(first[0].batch, ((1, Reply("x")), (3, Reply("y")))), 0.0)
    assert [len(batch.asks) for batch in dispatches(planner)] == [2]
    assert planner.waiting == 2


def test_the_worker_with_most_room_is_taken() -> None:
    planner = Planner(PlanSettings(max_batch=2))
    planner.apply(WorkerJoined("small", {"a": 2}), 0.0)
    planner.apply(WorkerJoined("large", {"a": 5}), 0.0)
    planner.apply(AsksArrived(things("a", 7)), 0.0)
    taken = [(batch.worker, len(batch.asks)) for batch in dispatches(planner)]
    assert sorted(taken) == [("large", 1), ("large", 2), ("large", 2), ("small", 2)]


def test_a_lost_worker_gives_back_only_what_is_not_finished_and_in_order() -> None:
    planner = Planner()
    planner.apply(WorkerJoined("w", {"a": 256}), 0.0)
    planner.apply(AsksArrived(things("a", 4)), 0.0)
    (batch,) = dispatches(planner)
    planner.apply(Results(batch.batch, ((1, Reply("done")),)), 0.0)
    planner.apply(AsksArrived([Thing("a", 9)]), 0.0)
    planner.apply(WorkerLost("w", "killed"), 0.0)
    assert planner.in_flight == 0
    assert planner.item(batch.batch, 0) is None, "the reply of a late twin finds nobody"
    planner.apply(WorkerJoined("w2", {"a": 256}), 0.0)
    (again,) = dispatches(planner)
    assert [ask.messages[0].text for ask in again.asks] == ["0", "2", "3", "9"]


def test_results_of_a_lost_worker_change_nothing() -> None:
    planner = Planner()
    planner.apply(WorkerJoined("w", {"a": 1}), 0.0)
    planner.apply(AsksArrived(things("a", 1)), 0.0)
    (batch,) = dispatches(planner)
    planner.apply(WorkerLost("w", "killed"), 0.0)
    planner.apply(Results(batch.batch, ((0, Reply("late")),)), 0.0)
    assert planner.waiting == 1
    assert planner.in_flight == 0


def test_a_throttled_expert_rests_while_others_go_on() -> None:
    planner = Planner()
    planner.apply(WorkerJoined("w", {"a": 9, "b": 9}), 0.0)
    planner.apply(ExpertThrottled("a", 5.0), 0.0)
    planner.apply(AsksArrived([Thing("a"), Thing("b")]), 0.0)
    actions, wake_at = planner.plan(1.0)
    assert [action.expert for action in actions] == ["b"]
    assert wake_at == 5.0
    assert [batch.expert for batch in dispatches(planner, 5.0)] == ["a"]


def test_after_cancelling_nothing_starts() -> None:
    planner = Planner()
    planner.apply(WorkerJoined("w", {"a": 9}), 0.0)
    planner.apply(AsksArrived(things("a", 3)), 0.0)
    planner.apply(Cancelled(), 0.0)
    assert planner.plan(0.0) == ([], None)
    assert planner.waiting == 3


def test_an_expert_that_cannot_be_loaded_anywhere_is_unservable() -> None:
    planner = Planner()
    assert not planner.unservable("a"), "no worker yet: it may still come"
    planner.apply(WorkerJoined("w", {"a": 9, "b": 9}), 0.0)
    planner.apply(LoadFailed("w", "a", "no such file"), 0.0)
    planner.apply(AsksArrived(things("a", 2)), 0.0)
    assert planner.unservable("a")
    assert not planner.unservable("b")
    assert len(planner.drain("a")) == 2
    assert planner.waiting == 0


@given(
    limit=st.integers(1, 5),
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    lose_after=st.integers(0, 8),
    finish=st.integers(1, 4),
)
def test_every_ask_is_finished_exactly_once(
    limit: int, counts: list[int], lose_after: int, finish: int
) -> None:
    """Whatever arrives when, and whichever worker dies, nothing is lost or finished twice."""
    planner = Planner(PlanSettings(max_batch=3))
    planner.apply(WorkerJoined("w0", {"a": limit, "b": limit}), 0.0)
    running: dict[int, dict[int, Thing]] = {}
    done: list[Thing] = []
    number = 0
    for step in range(60):
        if step < len(counts):
            new = [Thing("ab"[i % 2], number + i) for i in range(counts[step])]
            number += len(new)
            planner.apply(AsksArrived(new), 0.0)
        for batch in dispatches(planner):
            found = {i: planner.item(batch.batch, i) for i in range(len(batch.asks))}
            running[batch.batch] = {i: t for i, t in found.items() if isinstance(t, Thing)}
        assert planner.in_flight == sum(len(items) for items in running.values())
        if step == lose_after:
            planner.apply(WorkerLost("w0", "killed"), 0.0)
            planner.apply(WorkerJoined("w1", {"a": limit, "b": limit}), 0.0)
            running.clear()
            continue
        for batch_number in sorted(running)[:finish]:
            items = running[batch_number]
            index = min(items)
            planner.apply(Results(batch_number, ((index, Throttled(0.0)),)), 0.0)
            done.append(items.pop(index))
            if not items:
                del running[batch_number]
    assert sorted(thing.number for thing in done) == list(range(number))
    assert planner.waiting == planner.in_flight == 0
