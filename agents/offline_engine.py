"""What offline experts have in common: they answer at once, from the prompt alone."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from agents.counting import estimated_tokens, prompt_tokens
from agents.engine import Attempted, Engine
from agents.roster import Expert
from protocols.asks import Ask
from protocols.replies import Reply, Usage


class PromptEngine(Engine):
    """Answers at once, in this process, from the prompt alone."""

    needs: ClassVar[str] = "nothing"
    """What a user has to give before it can speak."""

    def __init__(self, expert: Expert) -> None:
        self.expert = expert

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        """Yield the replies in order, and let others run in between."""
        for index, ask in enumerate(asks):
            yield index, self.reply(ask)
            await asyncio.sleep(0)

    @abstractmethod
    def reply(self, ask: Ask) -> Reply:
        """Return the reply to one ask."""


def spoken(ask: Ask, text: str, *, distribution: tuple[float, ...] | None = None) -> Reply:
    """Return `text` as the reply to `ask`, with estimated usage."""
    return Reply(
        text,
        distribution=distribution,
        distribution_source=None if distribution is None else "exact",
        usage=Usage(prompt_tokens(ask.messages), estimated_tokens(len(text))),
    )
