"""The worker: what leaves it is whole, whatever its engines do."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agents.engine import Attempted, Engine, Throttled
from agents.roster import Expert
from agents.worker import Worker, check_own_package
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.replies import Failure, Reply
from tests.agents.making import ask_about, question_number, recorded_expert, row, write_rows

EXPERT = Expert(label="x", model="scripted/voter")


def asks(n: int) -> list[Ask]:
    return [ask_about(EXPERT, question_number(i)) for i in range(n)]


class Odd(Engine):
    """An engine that yields what it is told, then does what it is told."""

    def __init__(self, items: Sequence[Any] = (), then: Callable[[], Any] | None = None) -> None:
        self.items = items
        self.then = then
        self.loads = 0
        self.unloads = 0
        self.closed = 0

    async def load(self) -> None:
        self.loads += 1

    async def unload(self) -> None:
        self.unloads += 1

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        try:
            for item in self.items:
                yield item
            if self.then is not None:
                await self.then()
        finally:
            self.closed += 1


class NoStart(Odd):
    """An engine that cannot be loaded the first time."""

    async def load(self) -> None:
        await super().load()
        if self.loads == 1:
            raise RuntimeError("no\nmemory")


async def explode() -> None:
    raise RuntimeError("broken \x00 pipe")


async def hang() -> None:
    await asyncio.Event().wait()


async def stop_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def collect(worker: Worker, asks: Sequence[Ask], label: str = "x") -> dict[int, Attempted]:
    results: dict[int, Attempted] = {}
    async for items in worker.stream(label, asks):
        assert items
        for index, result in items:
            assert index not in results
            results[index] = result
    assert sorted(results) == list(range(len(asks)))
    return results


def hosting(engine: Engine, **fields: Any) -> Worker:
    return Worker([Expert(**{"label": "x", "model": "scripted/odd", **fields})], lambda _: engine)


def failure(result: Attempted) -> Failure:
    assert isinstance(result, Reply)
    assert result.failure is not None
    return result.failure


async def test_a_batch_comes_back_whole_and_in_few_pieces() -> None:
    worker = Worker([EXPERT])
    pieces = [items async for items in worker.stream("x", asks(500))]
    assert len(pieces) == 1
    assert [index for index, _ in pieces[0]] == list(range(500))
    await worker.close()


async def test_what_is_finished_comes_before_what_is_not() -> None:
    go = asyncio.Event()
    worker = hosting(Odd([(1, Reply("early"))], go.wait))
    stream = aiter(worker.stream("x", asks(2)))
    ((index, early),) = await anext(stream)
    assert (index, getattr(early, "text", "")) == (1, "early")
    go.set()
    ((index, late),) = await anext(stream)
    assert index == 0
    assert failure(late).boundary == "provider"


async def test_texts_are_cleaned_and_said_to_be() -> None:
    worker = hosting(
        Odd(
            [
                (0, Reply("a\x00b\ud800c", latency_s=2.0, model_served="m\x00")),
                (1, Reply("fine \U0001f600")),
                (2, Reply(failure=Failure("refused", "no\x00"), finish="failure")),
                (3, Throttled(math.nan, "later\ud800")),
            ]
        )
    )
    results = await collect(worker, asks(4))
    dirty, fine = results[0], results[1]
    assert isinstance(dirty, Reply)
    assert isinstance(fine, Reply)
    assert (dirty.text, dirty.repaired, dirty.latency_s) == ("a\ufffdb\ufffdc", True, 2.0)
    assert dirty.model_served == "m\ufffd"
    assert (fine.text, fine.repaired) == ("fine \U0001f600", False)
    assert fine.latency_s > 0.0
    assert failure(results[2]) == Failure("refused", "no\ufffd")
    assert results[3] == Throttled(0.0, "later\ufffd")


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (explode, "x: RuntimeError: broken \ufffd pipe"),
        (stop_itself, "the engine was stopped"),
        (None, "ended without a reply"),
    ],
    ids=["raises", "cancels-itself", "ends"],
)
async def test_open_asks_fail_when_the_engine_ends(
    then: Callable[[], Any] | None, words: str
) -> None:
    engine = Odd([(1, Reply("one"))], then)
    results = await collect(hosting(engine), asks(3))
    assert getattr(results[1], "text", "") == "one"
    for index in (0, 2):
        assert failure(results[index]).boundary == "provider"
        assert words in failure(results[index]).message
    assert engine.closed == 1


async def test_repeated_and_invented_indices_are_ignored() -> None:
    items = [(0, Reply("first")), (0, Reply("second")), (7, Reply("x")), (-1, Reply("y"))]
    results = await collect(hosting(Odd([*items, (1, Reply("one"))])), asks(2))
    assert [getattr(results[i], "text", "") for i in range(2)] == ["first", "one"]


@pytest.mark.parametrize(
    ("result", "boundary"),
    [
        (None, "provider"),
        ("text", "provider"),
        (Reply(None), "provider"),  # type: ignore[arg-type]
        (Reply("a", distribution=(math.nan, 1.0)), "malformed"),
    ],
)
async def test_what_is_no_reply_is_a_failure(result: Any, boundary: str) -> None:
    results = await collect(hosting(Odd([(0, result)])), asks(1))
    assert failure(results[0]).boundary == boundary


async def test_a_server_that_hangs_is_a_timeout() -> None:
    engine = Odd([(0, Reply("one"))], hang)
    worker = hosting(engine, model="openai/odd", timeout_s=0.001)
    results = await collect(worker, asks(3))
    assert getattr(results[0], "text", "") == "one"
    assert failure(results[2]).boundary == "timeout"
    assert engine.closed == 1
    assert len(await collect(worker, asks(1))) == 1


async def test_an_engine_without_network_is_waited_for() -> None:
    go = asyncio.Event()
    worker = hosting(Odd([], go.wait), timeout_s=1e-9)
    reading = asyncio.create_task(collect(worker, asks(1)))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not reading.done()
    go.set()
    assert failure((await reading)[0]).boundary == "provider"


async def test_engines_are_made_and_loaded_at_first_use() -> None:
    made: list[str] = []
    engine = Odd([(0, Reply("a"))])

    def factory(expert: Expert) -> Engine:
        made.append(expert.label)
        return engine

    worker = Worker([EXPERT, Expert(label="y", model="scripted/odd")], factory)
    assert made == []
    await asyncio.gather(*(collect(worker, asks(1)) for _ in range(5)))
    assert (made, engine.loads) == (["x"], 1)
    await worker.load("x")
    assert engine.loads == 1
    await worker.unload("x")
    await worker.unload("x")
    await worker.unload("y")
    assert (engine.loads, engine.unloads) == (1, 1)
    await collect(worker, asks(1))
    await worker.close()
    await worker.close()
    assert (made, engine.loads, engine.unloads) == (["x"], 2, 2)


async def test_a_load_that_fails_is_told_and_tried_again() -> None:
    engine = NoStart([(0, Reply("a"))])
    worker = hosting(engine)
    results = await collect(worker, asks(2))
    assert failure(results[0]) == Failure(
        "provider", "x: cannot be loaded: RuntimeError: no memory"
    )
    assert getattr((await collect(worker, asks(1)))[0], "text", "") == "a"
    with pytest.raises(RuntimeError, match="memory"):
        await hosting(NoStart()).load("x")


async def test_a_mistake_of_the_user_is_kept_in_one_line(tmp_path: Path) -> None:
    worker = Worker([recorded_expert(tmp_path / "none.jsonl")])
    with pytest.raises(Mistake, match="check the path"):
        await worker.load("good")
    results = await collect(worker, asks(1), "good")
    assert "check the path" in failure(results[0]).message
    with pytest.raises(Mistake, match="not built yet"):
        Worker([Expert(label="x", model="human/ann")]).batch_limits()


async def test_batch_limits_load_nothing(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "q.jsonl", row(0))
    slow = Expert(label="y", model="scripted/slow", options={"batch_limit": 3})
    limits = Worker([recorded_expert(path), slow]).batch_limits()
    assert limits["y"] == 3
    assert limits["good"] > 3


async def test_nobody_is_called_that() -> None:
    worker = Worker([EXPERT])
    with pytest.raises(Mistake, match="hosts no expert 'y'"):
        await worker.load("y")
    assert "no expert 'y'" in failure((await collect(worker, asks(1), "y"))[0]).message


async def test_no_asks_give_nothing() -> None:
    assert await collect(Worker([EXPERT]), []) == {}


async def test_a_closed_reader_stops_the_engine() -> None:
    engine = Odd([(0, Reply("a"))], hang)
    worker = hosting(engine)
    stream: Any = worker.stream("x", asks(2))
    assert await anext(stream)
    await stream.aclose()
    assert engine.closed == 1
    assert len(await asyncio.wait_for(_first(worker), 5)) == 1


async def _first(worker: Worker) -> list[Any]:
    stream: Any = worker.stream("x", asks(2))
    items: list[Any] = await anext(stream)
    await stream.aclose()
    return items


async def test_close_ends_streams_that_run() -> None:
    running = asyncio.Event()

    async def hang_aloud() -> None:
        running.set()
        await hang()

    engine = Odd([], hang_aloud)
    worker = hosting(engine)
    reading = asyncio.create_task(collect(worker, asks(2)))
    await running.wait()
    await worker.close()
    results = await reading
    assert "was stopped" in failure(results[0]).message
    assert engine.unloads == 1


async def test_close_unloads_all_and_tells_what_went_wrong() -> None:
    class Stuck(Odd):
        async def unload(self) -> None:
            await super().unload()
            raise RuntimeError("stuck")

    engines = {"x": Stuck(), "y": Odd()}
    experts = [Expert(label=label, model="scripted/odd") for label in engines]
    worker = Worker(experts, lambda expert: engines[expert.label])
    for label in engines:
        await worker.load(label)
    with pytest.raises(RuntimeError, match="stuck"):
        await worker.close()
    assert engines["y"].unloads == 1


def test_our_own_package_is_recognised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_own_package()
    other = ModuleType("agents")
    monkeypatch.setitem(sys.modules, "agents", other)
    with pytest.raises(Mistake, match="imported from nowhere"):
        check_own_package()
    other.__file__ = str(tmp_path / "agents" / "__init__.py")
    with pytest.raises(Mistake, match="uninstall the package of the same name"):
        check_own_package()
