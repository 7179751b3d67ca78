"""What the tests of hosted experts are made from."""

from __future__ import annotations

from typing import Any

from agents.engine import Attempted
from agents.litellm_engine import LiteLLMEngine
from agents.roster import Expert
from protocols.asks import Ask, Model, Sampling, Seat
from protocols.messages import Message, Part
from protocols.replies import Reply
from tests.servers.openai_server import Answer, OpenAIServer

KEY = "planted-0123456789abcdef"
KEY_ENV = "MOOT_TEST_KEY"
PATHS = ("openai/some-model", "hosted_vllm/some-model")
"""Two providers that litellm serves with two different clients."""
DEFAULTS = Sampling()


def expert(url: str | None, model: str = PATHS[0], **fields: Any) -> Expert:
    return Expert(label="ann", model=model, base_url=url, **fields)


def an_ask(text: str = "Which one?", sampling: Sampling = DEFAULTS) -> Ask:
    messages = (Message("system", (Part("system", "Be brief."),)), said(text))
    return Ask(Seat("solver", "solver", "ann", Model(PATHS[0]), sampling), messages)


def said(*texts: str) -> Message:
    return Message("user", tuple(Part("question", text) for text in texts))


async def one(engine: LiteLLMEngine, ask: Ask | None = None) -> Attempted:
    try:
        await engine.load()
        return (await engine.generate([ask or an_ask()]))[0]
    finally:
        await engine.unload()


async def reply_to(answer: Answer, model: str = PATHS[0], **fields: Any) -> Reply:
    """Return the reply, after checking that exactly one request was made."""
    with OpenAIServer(answer) as server:
        result = await one(LiteLLMEngine(expert(server.url, model, **fields)))
        assert server.requests == 1
    assert isinstance(result, Reply)
    return result
