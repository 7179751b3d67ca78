"""The LiteLLM engine against ``transformers serve``, which ignores what it does not do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agents.litellm_engine import LiteLLMEngine
from agents.roster import Expert
from protocols.asks import Ask, Sampling
from protocols.replies import Reply
from protocols.schemas import strict_schema
from tests.agents.hosted import an_ask, one
from tests.servers.transformers_serve import Served, serving

pytestmark = [pytest.mark.serve, pytest.mark.slow]
ONE_TOKEN = Sampling(temperature=1.0, max_tokens=1, seed=3)


class Verdict(BaseModel):
    answer: Literal["A", "B"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve")) as running:
        yield running


def engine_of(served: Served, **options: Any) -> LiteLLMEngine:
    model = f"openai/{served.model}"
    return LiteLLMEngine(Expert(label="tiny", model=model, base_url=served.url, options=options))


async def reply_of(engine: LiteLLMEngine, ask: Ask) -> Reply:
    reply = await one(engine, ask)
    assert isinstance(reply, Reply)
    return reply


def judging(**fields: Any) -> Ask:
    ask = an_ask("Which one?", ONE_TOKEN)
    return replace(ask, options=("A", "B"), **fields)


async def test_it_answers_and_counts(served: Served) -> None:
    reply = await reply_of(engine_of(served), an_ask("Say something.", Sampling(max_tokens=8)))
    assert reply.failure is None
    assert set(reply.text) <= {"A", "B"}
    assert reply.usage.prompt_tokens > 20
    assert 0 < reply.usage.completion_tokens <= 8
    assert reply.finish in ("stop", "length")
    assert reply.model_served is not None
    assert served.model in reply.model_served
    assert reply.latency_s > 0.0


async def test_log_probabilities_are_ignored_and_the_reply_says_so(served: Served) -> None:
    for distribution in ("auto", "logprobs"):
        reply = await reply_of(engine_of(served, distribution=distribution), judging())
        assert reply.failure is None
        assert reply.distribution is None
        assert reply.distribution_source is None


async def test_draws_make_a_distribution(served: Served) -> None:
    engine = engine_of(served, draws=12)
    reply = await reply_of(engine, judging())
    assert reply.distribution_source == "samples"
    assert reply.distribution is not None
    assert sum(reply.distribution) == pytest.approx(1.0)
    assert reply.usage.completion_tokens <= 12
    assert engine._known_refused() == {"logprobs"}


async def test_a_schema_is_ignored_and_the_reply_is_malformed(served: Served) -> None:
    reply = await reply_of(engine_of(served), replace(judging(), schema=strict_schema(Verdict)))
    assert reply.failure is not None
    assert (reply.failure.boundary, reply.finish) == ("malformed", "failure")
    assert reply.usage.completion_tokens == 1


async def test_many_at_once_and_each_is_answered(served: Served) -> None:
    engine = engine_of(served)
    await engine.load()
    results = await engine.generate([an_ask(f"Number {n}?", ONE_TOKEN) for n in range(12)])
    await engine.unload()
    assert all(isinstance(result, Reply) and not result.failed for result in results)


async def test_an_unknown_model_is_a_provider_failure(served: Served) -> None:
    expert = Expert(label="gone", model="openai/no/such-model", base_url=served.url)
    reply = await reply_of(LiteLLMEngine(expert), an_ask())
    assert reply.failure is not None
    assert reply.failure.boundary == "provider"
