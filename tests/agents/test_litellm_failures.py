"""The LiteLLM engine against a server that misbehaves: every failure is attributed once."""

from __future__ import annotations

import logging
import socket

import pytest

from agents.engine import Throttled
from agents.litellm_engine import LiteLLMEngine
from agents.provider_errors import DEFAULT_WAIT_S
from protocols.replies import Reply, Usage
from tests.agents.hosted import KEY, KEY_ENV, PATHS, expert, one, reply_to
from tests.servers.openai_server import Answer, OpenAIServer


@pytest.fixture(autouse=True)
def planted_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


TOO_LONG = "This model's maximum context length is 8192 tokens. However, you asked for 9000."
FAILURES = {
    "filtered": (
        Answer(None, finish="content_filter"),
        "refused",
        "content_filter",
        "content filter",
    ),
    "refusal": (Answer(None, refusal="I will not."), "refused", "refusal", "I will not."),
    "policy": (
        Answer(status=400, error="no", error_code="content_policy_violation"),
        "refused",
        "content_filter",
        "content filter",
    ),
    "long": (Answer(status=400, error=TOO_LONG), "overlong", "context", "context too long"),
    "long-code": (
        Answer(status=400, error="no", error_code="context_length_exceeded"),
        "overlong",
        "context",
        "context too long",
    ),
    "no-choice": (Answer(choices=0), "malformed", "no_choice", "no choice"),
    "half-json": (
        Answer(body=b'{"id": "x", "choi'),
        "malformed",
        "broken_response",
        "broken response",
    ),
    "no-body": (Answer(body=b""), "malformed", "broken_response", "broken response"),
    "not-utf8": (Answer(body=b"\xff\xfe{}"), "malformed", "broken_response", "broken response"),
    "no-message": (
        Answer(body=b'{"id": "x", "choices": [{"message": null}]}'),
        "malformed",
        "broken_response",
        "broken response",
    ),
    "page": (
        Answer(body=b"<html>welcome</html>", content_type="text/html"),
        "provider",
        "no_api",
        "check base_url",
    ),
    "cut-before": (Answer(cut="before"), "provider", "connection", "connection"),
    "cut-during": (Answer(cut="during"), "provider", "connection", "connection"),
    "bad": (Answer(status=400, error="top_p is odd"), "provider", "bad_request", "bad request 400"),
    "key": (
        Answer(status=401, error=f"Wrong key {KEY}"),
        "provider",
        "authentication",
        "authentication 401",
    ),
    "payment": (Answer(status=402), "provider", "payment", "payment 402"),
    "forbidden": (Answer(status=403), "provider", "authentication", "permission 403"),
    "missing": (
        Answer(status=404, error="no such model"),
        "provider",
        "not_found",
        "not found 404",
    ),
    "server": (Answer(status=500, error="boom"), "provider", "unavailable", "server error 500"),
    "busy": (Answer(status=503), "provider", "unavailable", "server error 503"),
    "gateway": (Answer(status=504), "timeout", "time_limit", "time limit"),
    "error-page": (
        Answer(status=502, body=b"<html>Bad gateway</html>", content_type="text/html"),
        "provider",
        "unavailable",
        "server error 502",
    ),
}


@pytest.mark.parametrize("model", PATHS)
@pytest.mark.parametrize("case", FAILURES)
async def test_failures_are_attributed_once(case: str, model: str) -> None:
    answer, boundary, cause, message = FAILURES[case]
    reply = await reply_to(answer, model, key_env=KEY_ENV)
    assert reply.failure is not None
    assert (reply.failure.boundary, reply.failure.cause) == (boundary, cause)
    assert message in reply.failure.message
    assert KEY not in reply.failure.message
    assert "\n" not in reply.failure.message
    assert (reply.text, reply.finish) == ("", "failure")


async def test_a_refusal_that_was_counted_keeps_its_usage() -> None:
    reply = await reply_to(Answer(None, finish="content_filter"))
    assert reply.usage == Usage(11, 7)
    assert reply.model_served == "served-model-2026-11-01"


@pytest.mark.parametrize("model", PATHS)
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"Retry-After": "7"}, 7.0), ({}, DEFAULT_WAIT_S), ({"retry-after-ms": "250"}, 0.25)],
)
async def test_a_rate_limit_is_no_failure(
    headers: dict[str, str], wait_s: float, model: str
) -> None:
    answer = Answer(status=429, headers=headers, error=f"slow down, {KEY}")
    with OpenAIServer(answer) as server:
        result = await one(LiteLLMEngine(expert(server.url, model, key_env=KEY_ENV)))
        assert server.requests == 1
    assert isinstance(result, Throttled)
    assert result.wait_s == wait_s
    assert "slow down" in result.message
    assert KEY not in result.message


@pytest.mark.parametrize("model", PATHS)
@pytest.mark.parametrize("answer", [Answer(hold=True), Answer(drip=True)], ids=["silent", "drip"])
async def test_the_time_limit_counts_the_whole_attempt(answer: Answer, model: str) -> None:
    with OpenAIServer(answer) as server:  # which a busy machine may not even reach in time
        reply = await one(LiteLLMEngine(expert(server.url, model, timeout_s=0.3)))
    assert isinstance(reply, Reply)
    assert reply.failure is not None
    assert reply.failure.boundary == "timeout"
    assert "no reply within 0.3 s" in reply.failure.message


@pytest.mark.parametrize("model", PATHS)
async def test_nobody_listens(model: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connecting is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        result = await one(LiteLLMEngine(expert(url, model)))
    assert isinstance(result, Reply)
    assert result.failure is not None
    assert result.failure.boundary == "provider"
    assert result.failure.message.startswith(f"connection ({url}): ")


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "anthropic/claude-3-haiku", "gemini/gemini-x", "groq/x"]
)
async def test_no_key_at_all_is_said_without_a_call(model: str) -> None:
    result = await one(LiteLLMEngine(expert(None, model)))
    assert isinstance(result, Reply)
    assert result.failure is not None
    assert result.failure.boundary == "provider"
    assert "authentication" in result.failure.message


async def test_nothing_is_logged_or_printed(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="LiteLLM")
    await reply_to(Answer(status=401, error=f"Wrong key {KEY}"), key_env=KEY_ENV)
    await reply_to(Answer(body=b"{"), key_env=KEY_ENV)
    assert [record for record in caplog.records if "litellm" in record.name.lower()] == []
    assert KEY not in caplog.text
    assert capfd.readouterr() == ("", "")
