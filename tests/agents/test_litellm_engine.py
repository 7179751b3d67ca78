"""The LiteLLM engine against a real server on loopback: requests, replies, keys, prices."""

from __future__ import annotations

from typing import Any

import pytest

from agents.engines import make_engine
from agents.hosted_request import NO_KEY, request
from agents.litellm_engine import LiteLLMEngine, list_price
from agents.roster import Expert
from protocols.asks import Ask, Sampling
from protocols.errors import Mistake
from protocols.messages import Message, Part
from protocols.replies import Reply, Usage
from tests.agents.hosted import KEY, KEY_ENV, PATHS, an_ask, expert, one, reply_to, said
from tests.servers.openai_server import Answer, OpenAIServer

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(autouse=True)
def planted_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


@pytest.mark.parametrize("model", PATHS)
async def test_a_good_answer_is_read_whole(model: str) -> None:
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 20,
        "total_tokens": 50,
        "completion_tokens_details": {"reasoning_tokens": 12},
        "prompt_tokens_details": {"cached_tokens": 16},
    }
    reply = await reply_to(Answer("Because.\n\nAnswer: B", usage=usage), model)
    assert reply.text == "Because.\n\nAnswer: B"
    assert reply.failure is None
    assert reply.usage == Usage(30, 20, 12, 16)
    assert reply.finish == "stop"
    assert reply.model_served == "served-model-2026-11-01"
    assert reply.latency_s > 0.0
    assert reply.distribution is None


@pytest.mark.parametrize("model", PATHS)
async def test_what_the_server_is_sent(model: str) -> None:
    sampling = Sampling(temperature=0.3, top_p=0.9, max_tokens=64, stop=("END",), seed=7)
    with OpenAIServer() as server:
        await one(LiteLLMEngine(expert(server.url, model)), an_ask("Why?", sampling))
    (body,) = server.bodies
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]
    assert body["model"] == "some-model"
    sent = {name: body[name] for name in ("temperature", "top_p", "max_tokens", "stop", "seed")}
    assert sent == {
        "temperature": 0.3,
        "top_p": 0.9,
        "max_tokens": 64,
        "stop": ["END"],
        "seed": 7,
    }


async def test_settings_that_say_nothing_are_not_sent() -> None:
    with OpenAIServer() as server:
        await one(LiteLLMEngine(expert(server.url)))
    assert set(server.bodies[0]) <= {"messages", "model", "stream"}


def test_parts_and_images_in_reading_order() -> None:
    parts = (
        Part("passage", "One."),
        Part("question", "Two?"),
        Part("figure", PIXEL, kind="image"),
        Part("task", "Three."),
    )
    ask = Ask(an_ask().seat, (said("a", "b"), Message("user", parts), Message("assistant", ())))
    plain, mixed, empty = request(ask, expert(None), None)["messages"]
    assert plain == {"role": "user", "content": "a\n\nb"}
    assert mixed["content"] == [
        {"type": "text", "text": "One.\n\nTwo?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "text", "text": "Three."},
    ]
    assert empty == {"role": "assistant", "content": ""}


async def test_an_image_reaches_the_server() -> None:
    message = Message("user", (Part("task", "See."), Part("figure", PIXEL, kind="image")))
    with OpenAIServer() as server:
        await one(LiteLLMEngine(expert(server.url)), Ask(an_ask().seat, (message,)))
    image = server.bodies[0]["messages"][0]["content"][1]
    assert image == {"type": "image_url", "image_url": {"url": PIXEL}}


@pytest.mark.parametrize(
    ("answer", "text", "finish"),
    [
        (Answer("Half", finish="length"), "Half", "length"),
        (Answer("", finish="length"), "", "length"),
        (Answer(None, finish="length"), "", "length"),
        (Answer("Half", finish="content_filter"), "Half", "content_filter"),
        (Answer(None), "", "stop"),
        (Answer("x", finish="banana"), "x", "stop"),
        (Answer("x", content_type="application/json; charset=utf-8"), "x", "stop"),
        (Answer("null \x00 and 😀"), "null \x00 and 😀", "stop"),
        (Answer("x" * 300_000), "x" * 300_000, "stop"),
    ],
    ids=["length", "none", "null-none", "filtered", "null", "odd-finish", "charset", "nul", "huge"],
)
async def test_text_is_kept_as_it_came(answer: Answer, text: str, finish: str) -> None:
    reply = await reply_to(answer)
    assert (reply.text, reply.finish, reply.failure) == (text, finish, None)


async def test_a_server_without_usage_counts_nothing() -> None:
    reply = await reply_to(Answer(usage=None), "openai/meta-llama/Llama-3-8b")
    assert reply.usage == Usage()


@pytest.mark.parametrize("model", PATHS)
async def test_only_the_named_key_goes_to_a_base_url(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "HOSTED_VLLM_API_KEY"):
        monkeypatch.setenv(name, "sk-not-for-this-address")
    with OpenAIServer() as server:
        await one(LiteLLMEngine(expert(server.url, model)))
        await one(LiteLLMEngine(expert(server.url, model, key_env=KEY_ENV)))
    assert [sent["authorization"] for sent in server.headers] == [
        f"Bearer {NO_KEY}",
        f"Bearer {KEY}",
    ]


async def test_the_key_is_read_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer() as server:
        engine = LiteLLMEngine(expert(server.url, key_env=KEY_ENV))
        monkeypatch.setenv(KEY_ENV, "sk-changed-key")
        await engine.generate([an_ask()])
        monkeypatch.setenv(KEY_ENV, " ")
        result = (await engine.generate([an_ask()]))[0]
        await engine.unload()
        assert [sent["authorization"] for sent in server.headers] == ["Bearer sk-changed-key"]
    assert isinstance(result, Reply)
    assert result.failure is not None
    assert result.failure.boundary == "provider"
    assert KEY_ENV in result.failure.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "openai/gpt-4o-mini"}, "OPENAI_API_KEY"),
        ({"model": "gemini/gemini-x"}, "GEMINI_API_KEY"),
        ({"model": "openai/x", "key_env": "MOOT_UNSET"}, "MOOT_UNSET is not set"),
        ({"model": "openai/x", "base_url": "127.0.0.1:8000/v1"}, "is not an address"),
        ({"model": "opennai/x", "base_url": "http://127.0.0.1:1/v1"}, "'opennai' is no provider"),
    ],
)
def test_check_says_what_to_do(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message) as caught:
        LiteLLMEngine(Expert(label="ann", **fields)).check()
    assert "\n" not in str(caught.value)
    assert "'ann'" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "openai/x", "base_url": "http://127.0.0.1:1/v1"},
        {"model": "openai/x", "key_env": KEY_ENV},
        {"model": "ollama/llama3"},
        {"model": "hosted_vllm/x", "base_url": "http://127.0.0.1:1/v1"},
    ],
)
def test_check_passes_without_a_call(fields: dict[str, Any]) -> None:
    LiteLLMEngine(Expert(**fields)).check()


def test_unknown_options_are_refused() -> None:
    with pytest.raises(Mistake, match="unknown key 'speed'"):
        make_engine(expert(None, options={"speed": 3}))


@pytest.mark.parametrize(
    ("model", "usage", "price"),
    [
        ("openai/gpt-4o-mini", Usage(1_000_000, 1_000_000), 0.75),
        ("openai/gpt-4o-mini", Usage(1_000_000, 0, 0, 1_000_000), 0.075),
        ("openai/no-such-model", Usage(1000, 1000), None),
        ("hosted_vllm/gpt-4o", Usage(1000, 1000), None),
        ("ollama/llama2", Usage(1000, 1000), None),
        ("ollama/never-heard-of", Usage(1000, 1000), None),
        ("openai/gpt-4o-mini", Usage(), None),
    ],
)
def test_list_price_is_known_or_none(model: str, usage: Usage, price: float | None) -> None:
    assert list_price(model, usage) == (None if price is None else pytest.approx(price))
