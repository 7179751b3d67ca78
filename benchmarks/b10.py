"""B10: what a call of a hosted expert costs through moot's engine, litellm alone and aiohttp alone.

A loopback OpenAI-compatible server runs in a process of its own. The three clients make the same
requests to it from one other process, in turns, so that what else the machine does meets all.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agents.litellm_engine import LiteLLMEngine
from agents.roster import Expert
from benchmarks.measuring import ROOT, Figure, Result, clocks, fresh
from protocols.asks import Ask, Model, Seat
from protocols.messages import Message, Part
from protocols.replies import Reply

DELAYS_S = (0.0, 0.005)
CALLS = {1: 100, 32: 480, 256: 1024}
"""Calls a measurement, by how many are in flight."""
TARGET = 1.15
MODEL = "openai/some-model"
WORDS = "Which of the two answers does the passage support? " * 20

Client = Callable[[int], Awaitable[None]]
"""Makes so many calls."""


@contextmanager
def server(delay_s: float) -> Iterator[str]:
    """Run the server in a process of its own; its base URL."""
    command = [sys.executable, "-m", "tests.servers.openai_server", "--delay", str(delay_s)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def an_ask(number: int) -> Ask:
    said = Message("user", (Part("question", f"{number}: {WORDS}"),))
    return Ask(Seat("judge", "judge", "x", Model(MODEL)), (said,))


async def together(count: int, width: int, call: Callable[[int], Awaitable[None]]) -> None:
    """Make `count` calls, at most `width` at once."""
    room = asyncio.Semaphore(width)

    async def one(number: int) -> None:
        async with room:
            await call(number)

    await asyncio.gather(*(one(number) for number in range(count)))


def moot_client(url: str, width: int) -> Client:
    class Wide(LiteLLMEngine):
        batch_limit = width

    engine = Wide(Expert(model=MODEL, base_url=url))

    async def client(count: int) -> None:
        await engine.load()
        for result in await engine.generate([an_ask(number) for number in range(count)]):
            assert isinstance(result, Reply), result
            assert result.failure is None, result.failure

    return client


def litellm_client(url: str, width: int) -> Client:
    async def call(number: int) -> None:
        import litellm

        messages = [{"role": "user", "content": f"{number}: {WORDS}"}]
        response = await litellm.acompletion(
            model=MODEL, messages=messages, base_url=url, api_key="none", num_retries=0, timeout=60
        )
        assert response.choices[0].message.content

    return lambda count: together(count, width, call)


async def aiohttp_client(url: str, width: int, count: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(number: int) -> None:
            body: dict[str, Any] = {
                "model": "some-model",
                "messages": [{"role": "user", "content": f"{number}: {WORDS}"}],
            }
            async with session.post(f"{url}/chat/completions", json=body) as response:
                completion = await response.json()
            assert completion["choices"][0]["message"]["content"]

        await together(count, width, call)


def run(url: str, width: int, count: int, runs: int) -> dict[str, list[float]]:
    """Return microseconds a call by client and by clock, one for each run."""
    return asyncio.run(_run(url, width, count, runs))


async def _run(url: str, width: int, count: int, runs: int) -> dict[str, list[float]]:
    clients: dict[str, Client] = {
        "moot": moot_client(url, width),
        "litellm": litellm_client(url, width),
        "aiohttp": lambda count: aiohttp_client(url, width, count),
    }
    for client in clients.values():
        await client(min(width, count))  # imports, connections and caches
    spent: dict[str, list[float]] = {}
    for turn in range(runs):
        names = list(clients)
        for name in names[turn % 3 :] + names[: turn % 3]:
            with clocks() as clock:
                await clients[name](count)
            for kind, value in clock.per(count).items():
                spent.setdefault(f"{name} {kind}", []).append(value)
    import litellm

    await litellm.close_litellm_async_clients()
    return spent


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    figures = []
    for delay_s in DELAYS_S[:1] if quick else DELAYS_S:
        with server(delay_s) as url:
            for width, calls in CALLS.items():
                count = min(calls, 8) if quick else calls
                settings = {"url": url, "width": width, "count": count, "runs": runs}
                spent = fresh("benchmarks.b10:run", **settings)
                figures += list(_figures(spent, f"{delay_s * 1000:g} ms, {width} at once"))
    yield Result(
        "b10",
        "calls of a hosted expert: moot's engine, litellm alone, aiohttp alone",
        "no store",
        figures,
        ["the ratio is taken in each run; server and clients share the machine"],
    )


def _figures(spent: dict[str, list[float]], where: str) -> Iterator[Figure]:
    ratios = [a / b for a, b in zip(spent["moot wall"], spent["litellm wall"], strict=True)]
    yield Figure(f"{where}: moot / litellm", "", ratios, TARGET)
    for name in ("moot", "litellm", "aiohttp"):
        yield Figure(f"{where}: {name}", "us a call", spent[f"{name} wall"])
    cost = [a - b for a, b in zip(spent["moot cpu"], spent["litellm cpu"], strict=True)]
    yield Figure(f"{where}: processor time that moot adds", "us a call", cost)
