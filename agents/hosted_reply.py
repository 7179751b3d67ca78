"""What a hosted expert sent back, as a reply: text, finish, usage, distribution, schema, limits.

Pure but for the environment, whose secrets no message may hold. The response objects are those of
the OpenAI chat protocol, as litellm hands them on for every provider.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from agents.distributions import Spread, Token, from_draws, from_tokens, from_words
from agents.hosted_request import HostedOptions
from agents.provider_errors import scrubbed, secrets_in
from protocols.asks import Ask
from protocols.canonical import canonical_json
from protocols.replies import DistributionSource, Failure, Finish, RateHint, Reply, Usage

KEY_VARIABLES: set[str] = set()
"""The variables that experts of this process name as ``key_env``."""

_FINISHES: Mapping[str, Finish] = {"length": "length", "content_filter": "content_filter"}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SPAN_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def reply_of(
    responses: Sequence[Any],
    ask: Ask,
    options: HostedOptions,
    *,
    latency_s: float,
    key: str | None,
) -> Reply:
    """Return the reply that the responses to one attempt make: several, where it drew several.

    The text is the first draw's; usage is the sum, as every one is paid for, also where the reply
    holds a failure.
    """
    first = responses[0]
    text, finish, failure = _content(first)
    mended = False
    spread: Spread | None = None
    source: DistributionSource | None = None
    if failure is None and ask.schema is not None:
        text, mended, failure = held_to(ask.schema, text, finish)
    if failure is None and ask.options:
        spread, source = _spread(responses, text, ask.options, options)
    if failure is not None:
        failure = replace(failure, message=scrubbed(failure.message, known_secrets(key)))
    return Reply(
        text="" if failure else text,
        failure=failure,
        distribution=None if spread is None else spread.values,
        distribution_source=source,
        usage=total_usage(responses),
        finish="failure" if failure else finish,
        repaired=mended,
        latency_s=latency_s,
        model_served=first.model or None,
        outside_mass=None if spread is None else spread.outside,
        rate_hint=rate_hint(_headers(responses[-1])),
    )


def known_secrets(key: str | None) -> frozenset[str]:
    """Return what no message may hold: the key in use and all other keys of the environment.

    Those are what stands in variables whose names say so, and in those that experts name.
    """
    named = {os.environ.get(name, "").strip() for name in KEY_VARIABLES}
    return secrets_in(os.environ) | (named | {key or ""}) - {""}


def choices_of(responses: Iterable[Any]) -> list[Any]:
    """Return the choices of several responses."""
    return [choice for response in responses for choice in response.choices]


def total_usage(responses: Iterable[Any]) -> Usage:
    """Return the tokens of several responses; what the provider does not report is 0."""
    found = [_usage(getattr(response, "usage", None)) for response in responses]
    if len(found) == 1:
        return found[0]
    return Usage(
        sum(usage.prompt_tokens for usage in found),
        sum(usage.completion_tokens for usage in found),
        sum(usage.reasoning_tokens for usage in found),
        sum(usage.cached_tokens for usage in found),
    )


def _usage(usage: Any) -> Usage:
    prompt = getattr(usage, "prompt_tokens_details", None)
    completion = getattr(usage, "completion_tokens_details", None)
    return Usage(
        prompt_tokens=getattr(usage, "prompt_tokens", None) or 0,
        completion_tokens=getattr(usage, "completion_tokens", None) or 0,
        reasoning_tokens=getattr(completion, "reasoning_tokens", None) or 0,
        cached_tokens=getattr(prompt, "cached_tokens", None) or 0,
    )


def _content(response: Any) -> tuple[str, Finish, Failure | None]:
    """Return text, finish reason and failure of a response."""
    if not response.choices:
        return "", "failure", Failure("malformed", "the provider sent no choice", "no_choice")
    choice = response.choices[0]
    text = choice.message.content or ""
    finish = _FINISHES.get(choice.finish_reason, "stop")
    fields = getattr(choice.message, "provider_specific_fields", None) or {}
    refusal = fields.get("refusal")
    if text or not (refusal or finish == "content_filter"):
        return text, finish, None
    message = refusal or "the provider's content filter left no text"
    cause = "refusal" if refusal else "content_filter"
    return "", "failure", Failure("refused", message, cause)


def has_tokens(response: Any) -> bool:
    """Whether log-probabilities came with a response."""
    choice = response.choices[0] if response.choices else None
    return bool(getattr(getattr(choice, "logprobs", None), "content", None))


def _spread(
    responses: Sequence[Any], text: str, labels: Sequence[str], options: HostedOptions
) -> tuple[Spread | None, DistributionSource | None]:
    """Return the distribution over the options and where it comes from."""
    wish = options.distribution
    if wish in ("auto", "logprobs"):
        spread = from_tokens(_tokens(responses[0].choices[0]), labels)
        if spread is not None:
            return spread, "logprobs"
    texts = [choice.message.content or "" for choice in choices_of(responses)]
    if len(texts) > 1 and wish in ("auto", "samples"):
        spread = from_draws(texts[: options.draws], labels)
        return spread, None if spread is None else "samples"
    spread = from_words(text, labels) if wish in ("auto", "stated") else None
    return spread, None if spread is None else "stated"


def _tokens(choice: Any) -> list[Token]:
    """Return the tokens of a choice with their alternatives; none where they were not sent."""
    content = getattr(getattr(choice, "logprobs", None), "content", None)
    tokens = []
    for token in content or ():
        top = {other.token: other.logprob for other in token.top_logprobs or ()}
        top.setdefault(token.token, token.logprob)
        tokens.append(Token(token.token, tuple(top.items())))
    return tokens


def held_to(schema: str, text: str, finish: Finish) -> tuple[str, bool, Failure | None]:
    """Return a text as JSON that follows `schema`, whether it was mended, and what is wrong.

    A text that follows it stays as it came. One that was cut off is not mended: closing its
    brackets would make something that nobody said.
    """
    try:
        value, mended = json.loads(text, parse_constant=_no_number), False
    except (ValueError, RecursionError):
        if finish == "length":
            return "", False, Failure("malformed", "the JSON was cut off by max_tokens", "cut_off")
        value, mended = _mended(text), True
    wrong = _violation(schema, value)
    if wrong is not None:
        told = f"the reply does not follow the schema: {wrong}"
        return "", False, Failure("malformed", told, "schema")
    try:
        return (canonical_json(value) if mended else text), mended, None
    except (TypeError, ValueError):
        return "", False, Failure("malformed", "the reply holds numbers that are none", "schema")


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _mended(text: str) -> Any:
    """Return what a text that is nearly JSON means; the text itself where it is not."""
    from json_repair import repair_json

    try:
        return repair_json(text, return_objects=True)
    except (ValueError, RecursionError):
        return text


def _violation(schema: str, value: Any) -> str | None:
    """Return how `value` breaks `schema`, or None."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator(schema).iter_errors(value))
    if error is None:
        return None
    place = "".join(f"[{step!r}]" for step in error.absolute_path)
    return f"{place or 'the whole'}: {error.validator} is not kept"


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    from jsonschema.validators import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def _headers(response: Any) -> Mapping[str, str]:
    """Return the HTTP headers that came with a response, names in lower case."""
    headers: Mapping[str, str] = getattr(response, "_response_headers", None) or {}
    return headers


def rate_hint(headers: Mapping[str, str]) -> RateHint | None:
    """Read what a provider says about its limits in the headers of an answer; None if nothing.

    Read are OpenAI's names (``x-ratelimit-limit-requests``, resets such as ``6m0s``), which most
    servers use, and Anthropic's (``anthropic-ratelimit-requests-limit``, resets as a time of day).
    """
    found: dict[str, Any] = {}
    for kind in ("requests", "tokens"):
        for what, field in (("limit", "limit"), ("remaining", "left"), ("reset", "reset_s")):
            value = headers.get(f"x-ratelimit-{what}-{kind}") or headers.get(
                f"anthropic-ratelimit-{kind}-{what}"
            )
            if value:
                found[f"{kind}_{field}"] = _span_s(value) if what == "reset" else _count(value)
    hint = RateHint(**found)
    return None if hint == _NO_HINT else hint


_NO_HINT = RateHint()


def _count(value: str) -> int | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if 0.0 <= number < 1e15 else None


def _span_s(value: str) -> float | None:
    """Read ``6m0s``, ``20ms``, ``1.5`` (seconds) or a time of day in RFC 3339."""
    value = value.strip()
    parts = _SPAN.findall(value)
    if parts and "".join(number + unit for number, unit in parts) == value:
        return float(sum(float(number) * _SPAN_S[unit] for number, unit in parts))
    try:
        return max(0.0, float(value)) if value[:1].isdigit() and "T" not in value else _until(value)
    except ValueError:
        return None


def _until(value: str) -> float:
    return max(0.0, datetime.fromisoformat(value).timestamp() - time.time())
