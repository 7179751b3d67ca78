"""What generates: the interface of every engine.

An engine call is one attempt. Engines do not retry, do not sleep on a rate limit and do not count
money: they return a reply, a reply that holds a classified failure, or :class:`Throttled`. Every
engine passes the contract suite in ``tests/agents/engine_contract.py``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.asks import Ask
from protocols.replies import RateHint, Reply, Usage

if TYPE_CHECKING:
    from agents.roster import Expert


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond text."""

    draws: bool = True
    """Whether asking the same thing again gives another draw. Recorded experts hold one answer
    each and cannot."""
    distributions: bool = False
    """Whether replies may carry a distribution over the ask's options; each says where from."""
    schemas: bool = False
    """Whether replies can be held to a JSON schema."""
    images: bool = False
    """Whether image parts are read."""
    prompt_scoring: bool = False
    """Whether the likelihood of a given text can be asked (``Ask.score``). The reply is made by
    ``protocols.replies.scored``."""
    context_tokens: int | None = None
    """The longest prompt with its reply, in tokens; None where unknown or unlimited."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """The attempt was turned away by a limit. It is never accepted and a session never sees it."""

    wait_s: float
    """Seconds from now after which another attempt makes sense."""
    message: str = ""
    """What the provider said."""
    usage: Usage = Usage()
    """Tokens that are paid for all the same: an attempt may be several calls, of which the first
    were answered."""
    rate_hint: RateHint | None = None
    """What the provider said about its limits."""


Attempted = Reply | Throttled


class Engine(ABC):
    """Generates replies for the asks of one expert."""

    capabilities: Capabilities = Capabilities()
    batch_limit: int = 256
    """The most asks that run at once."""

    def share(self, common: dict[str, Any]) -> None:
        """Find, or put into `common`, what all engines of one worker share: its GPU, a server.

        ``cards``, where it is there and not empty, are the GPUs that belong to this worker alone,
        by CUDA's numbers; others belong to its neighbours in this process.

        Called once, before the first load; an engine that is used alone is never called.
        """
        return

    @classmethod
    def capabilities_for(cls, expert: Expert) -> Capabilities:
        """Return what the engine can do for `expert`; the same for all, where it does not say."""
        return cls.capabilities

    async def load(self) -> None:
        """Make the engine ready; called once before the first ask. Hosted engines do nothing.

        Where it raises or is cancelled it has freed what it took.
        """
        return

    async def unload(self) -> None:
        """Free what `load` took; `load` may be called again."""
        return

    @abstractmethod
    def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        """Yield (index into `asks`, result) as each is finished, each index exactly once.

        May be called again while an earlier stream runs, up to `batch_limit` asks in all. What an
        expert does wrong is a reply with a failure, never an exception.
        """

    async def generate(self, asks: Sequence[Ask]) -> list[Attempted]:
        """Return the results of :meth:`stream`, in the order of `asks`."""
        results: dict[int, Attempted] = {}
        async for index, result in self.stream(asks):
            results[index] = result
        return [results[index] for index in range(len(asks))]


async def as_finished(
    asks: Sequence[Ask], attempt: Callable[[Ask], Awaitable[Attempted]]
) -> AsyncGenerator[tuple[int, Attempted], None]:
    """Yield (index into `asks`, what `attempt` gave) as each is finished; one task an ask.

    Closing the generator (``contextlib.aclosing``), or cancelling who reads it, cancels the
    attempts that still run and waits for their end. An exception of an attempt does so too.
    """

    async def indexed(index: int, ask: Ask) -> tuple[int, Attempted]:
        return index, await attempt(ask)

    tasks = [asyncio.create_task(indexed(index, ask)) for index, ask in enumerate(asks)]
    try:
        for finished in asyncio.as_completed(tasks):
            yield await finished
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
