"""``transformers/NAME``: a model on a device of our own, through Hugging Face Transformers.

NAME is a folder (``./models/mathstral``) or an id on the hub. Text goes in through the model's
chat template (:mod:`agents.transformers_chat`). All engines of a worker that share a device share
its thread (:mod:`agents.transformers_device`), which takes turns between them; each keeps a batch
in which rows come and go (:mod:`agents.transformers_batch`), over a cache with a slot for each row
(:mod:`agents.transformers_cache`). Weights come from a cache in host memory that a worker's engines
share (:mod:`agents.weights`).

What a reply says depends on its ask alone: randomness is seeded by the ask's key and every row has
its own (:mod:`agents.transformers_sampling`). In float32 that holds but for ties closer than the
rounding of sums. In bfloat16 and float16 rounding is coarse, and a text may differ with what stands
beside it, as it does on every batching server.

A distribution over an ask's options is exact: probabilities are summed over all tokens of the
vocabulary that name an option, at temperature 1, where the reply states its answer (source
``logprobs``). Where it states none, they are read behind the reply and a line ``Answer:`` that is
put there for it (source ``probe``): the text stays without that line. An option that is no single
token of the vocabulary has none.

A score is the mean logarithm of the probabilities of the text's tokens behind the prompt; the token
that would end it is not counted.

Reply schemas are not enforced while a model generates. A reply is held to its ask's schema behind
it, as those of hosted models are: JSON that is nearly right is mended, and what then breaks the
schema is a malformed reply. Models whose layers keep another state than keys and values (Mamba,
chunked attention...) and quantised weights are not run. Tokens that were read for another ask too
count as prompt tokens all the same, and `cached_tokens` stays 0: what a reply says of itself does
not depend on its neighbours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from agents.engine import Attempted, Capabilities, Engine
from agents.local_models import check_gpus, loadable_name
from agents.roster import Expert
from agents.transformers_options import (
    TransformersOptions,
    context_of,
    need_libraries,
    read_options,
    who,
)
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.replies import failed

if TYPE_CHECKING:
    from agents.transformers_loading import Loaded

_UNLOADED = "the model was unloaded while it generated"


class TransformersEngine(Engine):
    """One model on one device."""

    capabilities = Capabilities(distributions=True, prompt_scoring=True)

    @classmethod
    def capabilities_for(cls, expert: Expert) -> Capabilities:
        """Return what the engine can do for `expert`; torch is not imported.

        Raises:
            Mistake: the expert has options that do not fit.
        """
        options = read_options(expert)
        return Capabilities(
            distributions=True,
            prompt_scoring=True,
            context_tokens=context_of(expert, options),
        )

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self._options: TransformersOptions = read_options(expert)
        self.batch_limit = self._options.batch_limit
        self._common: dict[str, Any] = {}
        self._loaded: Loaded | None = None

    def share(self, common: dict[str, Any]) -> None:
        """Share the worker's devices and weights with its other engines."""
        self._common = common

    async def load(self) -> None:
        """Bring the model onto its device.

        Raises:
            Mistake: it asks for several GPUs, something is not installed, there is no such model
                or device, its files are not whole, or it does not fit.
        """
        check_gpus(self._expert)
        need_libraries(self._expert)
        if self._loaded is not None:
            return
        loading = asyncio.ensure_future(
            asyncio.to_thread(_load, self._expert, self._options, self._common)
        )
        try:
            loaded = await asyncio.shield(loading)
        except asyncio.CancelledError:
            await _end_of(loading)  # a copy cannot be stopped halfway
            if not loading.cancelled() and loading.exception() is None:
                await asyncio.to_thread(_free, loading.result())
            raise
        loaded.thread.join(loaded.batch)
        self._loaded = loaded

    async def unload(self) -> None:
        """Free the device's memory; asks that run end as failures."""
        loaded, self._loaded = self._loaded, None
        if loaded is None:
            return
        left = loaded.thread.leave(loaded.batch, _UNLOADED, partial(_free, loaded))
        leaving = asyncio.wrap_future(left)
        del loaded
        try:
            await asyncio.shield(leaving)
        except asyncio.CancelledError:
            await _end_of(leaving)  # the memory is freed all the same
            raise

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        """Yield replies as they are complete."""
        loaded = self._loaded
        if loaded is None:
            raise Mistake(f"{who(self._expert)}: is not loaded; load it first")
        from agents import transformers_jobs  # the load has imported torch

        mail = transformers_jobs.Mail()
        batch, thread, terms = loaded.batch, loaded.thread, loaded.terms
        jobs = await asyncio.to_thread(
            lambda: [
                transformers_jobs.job_of(index, ask, mail, terms) for index, ask in enumerate(asks)
            ]
        )
        del loaded
        if self._loaded is None or self._loaded.batch is not batch:
            for job in jobs:
                yield job.index, failed("provider", _UNLOADED)
            return
        thread.post(lambda: batch.add(jobs))
        missing = len(jobs)
        try:
            while missing:
                for job in await mail.take():
                    missing -= 1
                    assert job.result is not None
                    yield job.index, job.result
        finally:
            if missing:
                thread.post(lambda: batch.drop(jobs))


def _load(expert: Expert, options: TransformersOptions, common: dict[str, Any]) -> Loaded:
    """Load a model; call it in a thread, as torch takes seconds to import."""
    from agents import transformers_loading

    return transformers_loading.load(expert, options, loadable_name(expert), common)


def _free(loaded: Loaded) -> None:
    from agents import transformers_loading

    transformers_loading.free(loaded)


async def _end_of(task: asyncio.Future[Any]) -> None:
    """Wait for a task, however often this is cancelled."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
