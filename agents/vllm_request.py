"""What vLLM is told and what it answers: options, arguments from asks, replies from outputs.

Pure, and without vllm: outputs are read by the names of their fields, those of ``RequestOutput``,
``CompletionOutput`` and ``Logprob`` in ``vllm/outputs.py`` and ``vllm/logprobs.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.distributions import Token, from_tokens
from agents.local_models import weights_gb
from agents.roster import Expert
from agents.settings import checked
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.replies import Finish, Reply, Usage, failed, scored

TOP_LOGPROBS = 20
"""How many of the likeliest tokens are asked for: what vLLM gives unless it is told otherwise."""

_MOST_UTILIZATION = 0.95
_GB = 1e9
_CPU_ROOM_GB = 4.0
_SEED_DIGITS = 12
_DEFAULTS = ("max_tokens", "min_p", "repetition_penalty", "temperature", "top_k", "top_p")


class VllmOptions(BaseModel):
    """The options of a vLLM expert."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu"] = "auto"
    """``cpu``: vllm here is its build for CPUs; then nothing sleeps, and `unload` ends it."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    quantization: str | None = None
    """vLLM's name of a method, where the model's own files do not say it."""
    batch_limit: int = Field(256, ge=1)
    """The most asks that run at once."""
    context_tokens: int | None = Field(None, ge=16)
    """The longest prompt with its reply; None: the model's."""
    chat_template: str | None = None
    """A file, for models whose tokenizer has none."""
    chat_options: dict[str, Any] = {}
    """Given to the template, for example ``enable_thinking: false``."""
    prefix_reuse: bool = True
    """Whether prompts that begin alike share what was computed for their beginning."""
    host_cache_gb: float = Field(64.0, ge=0.0)
    """What models that sleep may take together of the host's memory, in gigabytes."""
    eager: bool = False
    """Start faster and generate slower: no CUDA graphs are captured."""


def vllm_options(expert: Expert) -> VllmOptions:
    """Return an expert's options.

    Raises:
        Mistake: there is no such option, or its value does not fit.
    """
    return checked(VllmOptions, expert.options, f"expert {expert.label or expert.model!r}: options")


def engine_arguments(expert: Expert, folder: Path, gpu_gb: float | None) -> dict[str, Any]:
    """Return the arguments of ``AsyncEngineArgs``.

    Args:
        expert: who.
        folder: of its model.
        gpu_gb: the memory of its GPU in gigabytes, of which it takes its share; None: unknown.
    """
    options = vllm_options(expert)
    on_cpu = options.device == "cpu"
    given: dict[str, Any] = {
        "model": str(folder),
        "dtype": options.dtype,
        "max_num_seqs": options.batch_limit,
        "enable_prefix_caching": options.prefix_reuse,
        "enable_sleep_mode": not on_cpu,
        "enforce_eager": options.eager,
        "tensor_parallel_size": expert.gpus,
        "disable_log_stats": True,
        "seed": 0,
    }
    if options.context_tokens is not None:
        given["max_model_len"] = options.context_tokens
    if options.quantization is not None:
        given["quantization"] = options.quantization
    if on_cpu:
        given["kv_cache_memory_bytes"] = int(_room_gb(expert, folder) * _GB)
        # On CPUs vLLM 0.32 ends in an error where a prompt with a seed is read in several parts.
        given["enable_chunked_prefill"] = False
    elif expert.gpu_gb is not None and gpu_gb:
        given["gpu_memory_utilization"] = round(min(expert.gpu_gb / gpu_gb, _MOST_UTILIZATION), 4)
    return given


def _room_gb(expert: Expert, folder: Path) -> float:
    """Return what an expert on a CPU takes for prompts and replies, in gigabytes.

    vLLM's own share would be most of the machine's memory, for each expert anew. Its variable
    ``VLLM_CPU_KVCACHE_SPACE`` goes before what is said here.
    """
    if expert.gpu_gb is None:
        return _CPU_ROOM_GB
    return max(0.0, expert.gpu_gb - weights_gb(folder, vllm_options(expert).dtype))


def sampling_arguments(
    ask: Ask, prompt_tokens: int, context: int, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of ``SamplingParams``, but for its structured outputs and kind.

    Args:
        ask: what is asked.
        prompt_tokens: how long its prompt is.
        context: the longest prompt with its reply, in tokens.
        defaults: what the model's own configuration says of sampling; an ask goes before it.
    """
    sampling, room = ask.seat.sampling, context - prompt_tokens
    if ask.score:
        return {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
    given = {name: defaults[name] for name in _DEFAULTS if defaults.get(name) is not None}
    if sampling.temperature is not None:
        given["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        given["top_p"] = sampling.top_p
    most = sampling.max_tokens or given.get("max_tokens") or room
    given["max_tokens"] = max(1, min(most, room))
    given["seed"] = int(ask.key[:_SEED_DIGITS], 16)
    if sampling.stop:
        given["stop"] = list(sampling.stop)
    if ask.options:
        given["logprobs"] = TOP_LOGPROBS
    return given


def reply_of(ask: Ask, output: Any, scored_tokens: int, latency_s: float) -> Reply:
    """Return the reply that a finished ``RequestOutput`` makes.

    Args:
        ask: what was asked.
        output: vLLM's.
        scored_tokens: how many tokens at the prompt's end are the text to be scored.
        latency_s: seconds since dispatch.
    """
    completion, prompt = output.outputs[0], list(output.prompt_token_ids or ())
    usage = Usage(
        prompt_tokens=len(prompt),
        completion_tokens=0 if ask.score else len(completion.token_ids),
        cached_tokens=output.num_cached_tokens or 0,
    )
    if ask.score:
        likelihood = mean_likelihood(prompt, output.prompt_logprobs or (), scored_tokens)
        if likelihood is None:
            return failed("provider", "vLLM told no likelihoods of the prompt", latency_s=latency_s)
        return scored(likelihood, usage=usage, latency_s=latency_s)
    if completion.finish_reason not in ("stop", "length"):
        message = f"vLLM ended it: {completion.finish_reason or 'for no reason that it told'}"
        return failed("provider", message, latency_s=latency_s)
    finish: Finish = "length" if completion.finish_reason == "length" else "stop"
    if ask.schema is not None and not _is_json(completion.text):
        why = "was cut off by max_tokens" if finish == "length" else "is none"
        return failed("malformed", f"the JSON {why}", cause="schema", latency_s=latency_s)
    spread = from_tokens(tokens_of(completion), ask.options) if ask.options else None
    return Reply(
        text=completion.text,
        distribution=None if spread is None else spread.values,
        distribution_source=None if spread is None else "logprobs",
        usage=usage,
        finish=finish,
        latency_s=latency_s,
        outside_mass=None if spread is None else spread.outside,
    )


def tokens_of(completion: Any) -> list[Token]:
    """Return the tokens of a ``CompletionOutput`` with what could have stood in their place."""
    found = []
    for number, others in zip(completion.token_ids, completion.logprobs or (), strict=False):
        top = tuple((one.decoded_token or "", one.logprob) for one in others.values())
        found.append(Token(others[number].decoded_token or "", top))
    return found


def mean_likelihood(
    prompt: Sequence[int], logprobs: Sequence[Mapping[int, Any] | None], tokens: int
) -> float | None:
    """Return the mean log-likelihood of the last `tokens` tokens of a prompt; None: not told."""
    told = list(zip(prompt, logprobs, strict=False))[-tokens:] if tokens else []
    values = [row[number].logprob for number, row in told if row and number in row]
    if not values or len(values) < tokens or len(logprobs) != len(prompt):
        return None
    return math.fsum(values) / len(values)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def visible_cards(cards: Sequence[int], listed: str | None) -> str:
    """Return ``CUDA_VISIBLE_DEVICES`` for a process that is to see some GPUs alone.

    Args:
        cards: CUDA's numbers of them in this process.
        listed: the variable in this process; None where it is not set.

    Raises:
        Mistake: this process sees fewer GPUs.
    """
    if listed is None:
        return ",".join(map(str, cards))
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if max(cards) >= len(names):
        raise Mistake(f"cuda:{max(cards)} is wanted, and CUDA_VISIBLE_DEVICES lists {len(names)}")
    return ",".join(names[card] for card in cards)
