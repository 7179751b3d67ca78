"""Which GPU is whose, where several workers live in one process; no GPU is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from agents import machine
from agents.engine import Attempted, Engine
from agents.roster import Expert
from agents.transformers_options import device_name
from agents.worker import Worker
from orchestrator.fleets import local_gpus
from orchestrator.fleets.fleet import Inbox
from orchestrator.fleets.local_fleet import LocalFleet
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.replies import failed


class Told(Engine):
    """Keeps what its worker shares."""

    def __init__(self, label: str, told: list[tuple[str, tuple[int, ...]]]) -> None:
        self._label, self._told = label, told

    def share(self, common: dict[str, Any]) -> None:
        self._told.append((self._label, common["cards"]))

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        for index, _ in enumerate(asks):
            yield index, failed("provider", "it only listens")


def expert(label: str, **fields: Any) -> Expert:
    return Expert(label=label, model="scripted/gpu", **{"gpu_gb": 10.0, **fields})


@pytest.mark.parametrize(
    ("wish", "cards", "count", "device"),
    [
        ("auto", (), 0, "cpu"),
        ("auto", (), 4, "cuda:0"),
        ("auto", (2,), 4, "cuda:2"),
        ("auto", (2,), 0, "cpu"),  # a fleet that is told of GPUs which are not there
        ("auto", (2, 3), 4, "cuda:2"),
        ("cuda", (), 4, "cuda:0"),
        ("cuda", (1,), 4, "cuda:1"),
        ("cuda:3", (), 4, "cuda:3"),
        ("cuda:1", (1,), 4, "cuda:1"),
        ("cpu", (1,), 4, "cpu"),
    ],
)
def test_the_device_is_the_workers(
    wish: str, cards: tuple[int, ...], count: int, device: str
) -> None:
    assert device_name(wish, cards, count, "expert 'x'") == device


@pytest.mark.parametrize(
    ("wish", "cards", "count", "says"),
    [
        ("cuda", (), 0, "finds no CUDA"),
        ("cuda:1", (), 1, "CUDA finds 1"),
        ("auto", (1,), 1, "CUDA finds 1"),
        ("cuda:1", (0,), 2, "its worker has cuda:0"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(
    wish: str, cards: tuple[int, ...], count: int, says: str
) -> None:
    with pytest.raises(Mistake, match=says) as mistake:
        device_name(wish, cards, count, "expert 'x'")
    assert "\n" not in str(mistake.value)


def test_a_worker_tells_its_engines_of_its_cards() -> None:
    told: list[tuple[str, tuple[int, ...]]] = []
    one, two = expert("one"), expert("two")
    Worker([one, two], lambda who: Told(who.label, told), 20.0, (3,)).batch_limits()
    Worker([one], lambda who: Told(who.label, told)).batch_limits()
    assert told == [("one", (3,)), ("two", (3,)), ("one", ())]


async def test_each_worker_of_a_local_fleet_has_cards_of_its_own() -> None:
    told: list[tuple[str, tuple[int, ...]]] = []
    fleet = LocalFleet(lambda who: Told(who.label, told), gpus=4, gpu_gb=24.0)
    await fleet.start([expert("wide", gpus=2), expert("slim")], Inbox())
    await fleet.close()
    cards = [card for label, some in told if label == "wide" for card in some]
    assert sorted({some for _, some in told}) in ([(0,), (1,), (2, 3)], [(0, 1), (2,), (3,)])
    assert len(cards) == 2


def test_cards_are_counted_among_those_that_the_process_sees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = [machine.Gpu(str(i), f"GPU-{i}", "a card", size) for i, size in enumerate([8, 80, 8])]
    monkeypatch.setattr(machine, "gpus", lambda: tuple(there))
    big, small = expert("big", gpu_gb=60.0), expert("small", gpu_gb=6.0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workers = local_gpus.local_workers([big, small], None, None)
    assert {cards for place, cards in workers if "big" in place.experts} == {(1,)}
    assert sorted(cards for _, cards in workers) == [(0,), (1,), (2,)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    workers = local_gpus.local_workers([big, small], None, None)
    assert {cards for place, cards in workers if "big" in place.experts} == {(1,)}
    assert sorted(cards for _, cards in workers) == [(0,), (1,)]
    assert local_gpus.local_places([big, small], None, None) == tuple(one for one, _ in workers)
