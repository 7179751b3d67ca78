"""LocalFleet keeps the contract of fleets, also with engines that break theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from agents.engine import Attempted, Engine
from agents.engines import make_engine
from agents.roster import Expert
from agents.worker import Results as Items
from agents.worker import Worker
from orchestrator.delivery import Delivery
from orchestrator.fleet import Dispatch, Fleet, Inbox, Load, LoadFailed, Results, Unload
from orchestrator.local_fleet import LocalFleet
from protocols.asks import Ask
from protocols.replies import Reply
from tests.orchestrator.fleet_contract import VOTER, FleetContract, asks_of, running


class TestLocalFleet(FleetContract):
    def make(self) -> Fleet:
        return LocalFleet()


class Broken(Engine):
    """Answers one ask, then raises; cannot be loaded twice nor unloaded."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def unload(self) -> None:
        raise OSError("still in use")

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        yield 0, Reply("fine")
        raise self.error


@pytest.mark.parametrize("error", [ValueError("boom"), asyncio.CancelledError()], ids=type)
async def test_an_engine_that_raises_fails_what_is_open(error: BaseException) -> None:
    async with running(LocalFleet(lambda expert: Broken(error)), VOTER) as rig:
        first, *rest = await rig.answers(1, VOTER, asks_of(VOTER, 4))
        with pytest.raises(OSError, match="still in use"):
            await rig.fleet.close()
    assert isinstance(first, Reply)
    assert first.text == "fine"
    for result in rest:
        assert isinstance(result, Reply)
        assert result.failure is not None
        assert result.failure.boundary == "provider"


class BrokenWorker(Worker):
    """A worker whose stream itself raises or is cancelled."""

    error: BaseException = ValueError("the worker's own fault")

    async def stream(self, label: str, asks: Sequence[Ask]) -> AsyncIterator[Items]:
        yield [(1, Reply("fine"))]
        raise self.error


@pytest.mark.parametrize("error", [ValueError("own fault"), asyncio.CancelledError()], ids=type)
async def test_no_ask_waits_for_ever(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrokenWorker, "error", error)
    monkeypatch.setattr("orchestrator.local_fleet.Worker", BrokenWorker)
    async with running(LocalFleet(), VOTER) as rig:
        results = await rig.answers(1, VOTER, asks_of(VOTER, 3))
    assert [isinstance(r, Reply) and r.failed for r in results] == [True, False, True]


async def test_an_expert_that_cannot_be_unloaded_is_told() -> None:
    async with running(LocalFleet(lambda expert: Broken(ValueError())), VOTER) as rig:
        rig.fleet.perform(Load(rig.worker, "voter"))
        rig.fleet.perform(Unload(rig.worker, "voter"))
        await rig.until(lambda: any(isinstance(e, LoadFailed) for e in rig.events))
    (failed,) = [event for event in rig.events if isinstance(event, LoadFailed)]
    assert failed.message == "still in use"


async def test_replies_that_are_ready_together_are_one_event() -> None:
    async with running(LocalFleet(), VOTER) as rig:
        await rig.answers(1, VOTER, asks_of(VOTER, 256))
    assert len([event for event in rig.events if isinstance(event, Results)]) == 1


async def test_engines_are_made_by_the_factory() -> None:
    made: list[str] = []

    def factory(expert: Expert) -> Engine:
        made.append(expert.label)
        return make_engine(expert)

    async with running(LocalFleet(factory), VOTER) as rig:
        await rig.answers(1, VOTER, asks_of(VOTER, 2))
    assert made == ["voter"]


async def test_nothing_is_performed_before_start_or_after_close() -> None:
    fleet = LocalFleet()
    with pytest.raises(RuntimeError, match="start"):
        fleet.perform(Load("local", "voter"))
    await fleet.start([VOTER], Inbox())
    await fleet.close()
    with pytest.raises(RuntimeError, match="start"):
        fleet.perform(Load("local", "voter"))


def test_a_delivery_hands_on_each_index_once() -> None:
    inbox = Inbox()
    delivery = Delivery(Dispatch(7, "w", "voter", asks_of(VOTER, 3)), inbox)
    delivery.put([(1, Reply("one")), (1, Reply("again")), (9, Reply("nowhere"))])
    delivery.put([(1, Reply("late"))])
    delivery.close("gone")
    delivery.close("gone twice")
    first, second = inbox.take()
    assert first == Results(7, ((1, Reply("one")),))
    assert isinstance(second, Results)
    assert [index for index, _ in second.items] == [0, 2]
    assert {r.failure.message for _, r in second.items if isinstance(r, Reply) and r.failure} == {
        "gone"
    }
