"""The driver's outbox: what is to be recorded, and what waits until that is durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.journal import Journal, JournalRecord


class Outbox:
    """Collects records for a journal and gives back what waited for them.

    Args:
        journal: writes the records.
        wake: is called when something has become durable.
    """

    def __init__(self, journal: Journal, wake: Callable[[], None]) -> None:
        self.records: list[JournalRecord] = []
        """Not handed over yet."""
        self.tokens: list[Any] = []
        """What waits for them, and goes on once they are durable."""
        self.durable: deque[Any] = deque()
        """What waited, and may go on."""
        self._journal = journal
        self._wake = wake
        self._under_way = 0

    def start(self) -> None:
        """Let the journal write; see :meth:`Journal.start`."""
        self._journal.start(self._on_durable)

    @property
    def waiting(self) -> bool:
        """Whether something waits for the journal, or may go on."""
        return bool(self._under_way or self.durable or self.tokens)

    def flush(self) -> None:
        """Hand everything to the journal.

        Raises:
            Exception: whatever kept the journal from writing before.
        """
        if not self.records and not self.tokens:
            self._journal.append(())  # raises where writing has failed, so that nobody waits
            return
        records, self.records = self.records, []
        tokens, self.tokens = self.tokens, []
        self._under_way += 1
        self._journal.append(records, tokens)

    async def close(self) -> None:
        """Let the journal write what it was handed, and end; see :meth:`Journal.close`."""
        await self._journal.close()

    def _on_durable(self, flushed: Sequence[Sequence[Any]]) -> None:
        self._under_way -= len(flushed)
        for tokens in flushed:
            self.durable.extend(tokens)
        self._wake()
