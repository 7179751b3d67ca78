"""Models on our own GPUs through vLLM, in this process's care. No other file imports vllm.

**This engine has not been run**: it is written against vLLM's sources, and passes the contract
suite nowhere yet. What is tested is its translation, which is pure: settings from asks, replies
from outputs. Where vllm is importable, ``tests/agents/test_vllm_engine.py`` runs the whole suite.

vLLM batches continuously by itself, in a process of its own; here each ask is one request to it.
`unload` puts a model to sleep (level 1): its weights go to host memory and its GPU memory is
freed; `load` wakes it, which takes a copy over the bus instead of a start of minutes. Sleepers are
kept while they fit ``host_cache_gb`` together, the one that slept longest is ended first.

A reply is drawn with a seed that comes from its ask's key, so an attempt that is made again draws
the same wherever vLLM's arithmetic does not depend on the batch. Distributions are read from the
log-probabilities of the likeliest tokens (before temperature); an option that is not among them
counts 0.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from agents.engine import Attempted, Capabilities, Engine
from agents.local_models import check_model, loadable_name, model_folder, weights_gb
from agents.machine import visible_gpu_gb
from agents.roster import Expert
from agents.vllm_request import (
    engine_arguments,
    reply_of,
    sampling_arguments,
    visible_cards,
    vllm_options,
)
from protocols.asks import Ask
from protocols.replies import failed

_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_STARTING = threading.Lock()


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
        """Wake the model, or start it where it does not sleep: that takes minutes.

        Raises:
            Mistake: vllm is not installed, or there is no such model.
            Exception: whatever vLLM raised.
        """
        if self._llm is not None and self._llm.errored:
            await self._end()
        if self._llm is not None:
            self._sleepers.get_up(self)
            if self._asleep:
                await self._llm.wake_up()
            self._asleep = False
            return
        await asyncio.to_thread(self.check)
        starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            self._llm = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_shut_down)
            raise

    async def unload(self) -> None:
        """Let the model sleep, if the host's memory allows; requests that run are aborted."""
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
        """Yield replies as they are finished; vLLM batches them. Loads first where needed."""
        if self._llm is None or self._asleep:
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
        start = time.perf_counter()
        try:
            return index, await self._attempt(ask, start)
        except Exception as error:  # noqa: BLE001 - failure is data
            message = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
            dead = self._llm is None or self._llm.errored
            cause = "unavailable" if dead else "bad_request"
            return index, failed("provider", message, cause=cause)

    async def _attempt(self, ask: Ask, start: float) -> Attempted:
        llm = self._llm
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

    def _start(self) -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from agents.transformers_chat import Chat

        name, template = loadable_name(self.expert), self.options.chat_template
        self._chat = Chat(
            Path(name),
            None if template is None else Path(template).expanduser().read_text(encoding="utf-8"),
            self.options.chat_options,
            f"expert {(self.expert.label or self.expert.model)!r}",
        )
        with _seeing(() if self.options.device == "cpu" else self._cards):
            return AsyncLLM.from_engine_args(
                AsyncEngineArgs(**engine_arguments(self.expert, visible_gpu_gb()))
            )

    async def _end(self) -> None:
        """End the model's process."""
        llm, self._llm, self._asleep = self._llm, None, False
        self._sleepers.get_up(self)
        if llm is not None:
            await asyncio.to_thread(llm.shutdown)


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


def _shut_down(started: asyncio.Future[Any]) -> None:
    """End what was started for a load that nobody waits for any more."""
    if not started.cancelled() and started.exception() is None:
        started.result().shutdown()
