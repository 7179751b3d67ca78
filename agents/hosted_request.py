"""What a hosted expert is sent: options of its engine, and the arguments of one call.

Pure: no client library, no environment, no clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agents.provider_errors import looks_secret
from agents.roster import Expert
from agents.settings import checked
from protocols.asks import Ask, Sampling
from protocols.canonical import canonical_json, sha256_hex
from protocols.messages import PART_SEPARATOR, Message

NO_KEY = "no-key"
"""What local servers are sent, as clients insist on some key."""
CLIENT_GRACE_S = 1.0
"""How much later than ours the client's own time limit strikes, so that ours decides."""
TOP_LOGPROBS = 20
"""How many alternatives of a token are asked for: what OpenAI and vLLM give at most. `extra` may
name another number for a server that gives fewer."""

Feature = Literal["logprobs", "n", "schema"]
"""What is asked of a provider only where it takes it."""

_OURS = frozenset(
    (
        *("api_base", "api_key", "base_url", "cache", "caching", "callbacks", "client"),
        *("custom_llm_provider", "default_headers", "extra_headers", "fallbacks", "headers"),
        *("logger_fn", "max_retries", "max_tokens", "messages", "metadata", "mock_response"),
        *("model", "model_list", "n", "num_retries", "organization", "proxy", "response_format"),
        *("retry_strategy", "seed", "stop", "stream", "stream_options", "temperature"),
        *("timeout", "top_p"),
    )
)
"""What stands elsewhere in an expert or a protocol, or would go around what moot counts."""
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:key|apikey|password|secret|authorization|credentials?|cookie)$|(?:^|[a-z]_)token$",
    re.IGNORECASE,
)


class HostedOptions(BaseModel):
    """The options of a hosted expert."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distribution: Literal["auto", "logprobs", "samples", "stated"] = "auto"
    """Where a distribution over an ask's options comes from. ``auto``: log-probabilities where the
    provider gives them; else from `draws`, where there are two or more; else as the text states it;
    else there is none."""
    draws: int = Field(1, ge=1, le=256)
    """How many draws a distribution from samples is made of."""
    extra: dict[str, Any] = {}
    """Parameters that the provider knows and moot does not, for example ``reasoning_effort``."""

    @field_validator("extra")
    @classmethod
    def _is_plain(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for name in sorted(_OURS.intersection(extra)):
            raise ValueError(f"must not hold {name!r}, which moot sets itself")
        for name, value in _leaves(extra):
            if _SECRET_NAME.search(name) or looks_secret(value):
                raise ValueError(f"must not hold a secret ({name!r}); name its variable in key_env")
        try:
            canonical_json(extra)
        except (TypeError, ValueError):
            raise ValueError("holds something that JSON has no form for") from None
        return extra

    @model_validator(mode="after")
    def _has_draws(self) -> HostedOptions:
        if self.distribution == "samples" and self.draws < 2:
            raise ValueError("distribution: samples needs draws of 2 or more; write  draws: 8")
        return self


_DEFAULTS = HostedOptions()


def hosted_options(expert: Expert) -> HostedOptions:
    """Return an expert's options.

    Raises:
        Mistake: there is no such option, or its value does not fit.
    """
    if not expert.options:
        return _DEFAULTS
    return checked(HostedOptions, expert.options, f"expert {label_of(expert)}: options")


def label_of(expert: Expert) -> str:
    """Return how messages name an expert."""
    return repr(expert.label or expert.model)


def hosted_revision(expert: Expert) -> str:
    """Return the revision with a digest of the options, all of which change what a session reads.

    Raises:
        Mistake: they are no options of a hosted expert.
    """
    options = hosted_options(expert).model_dump(mode="json", exclude_defaults=True)
    if not options:
        return expert.revision
    return f"{expert.revision}+{sha256_hex(canonical_json(options))[:16]}".removeprefix("+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one call asks for beyond text."""

    logprobs: bool = False
    draws: int = 1
    schema: bool = False

    def without(self, refused: frozenset[Feature]) -> Wanted:
        """Return the same without what the provider does not take."""
        return Wanted(
            self.logprobs and "logprobs" not in refused,
            1 if "n" in refused else self.draws,
            self.schema and "schema" not in refused,
        )

    @property
    def features(self) -> frozenset[Feature]:
        """Return what of it a provider may refuse."""
        asked: dict[Feature, bool] = {
            "logprobs": self.logprobs,
            "n": self.draws > 1,
            "schema": self.schema,
        }
        return frozenset(name for name, said in asked.items() if said)


NOTHING = Wanted()


def wanted(ask: Ask, options: HostedOptions, refused: frozenset[Feature]) -> Wanted:
    """Return what the first call for `ask` asks for.

    Args:
        ask: what is asked.
        options: the expert's options.
        refused: what the provider is known not to take.
    """
    if not ask.options and ask.schema is None:
        return NOTHING
    logprobs = bool(ask.options) and options.distribution in ("auto", "logprobs")
    full = Wanted(logprobs, 1, ask.schema is not None).without(refused)
    draws = 1 if full.logprobs else draws_of(ask, options)
    return Wanted(full.logprobs, draws, full.schema).without(refused)


def draws_of(ask: Ask, options: HostedOptions) -> int:
    """Return of how many draws a distribution is made where there are no log-probabilities."""
    sampled = ask.options and options.distribution in ("auto", "samples")
    return options.draws if sampled else 1


_MENTIONS: dict[Feature, re.Pattern[str]] = {
    "logprobs": re.compile("logprobs", re.IGNORECASE),
    "n": re.compile(r"['\"`]n['\"`]|\bn\b (?:is|must|should|>|=)|\bparameter:? n\b"),
    "schema": re.compile(r"response_format|json_schema|structured output|schema", re.IGNORECASE),
}


def refused_features(said: str, asked: Wanted) -> frozenset[Feature]:
    """Return which of the features that were asked for a rejection names."""
    return frozenset(name for name in asked.features if _MENTIONS[name].search(said))


def request(
    ask: Ask,
    expert: Expert,
    key: str | None,
    *,
    asked: Wanted = NOTHING,
    extra: dict[str, Any] | None = None,
    draw: int = 0,
) -> dict[str, Any]:
    """Return the arguments of litellm's completion call for `ask`.

    Args:
        ask: what is asked.
        expert: who.
        key: the key, or None.
        asked: what is asked for beyond text.
        extra: more parameters.
        draw: which of several single draws this is; a seed is counted up by it, as the same seed
            would give the same draw.
    """
    arguments: dict[str, Any] = {
        "model": expert.model,
        "messages": [_message(message) for message in ask.messages],
        "timeout": expert.timeout_s + CLIENT_GRACE_S,
        "num_retries": 0,
        **_settings(ask.seat.sampling),
    }
    if draw and arguments.get("seed") is not None:
        arguments["seed"] += draw
    if expert.base_url is not None:
        arguments["base_url"] = expert.base_url
        key = key or NO_KEY
    if key is not None:
        arguments["api_key"] = key
    if asked is not NOTHING:
        arguments.update(_features(ask, asked))
    return {**arguments, **extra} if extra else arguments


def _features(ask: Ask, asked: Wanted) -> dict[str, Any]:
    """Return the arguments for what is asked for beyond text."""
    arguments: dict[str, Any] = {}
    if asked.logprobs:
        arguments.update(logprobs=True, top_logprobs=TOP_LOGPROBS)
    if asked.draws > 1:
        arguments["n"] = asked.draws
    if asked.schema and ask.schema is not None:
        schema = {"name": "reply", "schema": json.loads(ask.schema), "strict": True}
        arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
    return arguments


def _settings(sampling: Sampling) -> dict[str, Any]:
    """Return the sampling settings that say something."""
    settings = {name: value for name, value in sampling.as_json().items() if value is not None}
    if not settings["stop"]:
        del settings["stop"]
    return settings


def _message(message: Message) -> dict[str, Any]:
    """Return a message in the chat protocol: a string, or text and images in reading order."""
    if all(part.kind == "text" for part in message.parts):
        return {"role": message.speaker, "content": message.text}
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if part.kind == "image":
            content.append({"type": "image_url", "image_url": {"url": part.text}})
        elif content and content[-1]["type"] == "text":
            content[-1]["text"] += PART_SEPARATOR + part.text
        else:
            content.append({"type": "text", "text": part.text})
    return {"role": message.speaker, "content": content}


def _leaves(value: Any, name: str = "extra") -> Iterator[tuple[str, str]]:
    """Yield (key, text) of everything in a nested value; the text of what is no text is empty."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), ""
            yield from _leaves(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    else:
        yield name, value if isinstance(value, str) else ""
