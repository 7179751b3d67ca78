"""Hosted models and OpenAI-compatible servers, through litellm. No other file imports it.

litellm takes seconds and 190 MB to import, so it is imported at the first load or call, in a
thread. It is told to use its packed price map and to leave ``.env`` files alone, so neither import
nor start touches the network; it does not retry, log or count money here.

Keys are read from the environment of the process that calls, at every call, and are scrubbed from
every message. An expert with a `base_url` is sent only the key that its `key_env` names: a key that
lies about in the environment never goes to another address than its provider's.

Log-probabilities, several draws in one call and reply schemas are asked for where litellm's tables
say that the provider takes them. A server that rejects one of them all the same is asked once more
without it, inside the attempt, and not asked for it again by this engine; the reply says where its
distribution comes from. Only ``distribution: logprobs`` insists.

What is not done: replies are not streamed. A provider that reports no usage leaves zeros, which
:func:`list_price` takes for unknown.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import lru_cache
from typing import Any
from weakref import WeakSet

from agents.engine import Attempted, Capabilities, Engine, Throttled, as_finished
from agents.hosted_reply import (
    KEY_VARIABLES,
    has_tokens,
    known_secrets,
    rate_hint,
    reply_of,
    total_usage,
)
from agents.hosted_request import (
    NO_KEY,
    Feature,
    Wanted,
    draws_of,
    hosted_options,
    label_of,
    refused_features,
    request,
    wanted,
)
from agents.provider_errors import attempted, causes, headers_of, rejected_text, scrubbed
from agents.roster import Expert
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.replies import Usage, failed


@lru_cache(maxsize=1)
def _litellm() -> Any:
    """Import litellm quietly, without network and without its ``.env`` loading."""
    for name in ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"):
        os.environ[name] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    # It prepares a call in a thread, and drops it there where the call is cancelled meanwhile.
    warnings.filterwarnings("ignore", "coroutine '.*completion' was never awaited", RuntimeWarning)
    # Its types say more than pydantic can hold, which pydantic notes when they are first used.
    warnings.filterwarnings("ignore", "Item '.*' on TypedDict class", UserWarning)
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).disabled = True
    return litellm


def list_price(model: str, usage: Usage) -> float | None:
    """Return the list price of `usage` in US dollars, from litellm's packed price map.

    None where the price is not known: the model is not in the map, the map names no price for it,
    or the provider reported no tokens. Never 0: an unknown price is not "free".
    """
    litellm = _litellm()
    if model not in litellm.model_cost and model.partition("/")[2] not in litellm.model_cost:
        return None  # some providers would be asked over the network
    try:
        prompt, completion = litellm.cost_per_token(
            model=model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cache_read_input_tokens=usage.cached_tokens,
        )
    except Exception:  # noqa: BLE001  # the map has gaps, and each raises something else
        return None
    return float(prompt + completion) or None


_in_use: WeakSet[LiteLLMEngine] = WeakSet()
"""The engines that are loaded and share litellm's connections."""


class LiteLLMEngine(Engine):
    """One hosted expert: ``openai/...``, ``anthropic/...``, ``hosted_vllm/...``, ``ollama/...``."""

    capabilities = Capabilities(images=True)

    @classmethod
    def capabilities_for(cls, expert: Expert) -> Capabilities:
        """Return what litellm's tables say of the expert's model; imports litellm.

        A server behind a `base_url` may do less than its kind: what it does not take is not asked
        of it twice, and replies say so.

        Raises:
            Mistake: the expert has options that do not fit.
        """
        options = hosted_options(expert)
        refused = _untaken(expert)
        told = _told(expert.model)
        wish = options.distribution
        return Capabilities(
            distributions="logprobs" not in refused
            if wish == "logprobs"
            else "logprobs" not in refused or options.draws > 1 or wish == "stated",
            schemas="schema" not in refused,
            images=told.get("supports_vision", not told) is True,
            context_tokens=told.get("max_input_tokens"),
        )

    def __init__(self, expert: Expert) -> None:
        """Keep the expert; nothing is imported, read or called yet.

        Raises:
            Mistake: the expert has options that this engine does not know, or that do not fit.
        """
        self.expert = expert
        self.options = hosted_options(expert)
        if expert.key_env is not None:
            KEY_VARIABLES.add(expert.key_env)
        self._refused: frozenset[Feature] | None = None
        self._room = asyncio.Semaphore(self.batch_limit)
        self._where = scrubbed(expert.base_url or expert.provider, ())

    def check(self) -> None:
        """Look for what would make every call fail; no call is made. Imports litellm.

        Raises:
            Mistake: the key's variable is not set, the address is not one, or litellm does not
                know the provider. The message is one line that says what to do.
        """
        expert = self.expert
        who = f"expert {label_of(expert)}"
        if expert.base_url is not None and not expert.base_url.startswith(("http://", "https://")):
            raise Mistake(
                f"{who}: base_url {scrubbed(expert.base_url, ())!r} is not an address; write for "
                "example http://127.0.0.1:8000/v1"
            )
        litellm = _litellm()
        try:
            litellm.get_llm_provider(expert.model)
        except Exception:  # noqa: BLE001  # whatever it raises, it does not know the provider
            raise Mistake(
                f"{who}: {expert.provider!r} is no provider that litellm knows; for an "
                "OpenAI-compatible server write openai/NAME and a base_url"
            ) from None
        unset = _unset_key(expert)
        if unset:
            raise Mistake(
                f"{who}: the environment variable {unset} is not set; put the key of "
                f"{expert.provider!r} into it, or name another variable as key_env"
            )

    async def load(self) -> None:
        """Import litellm, in a thread, so that the event loop goes on."""
        _in_use.add(self)
        if not _litellm.cache_info().currsize:
            await asyncio.to_thread(_litellm)

    async def unload(self) -> None:
        """Close the connections, once no engine of this process uses them: litellm shares them."""
        _in_use.discard(self)
        if not _in_use and _litellm.cache_info().currsize:
            litellm = _litellm()
            await litellm.close_litellm_async_clients()
            litellm.in_memory_llm_clients_cache.flush_cache()

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        """Yield results as they arrive; one task an ask, at most `batch_limit` calls at once.

        Closing the iterator, or cancelling who reads it, cancels the calls that still run.
        """
        if self not in _in_use:
            await self.load()
        async with aclosing(as_finished(asks, self._in_turn)) as results:
            async for result in results:
                yield result

    async def _in_turn(self, ask: Ask) -> Attempted:
        async with self._room:
            return await self._attempt(ask)

    async def _attempt(self, ask: Ask) -> Attempted:
        """Make one attempt; whatever comes of it is a result."""
        expert = self.expert
        key = _environment_key(expert.key_env) if expert.key_env else None
        responses: list[Any] = []
        start = time.perf_counter()
        try:
            unset = _unset_key(expert)
            if unset:
                message = f"authentication, no key: the environment variable {unset} is not set"
                return failed("provider", message, cause="authentication")
            # The client's own limit counts each wait for a piece anew; this one the whole attempt.
            async with asyncio.timeout(expert.timeout_s):
                await self._draw(ask, key, responses)
            seconds = time.perf_counter() - start
            return reply_of(responses, ask, self.options, latency_s=seconds, key=key)
        except TimeoutError:
            message = f"time limit ({self._where}): no reply within {expert.timeout_s:g} s"
            result: Attempted = failed("timeout", message, cause="time_limit")
            hint = None
        except Exception as error:  # noqa: BLE001  # failure is data
            result = attempted(error, where=self._where, secrets=known_secrets(key))
            hint = next(filter(None, map(rate_hint, headers_of(causes(error)))), None)
        usage = total_usage(responses) if responses else Usage()
        if isinstance(result, Throttled):
            return replace(result, usage=usage, rate_hint=hint)
        seconds = time.perf_counter() - start
        return replace(result, usage=usage, rate_hint=hint, latency_s=seconds)

    async def _draw(self, ask: Ask, key: str | None, responses: list[Any]) -> None:
        """Append the responses that make one reply: one, or as many as its draws need."""
        asked = wanted(ask, self.options, self._known_refused())
        responses.append(await self._call(ask, key, asked))
        draws = draws_of(ask, self.options)
        if draws < 2 or not responses[0].choices:
            return
        if asked.logprobs:
            if has_tokens(responses[0]):
                return
            self._note("logprobs")
        elif asked.draws > 1 and len(responses[0].choices) < 2:
            self._note("n")
        missing = draws - len(responses[0].choices)
        single = replace(asked, logprobs=False, draws=1)

        async def another(draw: int) -> None:
            responses.append(await self._call(ask, key, single, draw))

        tasks = [asyncio.create_task(another(draw)) for draw in range(1, missing + 1)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, ask: Ask, key: str | None, asked: Wanted, draw: int = 0) -> Any:
        """Make one call; once more without what the server says it does not take."""
        arguments = request(ask, self.expert, key, asked=asked, extra=self.options.extra, draw=draw)
        try:
            return await _litellm().acompletion(**arguments)
        except Exception as error:
            refused = refused_features(rejected_text(error), asked)
            if self.options.distribution == "logprobs":
                refused -= {"logprobs"}
            if not refused:
                raise
        self._note(*refused)
        return await self._call(ask, key, asked.without(refused), draw)

    def _known_refused(self) -> frozenset[Feature]:
        if self._refused is None:
            self._refused = _untaken(self.expert)
            if self.options.distribution == "logprobs":
                self._refused -= {"logprobs"}
        return self._refused

    def _note(self, *features: Feature) -> None:
        """Remember what the server does not take, or ignores."""
        self._refused = self._known_refused().union(features)


def _told(model: str) -> dict[str, Any]:
    """Return what litellm's packed table says of a model; nothing where it does not know it."""
    table = _litellm().model_cost
    found: dict[str, Any] = table.get(model) or table.get(model.partition("/")[2]) or {}
    return found


def _untaken(expert: Expert) -> frozenset[Feature]:
    """Return what the expert's provider does not take, as far as litellm's tables say.

    Whether a *model* follows a schema is in them for hosted models only; servers at a `base_url`
    are asked.
    """
    litellm = _litellm()
    try:
        taken = set(litellm.get_supported_openai_params(model=expert.model) or ())
        schema = "response_format" in taken and (
            expert.base_url is not None or litellm.supports_response_schema(model=expert.model)
        )
    except Exception:  # noqa: BLE001  # whatever it raises, it does not know the provider
        return frozenset(("logprobs", "n", "schema"))
    said: dict[Feature, bool] = {
        "logprobs": {"logprobs", "top_logprobs"} <= taken,
        "n": "n" in taken,
        "schema": schema,
    }
    return frozenset(name for name, takes in said.items() if not takes)


def _environment_key(name: str) -> str | None:
    """Return the key in the environment variable `name`, or None; white space is no key."""
    return os.environ.get(name, "").strip() or None


def _unset_key(expert: Expert) -> str | None:
    """Return the name of the variable whose key is needed and not set, or None.

    Without a `key_env`, litellm says which variables the provider needs. Only its ``..._API_KEY``
    are asked for: clouds have other ways to log in than the variables that litellm lists.
    """
    if expert.key_env is not None:
        return None if _environment_key(expert.key_env) else expert.key_env
    if expert.base_url is not None:
        return None
    needed = _litellm().validate_environment(expert.model)["missing_keys"]
    return " or ".join(sorted(name for name in needed if name.endswith("_API_KEY"))) or None


async def embed(expert: Expert, texts: Sequence[str]) -> list[list[float]]:
    """Return a vector for each text, in one call of an embedding model.

    Raises:
        Mistake: it cannot be called, or the call failed; no key stands in the message.
    """
    engine = LiteLLMEngine(expert)
    engine.check()
    key = _environment_key(expert.key_env) if expert.key_env else None
    arguments: dict[str, Any] = {"timeout": expert.timeout_s, "num_retries": 0}
    if expert.base_url is not None:
        arguments["api_base"] = expert.base_url
        key = key or NO_KEY
    if key is not None:
        arguments["api_key"] = key
    await engine.load()
    try:
        response = await _litellm().aembedding(model=expert.model, input=list(texts), **arguments)
        rows = sorted(response.data, key=lambda row: int(row["index"]))
        return [[float(value) for value in row["embedding"]] for row in rows]
    except Exception as error:  # noqa: BLE001  # whatever it raises, there are no vectors
        said = scrubbed(str(error), known_secrets(key))
        raise Mistake(f"expert {label_of(expert)}: no vectors: {said}") from None
    finally:
        await engine.unload()
