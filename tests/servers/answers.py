"""What the loopback server answers with: one :class:`Answer` a request, and rules that choose it.

A rule is a function of the request's body and its number. :func:`faulty` makes some of the answers
go wrong, always the same ones for a seed; :class:`Limited` turns away what passes a limit, with
the headers that providers send.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, Literal

USAGE: Mapping[str, Any] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server does with one request. The default is a good answer."""

    text: str | None = "Answer: A"
    """The content; None is JSON null."""
    finish: str = "stop"
    """``stop``, ``length``, ``content_filter``."""
    usage: Mapping[str, Any] | None = field(default_factory=lambda: USAGE)
    """The usage object; None leaves it out."""
    model: str = "served-model-2026-11-01"
    """The model that the answer names."""
    choices: int = 1
    """How many choices; 0 gives an empty list."""
    refusal: str | None = None
    """The message's ``refusal``."""
    texts: tuple[str | None, ...] = ()
    """The contents of several choices, as many of them as the request's ``n``. Without them an
    ``n`` is ignored."""
    tokens: tuple[tuple[tuple[str, float], ...], ...] = ()
    """For each token (token, log-probability) pairs, the one that was drawn first. Sent where the
    request asks for log-probabilities."""
    rejects: tuple[str, ...] = ()
    """Parameters that a request may not hold; 400 where it does."""
    status: int = 200
    """The HTTP status; from 400 on the body is an OpenAI error object."""
    error: str = "the server was told to fail"
    """The error's message."""
    error_code: str | None = None
    """The error's code, for example ``context_length_exceeded``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More response headers, for example ``Retry-After``."""
    body: bytes | None = None
    """These bytes instead of the JSON."""
    content_type: str = "application/json"
    """The content type."""
    cut: Literal["no", "before", "during"] = "no"
    """Close the connection before the first byte, or in the middle of the body."""
    hold: bool = False
    """Do not answer until :meth:`OpenAIServer.release` or until the client goes away."""
    drip: bool = False
    """Send white space, a byte at a time, until the client goes away: alive, and never done."""
    delay_s: float = 0.0
    """Wait this long before answering."""


Rule = Callable[[dict[str, Any], int], Answer]
"""(request body, its number from 0) -> what to do."""


def error_body(answer: Answer) -> bytes:
    """Return an OpenAI error object."""
    error = {
        "message": answer.error,
        "type": "test_error",
        "param": None,
        "code": answer.error_code,
    }
    return json.dumps({"error": error}).encode()


def completion_body(answer: Answer, number: int, body: Mapping[str, Any]) -> bytes:
    """Return a chat completion object, the answer to the request `body`."""
    texts = answer.texts[: body.get("n") or 1] or (answer.text,) * answer.choices
    completion: dict[str, Any] = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": answer.model,
        "choices": [_choice(answer, index, text, body) for index, text in enumerate(texts)],
    }
    if answer.usage is not None:
        completion["usage"] = dict(answer.usage)
    return json.dumps(completion).encode()


def _choice(
    answer: Answer, index: int, text: str | None, body: Mapping[str, Any]
) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": answer.refusal}
    choice: dict[str, Any] = {"index": index, "message": message, "finish_reason": answer.finish}
    if answer.tokens and body.get("logprobs"):
        choice["logprobs"] = {"content": [_token(*pairs) for pairs in answer.tokens]}
    return choice


def _token(*pairs: tuple[str, float]) -> dict[str, Any]:
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in pairs]
    return {**top[0], "top_logprobs": top}


def content_of(answer: Answer, number: int, body: Mapping[str, Any]) -> tuple[int, bytes]:
    """Return the HTTP status and the bytes that answer the request `body`."""
    held = [name for name in answer.rejects if name in body]
    if held:
        answer = replace(answer, status=400, error=f"Unsupported parameter: {held[0]!r}")
    if answer.body is not None:
        return answer.status, answer.body
    if answer.status >= 400:
        return answer.status, error_body(answer)
    return answer.status, completion_body(answer, number, body)


FAULTS: Mapping[str, Answer] = {
    "429": Answer(status=429, error="slow down", headers={"retry-after-ms": "20"}),
    "500": Answer(status=500, error="boom"),
    "cut": Answer(cut="before"),
    "truncated": Answer(cut="during"),
    "broken": Answer(body=b'{"id": "x", "choi'),
    "page": Answer(body=b"<html>Bad gateway</html>", content_type="text/html", status=502),
    "empty": Answer(choices=0),
}
"""What can go wrong at random, by name."""


def http_date(seconds: float) -> str:
    """Return the time in so many seconds as HTTP writes it, for ``Retry-After``."""
    return formatdate(time.time() + seconds, usegmt=True)


def faulty(
    share: float, *, seed: int = 0, kinds: Sequence[str] = ("429", "500", "cut"), rule: Rule
) -> Rule:
    """Return `rule` with a share of its answers replaced by faults, by request number and seed."""

    def chosen(body: dict[str, Any], number: int) -> Answer:
        chance = random.Random(f"{seed}/{number}")
        return FAULTS[chance.choice(list(kinds))] if chance.random() < share else rule(body, number)

    return chosen


class Limited:
    """A rule that answers as `rule` does, within limits; what passes them is a 429.

    Both are buckets that start full and fill up evenly over a minute, and every answer says in its
    headers what is left. A request costs the tokens that its answer's usage counts.
    """

    def __init__(
        self,
        rule: Rule,
        *,
        requests: int,
        tokens: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rule = rule
        self._limits = (float(requests), float(tokens))
        self._left = [float(requests), float(tokens)]
        self._clock = clock
        self._at = clock()
        self._lock = threading.Lock()

    def __call__(self, body: dict[str, Any], number: int) -> Answer:
        answer = self._rule(body, number)
        cost = (1.0, float((answer.usage or {}).get("total_tokens", 0)))
        with self._lock:
            now = self._clock()
            passed, self._at = now - self._at, now
            for kind, limit in enumerate(self._limits):
                self._left[kind] = min(limit, self._left[kind] + limit * passed / 60.0)
            waits = [
                max(0.0, (cost[kind] - self._left[kind]) * 60.0 / limit)
                for kind, limit in enumerate(self._limits)
            ]
            if max(waits) > 0.0:
                told = {**self._headers(), "Retry-After": f"{max(waits):.3f}"}
                return Answer(status=429, error="rate limit reached", headers=told)
            for kind in range(2):
                self._left[kind] -= cost[kind]
            return replace(answer, headers={**answer.headers, **self._headers()})

    def _headers(self) -> dict[str, str]:
        """Return the headers that say what is left, as OpenAI sends them."""
        told = {}
        for kind, name in enumerate(("requests", "tokens")):
            limit, left = self._limits[kind], self._left[kind]
            told[f"x-ratelimit-limit-{name}"] = f"{limit:.0f}"
            told[f"x-ratelimit-remaining-{name}"] = f"{int(left)}"
            told[f"x-ratelimit-reset-{name}"] = f"{int((limit - left) * 60_000.0 / limit)}ms"
        return told
