"""What the tests of models in this process are made from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agents.engine import Attempted
from agents.roster import Expert
from agents.transformers_engine import TransformersEngine
from protocols.asks import Ask, Model, Sampling, Seat
from protocols.messages import Message, Part
from protocols.replies import Reply
from tests.agents import torch_here

torch_here.one_thread()
GREEDY = Sampling(temperature=0.0, max_tokens=12)
WARM = Sampling(temperature=1.0, max_tokens=12)


def expert_of(folder: Path, label: str = "tiny", **options: Any) -> Expert:
    """Return the expert of a folder; on the CPU, whatever else is there."""
    return Expert(
        label=label, model="transformers/./tiny", data=str(folder), options=_on_cpu(options)
    )


def _on_cpu(options: dict[str, Any]) -> dict[str, Any]:
    return {"device": "cpu"} | options


def say(
    text: str, sampling: Sampling = GREEDY, *, system: str = "", revision: str = "1", **rest: Any
) -> Ask:
    """Return an ask of one user message; `revision` makes asks that draw otherwise."""
    messages = [Message("user", (Part("task", text),))]
    if system:
        messages.insert(0, Message("system", (Part("system", system),)))
    seat = Seat("solver", "solver", "tiny", Model("transformers/./tiny", revision), sampling)
    return Ask(seat, tuple(messages), **rest)


def score(prompt: str, text: str) -> Ask:
    """Return an ask for the likelihood of a text behind a prompt."""
    ask = say(prompt)
    said = Message("assistant", (Part("speech", text),))
    return Ask(ask.seat, (*ask.messages, said), score=True)


@asynccontextmanager
async def loaded(expert: Expert, common: dict[str, Any] | None = None) -> AsyncIterator[Any]:
    """Give a loaded engine and unload it at the end."""
    engine = TransformersEngine(expert)
    if common is not None:
        engine.share(common)
    await engine.load()
    try:
        yield engine
    finally:
        await engine.unload()


async def replies(engine: TransformersEngine, asks: Sequence[Ask]) -> list[Reply]:
    """Return the replies to asks, all of which are replies."""
    found: list[Attempted] = await engine.generate(asks)
    assert all(isinstance(one, Reply) for one in found)
    return [one for one in found if isinstance(one, Reply)]


async def reply(engine: TransformersEngine, ask: Ask) -> Reply:
    """Return the reply to one ask that did not fail."""
    (found,) = await replies(engine, [ask])
    assert found.failure is None, found.failure
    return found
