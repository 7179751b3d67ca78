"""Hosted models and OpenAI-compatible servers, through litellm. No other file imports it.

litellm takes seconds and 190 MB to import, so it is imported at the first load or call, in a
thread. It is told to use its packed price map and to leave ``.env`` files alone, so neither import
nor start touches the network; it does not retry, log or count money here.

Keys are read from the environment of the process that calls, at every call, and are scrubbed from
every message. An expert with a `base_url` is sent only the key that its `key_env` names: a key that
lies about in the environment never goes to another address than its provider's.

What is not done: distributions, reply schemas and streaming; options and schema of an ask are not
sent. A provider that reports no usage leaves zeros, which :func:`list_price` takes for unknown.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakSet

from agents.engine import Attempted, Capabilities, Engine
from agents.provider_errors import attempted, scrubbed, secrets_in
from agents.roster import Expert
from protocols.asks import Ask, Sampling
from protocols.errors import Mistake
from protocols.messages import PART_SEPARATOR, Message
from protocols.replies import Failure, Finish, Reply, Usage, failed

NO_KEY = "no-key"
"""What local servers are sent, as clients insist on some key."""
CLIENT_GRACE_S = 1.0
"""How much later than ours the client's own time limit strikes, so that ours decides."""

_FINISHES: Mapping[str, Finish] = {"length": "length", "content_filter": "content_filter"}


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

    def __init__(self, expert: Expert) -> None:
        """Keep the expert; nothing is imported, read or called yet.

        Raises:
            Mistake: the expert has options, of which this engine knows none.
        """
        if expert.options:
            names = ", ".join(sorted(expert.options))
            raise Mistake(
                f"expert {_label(expert)}: {expert.model} has no option {names}; remove it"
            )
        self.expert = expert
        self._room = asyncio.Semaphore(self.batch_limit)
        self._where = scrubbed(expert.base_url or expert.provider, ())

    def check(self) -> None:
        """Look for what would make every call fail; no call is made. Imports litellm.

        Raises:
            Mistake: the key's variable is not set, the address is not one, or litellm does not
                know the provider. The message is one line that says what to do.
        """
        expert = self.expert
        who = f"expert {_label(expert)}"
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
        tasks = [asyncio.create_task(self._indexed(index, ask)) for index, ask in enumerate(asks)]
        try:
            for finished in asyncio.as_completed(tasks):
                yield await finished
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _indexed(self, index: int, ask: Ask) -> tuple[int, Attempted]:
        async with self._room:
            return index, await self._attempt(ask)

    async def _attempt(self, ask: Ask) -> Attempted:
        """Make one call; whatever comes of it is a result."""
        expert = self.expert
        key = _environment_key(expert.key_env) if expert.key_env else None
        start = time.perf_counter()
        try:
            unset = _unset_key(expert)
            if unset:
                message = f"authentication, no key: the environment variable {unset} is not set"
                return failed("provider", message, cause="authentication")
            # The client's own limit counts each wait for a piece anew; this one the whole attempt.
            async with asyncio.timeout(expert.timeout_s):
                response = await _litellm().acompletion(**request(ask, expert, key))
            return _reply(response, time.perf_counter() - start)
        except TimeoutError:
            message = f"time limit ({self._where}): no reply within {expert.timeout_s:g} s"
            seconds = time.perf_counter() - start
            return failed("timeout", message, cause="time_limit", latency_s=seconds)
        except Exception as error:  # noqa: BLE001  # failure is data
            return attempted(
                error,
                where=self._where,
                secrets=_secrets(key),
                latency_s=time.perf_counter() - start,
            )


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
        said = scrubbed(str(error), _secrets(key))
        raise Mistake(f"expert {_label(expert)}: no vectors: {said}") from None
    finally:
        await engine.unload()


def request(ask: Ask, expert: Expert, key: str | None) -> dict[str, Any]:
    """Return the arguments of litellm's completion call for `ask`."""
    arguments: dict[str, Any] = {
        "model": expert.model,
        "messages": [_message(message) for message in ask.messages],
        "timeout": expert.timeout_s + CLIENT_GRACE_S,
        "num_retries": 0,
        **_settings(ask.seat.sampling),
    }
    if expert.base_url is not None:
        arguments["base_url"] = expert.base_url
        key = key or NO_KEY
    if key is not None:
        arguments["api_key"] = key
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


def _reply(response: Any, latency_s: float) -> Reply:
    """Read litellm's response object. A failed reply keeps its usage: it is paid for."""
    text, finish, failure = _content(response)
    return Reply(
        text=text,
        failure=failure,
        usage=_usage(getattr(response, "usage", None)),
        finish=finish,
        latency_s=latency_s,
        model_served=response.model or None,
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
    return "", "failure", Failure("refused", scrubbed(message, _secrets(None)), cause)


def _usage(usage: Any) -> Usage:
    """Read token counts; what the provider does not report is 0."""
    prompt = getattr(usage, "prompt_tokens_details", None)
    completion = getattr(usage, "completion_tokens_details", None)
    return Usage(
        prompt_tokens=getattr(usage, "prompt_tokens", None) or 0,
        completion_tokens=getattr(usage, "completion_tokens", None) or 0,
        reasoning_tokens=getattr(completion, "reasoning_tokens", None) or 0,
        cached_tokens=getattr(prompt, "cached_tokens", None) or 0,
    )


def _secrets(key: str | None) -> frozenset[str]:
    """Return what no message may hold: the key in use and all that the environment calls one."""
    return secrets_in(os.environ) | ({key} if key else frozenset())


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


def _label(expert: Expert) -> str:
    return repr(expert.label or expert.model)
