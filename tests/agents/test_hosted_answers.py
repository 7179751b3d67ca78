"""The LiteLLM engine: distributions, schemas, options, limits, on a real server on loopback."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agents.engine import Attempted, Throttled
from agents.engines import capabilities_of, identify
from agents.hosted_request import TOP_LOGPROBS, Wanted, refused_features
from agents.litellm_engine import LiteLLMEngine
from agents.roster import Expert, Roster
from protocols.asks import Ask, Sampling
from protocols.errors import Mistake
from protocols.replies import RateHint, Reply, Usage
from protocols.schemas import strict_schema
from tests.agents.hosted import PATHS, an_ask, expert, one
from tests.servers.answers import http_date
from tests.servers.openai_server import Answer, OpenAIServer

SURE = (
    (("Answer", 0.0),),
    ((":", 0.0),),
    ((" B", math.log(0.6)), (" A", math.log(0.3)), (" The", math.log(0.1))),
)
SAYS_B = Answer("Answer: B", tokens=SURE)
PARAMETERS = ("logprobs", "n", "response_format")


class Verdict(BaseModel):
    answer: Literal["A", "B"]
    why: str


GOOD = '{"answer": "A", "why": "because"}'


def judging(**fields: Any) -> Ask:
    return replace(an_ask(), options=("A", "B"), **fields)


def schema_ask() -> Ask:
    return replace(an_ask(), schema=strict_schema(Verdict))


async def ask_of(
    server: OpenAIServer, ask: Ask, model: str = PATHS[0], **options: Any
) -> Attempted:
    return await one(LiteLLMEngine(expert(server.url, model, options=options)), ask)


async def reply_of(server: OpenAIServer, ask: Ask, model: str = PATHS[0], **options: Any) -> Reply:
    result = await ask_of(server, ask, model, **options)
    assert isinstance(result, Reply)
    return result


@pytest.mark.parametrize("model", PATHS)
async def test_a_distribution_comes_from_log_probabilities(model: str) -> None:
    with OpenAIServer(SAYS_B) as server:
        reply = await reply_of(server, judging(), model)
    assert server.bodies[0]["logprobs"] is True
    assert server.bodies[0]["top_logprobs"] == TOP_LOGPROBS
    assert reply.distribution == pytest.approx((1 / 3, 2 / 3))
    assert reply.distribution_source == "logprobs"
    assert reply.outside_mass == pytest.approx(0.1)
    assert (reply.text, reply.usage) == ("Answer: B", Usage(11, 7))


async def test_without_options_nothing_more_is_asked_for() -> None:
    with OpenAIServer(SAYS_B) as server:
        reply = await reply_of(server, an_ask(), draws=5)
    assert not {"logprobs", "n", "response_format"} & server.bodies[0].keys()
    assert (reply.distribution, reply.distribution_source) == (None, None)


async def test_draws_come_in_one_call_where_the_server_takes_n() -> None:
    texts = ("Answer: A", "Answer: B", "Answer: A", "who knows", "Answer: A")
    with OpenAIServer(Answer(texts=texts)) as server:
        reply = await reply_of(server, judging(), distribution="samples", draws=5)
    assert [body.get("n") for body in server.bodies] == [5]
    assert "logprobs" not in server.bodies[0]
    assert reply.distribution == (0.75, 0.25)
    assert reply.distribution_source == "samples"
    assert reply.outside_mass == pytest.approx(0.2)
    assert reply.text == "Answer: A"


@pytest.mark.parametrize("answer", [Answer(), Answer(rejects=("n",))], ids=["ignored", "rejected"])
async def test_draws_come_in_single_calls_where_it_does_not(answer: Answer) -> None:
    def rule(body: dict[str, Any], number: int) -> Answer:
        return replace(answer, text="Answer: B" if body.get("seed") == 9 else "Answer: A")

    ask = judging()
    ask = replace(ask, seat=replace(ask.seat, sampling=Sampling(seed=7)))
    with OpenAIServer(rule=rule) as server:
        engine = LiteLLMEngine(expert(server.url, options={"distribution": "samples", "draws": 4}))
        first, second = [await one(engine, ask) for _ in range(2)]
        ns = [body.get("n", 1) for body in server.bodies]
        seeds = sorted(body["seed"] for body in server.bodies[-4:])
        answered = server.answered["200"]
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert ns[0] == 4
    assert set(ns[1:]) == {1}
    assert seeds == [7, 8, 9, 10]
    assert second.distribution == first.distribution == (0.75, 0.25)
    assert first.distribution_source == "samples"
    assert second.usage == Usage(44, 28)
    assert answered == 8


async def test_a_provider_without_n_or_log_probabilities_is_not_asked_for_them() -> None:
    engine = LiteLLMEngine(Expert(model="anthropic/claude-sonnet-4-5", options={"draws": 3}))
    await engine.load()
    assert engine._known_refused() == {"logprobs", "n"}
    await engine.unload()


@pytest.mark.parametrize(
    "answer", [Answer(), Answer(rejects=("logprobs",))], ids=["ignored", "rejected"]
)
async def test_auto_falls_back_to_draws(answer: Answer) -> None:
    with OpenAIServer(answer) as server:
        engine = LiteLLMEngine(expert(server.url, options={"draws": 3}))
        replies = [await one(engine, judging()) for _ in range(2)]
        first_again = [body for body in server.bodies if "logprobs" in body]
    assert len(first_again) == 1
    for reply in replies:
        assert isinstance(reply, Reply)
        assert (reply.distribution, reply.distribution_source) == ((1.0, 0.0), "samples")
        assert reply.usage == Usage(33, 21)


@pytest.mark.parametrize("options", [{}, {"distribution": "stated"}])
async def test_a_stated_probability_is_read(options: dict[str, Any]) -> None:
    with OpenAIServer(Answer("Belief: A 0.7\nAnswer: A")) as server:
        reply = await reply_of(server, judging(), **options)
    assert reply.distribution == pytest.approx((0.7, 0.3))
    assert reply.distribution_source == "stated"
    assert ("logprobs" in server.bodies[0]) == (not options)


@pytest.mark.parametrize("distribution", ["auto", "logprobs", "stated"])
async def test_where_nothing_is_known_there_is_no_distribution(distribution: str) -> None:
    with OpenAIServer() as server:
        reply = await reply_of(server, judging(), distribution=distribution)
    assert (reply.text, reply.distribution) == ("Answer: A", None)
    assert reply.distribution_source is None
    assert reply.outside_mass is None


async def test_who_insists_on_log_probabilities_hears_that_there_are_none() -> None:
    with OpenAIServer(Answer(rejects=("logprobs",))) as server:
        reply = await reply_of(server, judging(), distribution="logprobs")
    assert server.requests == 1
    assert reply.failure is not None
    assert (reply.failure.boundary, reply.failure.cause) == ("provider", "bad_request")
    assert "logprobs" in reply.failure.message


async def test_a_throttled_draw_throttles_the_attempt_and_keeps_what_was_paid() -> None:
    with OpenAIServer(Answer(), Answer(status=429, headers={"Retry-After": "3"})) as server:
        result = await ask_of(server, judging(), distribution="samples", draws=2)
    assert isinstance(result, Throttled)
    assert (result.wait_s, result.usage) == (3.0, Usage(11, 7))


async def test_a_failed_draw_fails_the_attempt_and_keeps_what_was_paid() -> None:
    with OpenAIServer(Answer(), Answer(status=500)) as server:
        reply = await reply_of(server, judging(), distribution="samples", draws=2)
    assert reply.failure is not None
    assert (reply.failure.cause, reply.usage) == ("unavailable", Usage(11, 7))
    assert reply.distribution is None


@pytest.mark.parametrize("model", PATHS)
async def test_a_schema_is_sent_and_a_good_reply_kept_as_it_came(model: str) -> None:
    with OpenAIServer(Answer(GOOD)) as server:
        reply = await reply_of(server, schema_ask(), model)
    sent = server.bodies[0]["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"] == json.loads(strict_schema(Verdict))
    assert (reply.text, reply.repaired, reply.failure) == (GOOD, False, None)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{GOOD}\n```",
        f"Here you are: {GOOD}",
        GOOD.replace('"', "'"),
        GOOD[:-1] + ",}",
        GOOD[:-1],
    ],
    ids=["fence", "words", "quotes", "comma", "bracket"],
)
async def test_nearly_json_is_mended_and_says_so(text: str) -> None:
    with OpenAIServer(Answer(text, rejects=("response_format",))) as server:
        reply = await reply_of(server, schema_ask())
    assert server.requests == 2
    assert reply.failure is None
    assert json.loads(reply.text) == json.loads(GOOD)
    assert reply.repaired


async def test_a_schema_that_was_rejected_is_not_sent_again() -> None:
    with OpenAIServer(Answer(GOOD, rejects=("response_format",))) as server:
        engine = LiteLLMEngine(expert(server.url))
        replies = [await one(engine, schema_ask()) for _ in range(3)]
    assert ["response_format" in body for body in server.bodies] == [True, *[False] * 3]
    assert {reply.text for reply in replies if isinstance(reply, Reply)} == {GOOD}


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Answer("I would say A."), "schema"),
        (Answer(""), "schema"),
        (Answer("{}"), "schema"),
        (Answer('{"answer": "C", "why": "x"}'), "schema"),
        (Answer('{"answer": "A", "why": 3}'), "schema"),
        (Answer('{"answer": "A", "why": "x", "more": 1}'), "schema"),
        (Answer("NaN"), "schema"),
        (Answer("[" * 100_000), "schema"),
        (Answer('{"answer": "A", "why": "bec', finish="length"), "cut_off"),
    ],
)
async def test_what_cannot_be_mended_is_malformed(answer: Answer, cause: str) -> None:
    with OpenAIServer(answer) as server:
        reply = await reply_of(server, schema_ask())
    assert reply.failure is not None
    assert (reply.failure.boundary, reply.failure.cause) == ("malformed", cause)
    assert (reply.text, reply.finish, reply.usage) == ("", "failure", Usage(11, 7))
    assert "\n" not in reply.failure.message


HEADERS = {
    "x-ratelimit-limit-requests": "600",
    "x-ratelimit-remaining-requests": "599",
    "x-ratelimit-reset-requests": "1m0.5s",
    "x-ratelimit-limit-tokens": "60000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "20ms",
}
HINT = RateHint(600, 599, 60.5, 60_000, 0, 0.02)


@pytest.mark.parametrize("model", PATHS)
async def test_limits_are_read_from_good_and_bad_answers(model: str) -> None:
    for answer in (
        Answer(headers=HEADERS),
        Answer(status=429, headers=HEADERS),
        Answer(status=500, headers=HEADERS),
    ):
        with OpenAIServer(answer) as server:
            assert (await ask_of(server, an_ask(), model)).rate_hint == HINT


async def test_limits_change_no_digest() -> None:
    replies = []
    for headers in ({}, HEADERS, {"x-ratelimit-limit-requests": "lots"}):
        with OpenAIServer(Answer(headers=headers)) as server:
            replies.append(await reply_of(server, an_ask()))
    assert [reply.rate_hint for reply in replies] == [None, HINT, None]
    assert len({reply.digest for reply in replies}) == 1


@pytest.mark.parametrize("model", PATHS)
async def test_retry_after_may_be_a_date(model: str) -> None:
    answer = Answer(status=429, headers={"Retry-After": http_date(30.0)})
    with OpenAIServer(answer) as server:
        result = await ask_of(server, an_ask(), model)
    assert isinstance(result, Throttled)
    assert 0.0 < result.wait_s <= 30.0


async def test_extra_parameters_are_sent() -> None:
    extra = {"top_logprobs": 5, "reasoning_effort": "low", "top_k": 20}
    with OpenAIServer(SAYS_B) as server:
        reply = await reply_of(server, judging(), PATHS[1], extra=extra)
    assert {name: server.bodies[0][name] for name in extra} == extra
    assert reply.distribution_source == "logprobs"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"draw": 3}, "unknown key 'draw'; did you mean 'draws'"),
        ({"draws": 0}, "greater than or equal to 1"),
        ({"distribution": "guess"}, "distribution"),
        ({"distribution": "samples"}, "needs draws of 2 or more"),
        ({"extra": {"seed": 3}}, "must not hold 'seed'"),
        ({"extra": {"extra_headers": {"x": "y"}}}, "must not hold 'extra_headers'"),
        ({"extra": {"deep": [{"api_key": "abc"}]}}, "must not hold a secret ('api_key')"),
        ({"extra": {"session_token": "abc"}}, "must not hold a secret"),
        ({"extra": {"auth": "Bearer abcdefgh"}}, "must not hold a secret ('auth')"),
        ({"extra": {"user": "sk-0123456789"}}, "must not hold a secret ('user')"),
        ({"extra": {"when": Path(".")}}, "JSON has no form for"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    for refusing in (LiteLLMEngine, capabilities_of, identify):
        with pytest.raises(Mistake) as caught:
            refusing(expert(None, options=options))
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "'ann'" in str(caught.value)
        for secret in ("abcdefgh", "0123456789"):
            assert secret not in str(caught.value)


def test_extra_may_count_tokens() -> None:
    options = {"extra": {"max_completion_tokens": 300, "top_k": 5, "keyword": "x"}}
    assert LiteLLMEngine(expert(None, options=options)).options.extra == options["extra"]


def test_options_that_change_replies_are_identity() -> None:
    def revision(options: dict[str, Any], revision: str = "") -> str:
        entry = {"model": "openai/m", "options": options, "revision": revision}
        return Roster.from_mapping({"ann": entry}).member("ann").model.revision

    plain, samples = revision({}), revision({"distribution": "samples", "draws": 5})
    assert plain == revision({"distribution": "auto", "draws": 1, "extra": {}}) == ""
    assert len({plain, samples, revision({"draws": 5}), revision({"extra": {"top_k": 5}})}) == 4
    assert revision({}, "2026-01") == "2026-01"
    assert revision({"draws": 5}, "2026-01") == f"2026-01+{revision({'draws': 5})}"


@pytest.mark.parametrize(
    ("model", "options", "distributions", "schemas", "images", "context"),
    [
        ("openai/gpt-4o-mini", {}, True, True, True, 128_000),
        ("openai/o3", {}, False, True, True, 200_000),
        ("openai/o3", {"draws": 4}, True, True, True, 200_000),
        ("openai/o3", {"distribution": "logprobs"}, False, True, True, 200_000),
        ("openai/o3", {"distribution": "stated"}, True, True, True, 200_000),
        ("openai/never-heard-of", {}, True, False, True, None),
        ("nobody/never-heard-of", {}, False, False, True, None),
    ],
)
def test_capabilities_depend_on_the_expert(
    model: str,
    options: dict[str, Any],
    distributions: bool,
    schemas: bool,
    images: bool,
    context: int | None,
) -> None:
    found = capabilities_of(Expert(model=model, options=options))
    assert found.distributions is distributions
    assert found.schemas is schemas
    assert found.images is images
    assert found.context_tokens == context
    assert found.draws


def test_a_server_behind_an_address_is_asked_for_schemas() -> None:
    assert capabilities_of(expert("http://127.0.0.1:1/v1")).schemas


@pytest.mark.parametrize(
    ("said", "features"),
    [
        ("Unsupported parameter: 'n'", {"n"}),
        ("This model does not support `logprobs`.", {"logprobs"}),
        ("parameter n must be 1", {"n"}),
        ("Invalid schema for response_format 'reply'", {"schema"}),
        ("logprobs and response_format are not supported", {"logprobs", "schema"}),
        ("no such temperature", set()),
        ("", set()),
    ],
)
def test_which_feature_a_rejection_names(said: str, features: set[str]) -> None:
    assert refused_features(said, Wanted(logprobs=True, draws=3, schema=True)) == features
    assert refused_features(said, Wanted()) == set()
