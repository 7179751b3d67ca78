"""Delivery: what both fleets owe the driver for one dispatched batch.

Every index of a batch arrives exactly once in a ``Results``, whatever its worker does: an index
that comes twice is dropped, and what is open when the worker's stream ends becomes a provider
failure.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.engine import Attempted
from orchestrator.fleets.fleet import Dispatch, Inbox, Results
from protocols.replies import failed


class Delivery:
    """Puts the results of one batch into the inbox."""

    __slots__ = ("_batch", "_inbox", "_open")

    def __init__(self, dispatch: Dispatch, inbox: Inbox) -> None:
        self._batch = dispatch.batch
        self._inbox = inbox
        self._open = set(range(len(dispatch.asks)))

    def put(self, items: Sequence[tuple[int, Attempted]]) -> None:
        """Hand on the items whose index is still open."""
        fresh = []
        for item in items:
            if item[0] in self._open:
                self._open.discard(item[0])
                fresh.append(item)
        if fresh:
            self._inbox.put(Results(self._batch, tuple(fresh)))

    def close(self, message: str) -> None:
        """Make every index that is still open a provider failure; does nothing where none is."""
        self.put([(index, failed("provider", message)) for index in sorted(self._open)])


def in_one_line(error: BaseException) -> str:
    """Return an exception as one line for people: its message, else its type."""
    return (" ".join(str(error).split()) or type(error).__name__)[:500]
