"""The LiteLLM engine under load: limits, siblings, cancelling, event loops, connections."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from agents.litellm_engine import LiteLLMEngine
from protocols.replies import Reply
from tests.agents.engine_contract import Case, EngineContract
from tests.agents.hosted import PATHS, an_ask, expert, one
from tests.servers.openai_server import Answer, OpenAIServer

pytestmark = pytest.mark.slow


class TestHostedEngine(EngineContract):
    @pytest.fixture(params=PATHS)
    def case(self, request: pytest.FixtureRequest) -> Iterator[Case]:
        with OpenAIServer() as server:
            hosted = expert(server.url, request.param)
            yield Case(hosted.provider, lambda folder: hosted)


class TestDrawingEngine(EngineContract):
    """Several calls an ask: the server takes no ``n``."""

    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with OpenAIServer() as server:
            hosted = expert(server.url, options={"distribution": "samples", "draws": 3})
            yield Case("drawing", lambda folder: hosted)


class TestThrottledEngine(EngineContract):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with OpenAIServer(Answer(status=429)) as server:
            hosted = expert(server.url)
            yield Case("throttled", lambda folder: hosted, answers=False)


async def test_as_many_at_once_as_the_limit_and_no_more() -> None:
    class Narrow(LiteLLMEngine):
        batch_limit = 3

    with OpenAIServer(Answer(hold=True)) as server:
        engine = Narrow(expert(server.url))
        both = asyncio.gather(
            engine.generate([an_ask(str(n)) for n in range(5)]),
            engine.generate([an_ask(str(n)) for n in range(5, 9)]),
        )
        assert await asyncio.to_thread(server.wait_until, lambda s: s.running == 3)
        server.release()
        results = [result for results in await both for result in results]
        await engine.unload()
        assert server.requests == 9
        assert server.most_running == 3
    assert all(isinstance(result, Reply) and not result.failed for result in results)


async def test_one_bad_ask_leaves_its_siblings_alone() -> None:
    def rule(body: dict[str, Any], number: int) -> Answer:
        text = body["messages"][1]["content"]
        bad = {"1": Answer(status=500), "2": Answer(status=429), "3": Answer(cut="during")}
        return bad.get(text) or Answer(f"Answer: {text}")

    with OpenAIServer(rule=rule) as server:
        engine = LiteLLMEngine(expert(server.url))
        results = await engine.generate([an_ask(str(n)) for n in range(5)])
        await engine.unload()
    shown = [result.text if isinstance(result, Reply) else "throttled" for result in results]
    assert shown == ["Answer: 0", "", "throttled", "", "Answer: 4"]


@pytest.mark.parametrize("model", PATHS)
async def test_cancelling_the_reader_hangs_up_every_call(model: str) -> None:
    with OpenAIServer(Answer(hold=True)) as server:
        engine = LiteLLMEngine(expert(server.url, model))
        reading = asyncio.create_task(engine.generate([an_ask(str(n)) for n in range(4)]))
        assert await asyncio.to_thread(server.wait_until, lambda s: s.running == 4)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await asyncio.to_thread(server.wait_until, lambda s: s.gone == 4)
        await engine.unload()
    assert [task for task in asyncio.all_tasks() if "_indexed" in str(task.get_coro())] == []


async def test_closing_the_stream_hangs_up_the_rest() -> None:
    def rule(body: dict[str, Any], number: int) -> Answer:
        return Answer(hold=body["messages"][1]["content"] != "2")

    with OpenAIServer(rule=rule) as server:
        engine = LiteLLMEngine(expert(server.url))
        stream: Any = engine.stream([an_ask(str(n)) for n in range(4)])
        async with aclosing(stream):
            index, _ = await anext(stream)
            assert index == 2
            assert await asyncio.to_thread(server.wait_until, lambda s: s.running == 3)
        assert await asyncio.to_thread(server.wait_until, lambda s: s.gone == 3)
        await engine.unload()


async def test_no_ask_no_call() -> None:
    with OpenAIServer() as server:
        assert await LiteLLMEngine(expert(server.url)).generate([]) == []
        assert server.requests == 0


@pytest.mark.parametrize("turn", [1, 2])
def test_another_event_loop_works_too(turn: int) -> None:
    with OpenAIServer() as server:
        result = asyncio.run(one(LiteLLMEngine(expert(server.url))))
    assert isinstance(result, Reply)
    assert not result.failed


async def test_one_engine_leaving_does_not_disturb_another() -> None:
    with OpenAIServer() as server:
        first, second = (LiteLLMEngine(expert(server.url)) for _ in range(2))
        await first.load()
        await second.load()
        await first.generate([an_ask()])
        await first.unload()
        results = await second.generate([an_ask()])
        await second.unload()
        await second.load()
        results += await second.generate([an_ask()])
        await second.unload()
    assert [result.text for result in results if isinstance(result, Reply)] == ["Answer: A"] * 2


OWN_PROCESS = """
import asyncio, json, sys
tried = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        tried.append(event)
sys.addaudithook(watch)
import agents.litellm_engine as room
from agents.roster import Expert
light = "litellm" not in sys.modules
engine = room.LiteLLMEngine(Expert(model="openai/x", base_url=sys.argv[1]))
asyncio.run(engine.load())
engine.check()
from protocols.replies import Usage
room.list_price("openai/gpt-4o-mini", Usage(1, 1))
print(json.dumps([light, "litellm" in sys.modules, tried]))

from tests.agents.hosted import an_ask, one
print(asyncio.run(one(engine, an_ask())).text)
"""


@pytest.mark.slow
def test_starting_touches_no_network_and_leaving_closes_everything() -> None:
    with OpenAIServer() as server:
        done = subprocess.run(
            [sys.executable, "-W", "always::ResourceWarning", "-c", OWN_PROCESS, server.url],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.splitlines() == ["[true, true, []]", "Answer: A"]
    assert done.stderr == ""
