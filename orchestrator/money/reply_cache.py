"""The driver's side of the response cache: asks are looked up in batches before they are made.

A look-up runs in a thread while the event loop goes on; what arrives meanwhile makes the next one.
Only hosted experts are looked up: recorded, offline and scripted ones cost nothing and answer at
once. What an expert refused, what failed and what another expert answered in its place is never
found again. An ask whose first attempt failed is not looked up any more.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.engines import does_network_io
from agents.roster import Expert
from orchestrator.journal import ReplyRecord
from orchestrator.live import Pending
from protocols.messages import Place
from protocols.replies import Reply

if TYPE_CHECKING:
    from orchestrator.store import Hit

LookUp = Callable[[Sequence[bytes]], "Mapping[bytes, Hit]"]
AT_ONCE = 2_000
"""Asks in one look-up."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """What may be taken from the cache."""

    max_age_s: float | None = None
    """Nothing older; None is no limit."""


class CacheKeys:
    """Says under which key the reply to an ask is kept, where it is."""

    def __init__(self, experts: Iterable[Expert]) -> None:
        self._addresses = {one.label: one.base_url or "" for one in experts if does_network_io(one)}

    def __bool__(self) -> bool:
        return bool(self._addresses)

    def of(self, pending: Pending) -> bytes | None:
        """Return the key: SHA-256 over ask key, server's address and repeat; None: not cached."""
        address = self._addresses.get(pending.ask.seat.expert)
        if address is None:
            return None
        text = f"{pending.ask.key}\n{address}\n{pending.session.job.repeat}"
        return hashlib.sha256(text.encode()).digest()

    def for_reply(self, pending: Pending, reply: Reply) -> bytes | None:
        """Return the key under which a reply is to be found again; None where it is not."""
        if not self._addresses or pending.fell_back:
            return None
        if reply.failed or reply.finish == "content_filter":
            return None
        return self.of(pending)


def cached_record(pending: Pending, place: Place, hit: Hit) -> ReplyRecord:
    """Return the record of a reply that was found: paid nothing, at the list price of then."""
    session = pending.session.job.session
    return ReplyRecord(
        session, place, pending.attempt, True, hit.reply, hit.list_price, 0.0, "cache"
    )


class ReplyCache:
    """See the module's theory. Used from one event loop."""

    def __init__(self, keys: CacheKeys, look_up: LookUp, wake: Callable[[], None]) -> None:
        self._keys = keys
        self._look_up = look_up
        self._wake = wake
        self._waiting: list[tuple[bytes, Pending]] = []
        self._found: list[tuple[Pending, Hit | None]] = []
        self._task: asyncio.Task[None] | None = None

    def hold(self, items: Sequence[Pending]) -> list[Pending]:
        """Begin to look asks up; return those that are not."""
        others: list[Pending] = []
        for pending in items:
            key = self._keys.of(pending) if pending.attempt == 0 else None
            if key is None:
                others.append(pending)
            else:
                self._waiting.append((key, pending))
        if self._waiting and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
        return others

    def take(self) -> list[tuple[Pending, Hit | None]]:
        """Return what was looked up since the last call, with what was found.

        Raises:
            StoreFailed: looking up failed.
        """
        found, self._found = self._found, []
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            task.result()
        return found

    async def close(self) -> None:
        """Wait for what is being looked up."""
        self._waiting.clear()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                hits = await asyncio.to_thread(self._look_up, [key for key, _ in batch])
                self._found.extend((pending, hits.get(key)) for key, pending in batch)
                self._wake()
        finally:
            self._wake()
