"""Process-wide settings that make the driver fast and change no result."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_garbage_collector() -> Iterator[None]:
    """Let the garbage collector run rarely while thousands of sessions are live.

    With its defaults it walks all live sessions again and again, which costs more than stepping
    them. What exists at the start is frozen (never walked); afterwards all is as before.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


TURNS = 8
"""Turns of the event loop in which a dispatch gets on its way (its task, its stream, its calls),
or a result finds its way back."""


AT_ONCE = 32
"""Sessions that a driver steps, and that it opens, before it looks for results again: a few
milliseconds' worth, as places whose results wait stay empty."""
TOGETHER = 1_000
"""Records that are enough to be handed to the journal while there is more to do at once: in small
groups they cost more each. Fewer are where fewer sessions are live, so that places fill soon."""


async def let_others_run() -> None:
    """Let the other tasks of the event loop do what is due."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
