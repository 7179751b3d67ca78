"""The store's journal: one writer thread that commits in groups.

While a commit runs, whatever is appended queues up and makes the next one. There is no timer: a
lone record is committed at once, and under load the groups grow by themselves. The event loop is
woken once a commit. When a commit fails, the journal stops: nothing after it is reported durable,
and the error comes out of :meth:`StoreJournal.append` and :meth:`StoreJournal.close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from orchestrator import sharding
from orchestrator.journal import Journal, JournalRecord, OnDurable
from orchestrator.store.errors import StoreFailed, one_line, told
from orchestrator.store.locks import ShardLocks
from orchestrator.store.transcripts import TranscriptWriter

ALL_SHARDS = frozenset(sharding.ALL_SHARDS)
Queued = tuple[Sequence[JournalRecord], Any]


class _Claim:
    """Shards that are to be locked on the writing connection, by the thread that has it."""

    def __init__(self, shards: Iterable[int]) -> None:
        self.shards = tuple(shards)
        self.taken: frozenset[int] = frozenset()
        self.done = Event()


class StoreJournal(Journal):
    """Writes shards of a run, whose locks it holds until it is closed.

    As a context manager it gives the lock up at the end, also when it never started.
    """

    def __init__(
        self,
        connection: Connection,
        shown: str,
        locks: ShardLocks,
        release: Callable[[], None],
    ) -> None:
        """Take over an open connection and its locks.

        Args:
            connection: for writing, used by the writer thread alone from `start` on.
            shown: the store's address, for people.
            locks: of the shards that are written.
            release: closes the connection and gives the locks up.
        """
        self._connection = connection
        self._shown = shown
        self._locks = locks
        self._release = release
        self._claims: SimpleQueue[_Claim] = SimpleQueue()
        self._queue: SimpleQueue[Queued | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._failure: StoreFailed | None = None
        self._closed = False

    @property
    def failure(self) -> StoreFailed | None:
        """Why the journal stopped, or None. When it stops, `on_durable` is called with nothing."""
        return self._failure

    @property
    def shards(self) -> frozenset[int]:
        """The shards that it holds."""
        return frozenset(self._locks.held) & ALL_SHARDS

    @property
    def closed(self) -> bool:
        """Whether it takes no more records."""
        return self._closed

    def claim(self, shards: Iterable[int], *, patience_s: float = 0.0) -> frozenset[int]:
        """Lock those of `shards` that nobody holds, and return them; waits for a running commit.

        Args:
            shards: what is wanted.
            patience_s: how long to try for what is held; before `start` only.
        """
        if self._thread is None:
            with told(self._shown, "locked"):
                return self._locks.claim(shards, patience_s=patience_s)
        claim = _Claim(shards)
        self._claims.put(claim)
        self._queue.put(((), None))
        while not claim.done.wait(0.05):
            if not self._thread.is_alive():  # it failed before it saw the claim
                break
        return claim.taken

    def start(self, on_durable: OnDurable) -> None:
        """Start the writer thread; `on_durable(tokens)` is called in the running event loop."""
        if self._thread is not None or self._closed:
            raise RuntimeError("a journal starts once")
        loop = asyncio.get_running_loop()
        self._thread = Thread(
            target=self._work, args=(loop, on_durable), name="moot-journal", daemon=True
        )
        self._thread.start()

    def append(self, records: Sequence[JournalRecord], token: Any = None) -> None:
        """Queue `records`; with none and no token this only raises what has gone wrong.

        Raises:
            StoreFailed: an earlier commit failed.
        """
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise RuntimeError("the journal is closed")
        if records or token is not None:
            self._queue.put((records, token))

    async def close(self) -> None:
        """Commit what is queued, stop, and give the lock up; may be called twice.

        Raises:
            StoreFailed: a commit failed.
        """
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            if self._thread is None:
                self._release()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        if self._thread is None:
            self._release()
        else:
            self._queue.put(None)
            self._thread.join()

    def _work(self, loop: asyncio.AbstractEventLoop, on_durable: OnDurable) -> None:
        """The writer thread."""
        writer = TranscriptWriter(self._connection)
        try:
            more = True
            while more:
                records, tokens, more = self._take()
                self._lock_claimed()
                if records:
                    writer.write(records)
                if tokens:
                    _call(loop, on_durable, tokens)
        except Exception as error:  # noqa: BLE001 - whatever it is, the loop must hear of it
            self._failure = self._explain(error)
            _call(loop, on_durable, ())
        finally:
            self._release()

    def _take(self) -> tuple[list[JournalRecord], list[Any], bool]:
        """Wait for something, take all that is there, and say whether there may be more."""
        records: list[JournalRecord] = []
        tokens: list[Any] = []
        item = self._queue.get()
        for _ in range(self._queue.qsize()):
            if item is None:
                break
            records.extend(item[0])
            tokens.append(item[1])
            item = self._queue.get()
        if item is not None:
            records.extend(item[0])
            tokens.append(item[1])
        return records, [token for token in tokens if token is not None], item is not None

    def _lock_claimed(self) -> None:
        while True:
            try:
                claim = self._claims.get_nowait()
            except Empty:
                return
            try:
                claim.taken = self._locks.claim(claim.shards)
            finally:
                claim.done.set()

    def _explain(self, error: Exception) -> StoreFailed:
        what = one_line(error) if isinstance(error, DBAPIError) else repr(error)
        failure = StoreFailed(
            f"the store {self._shown} could not be written: {what}; put that right and repeat "
            "the command: what was recorded before is kept"
        )
        failure.__cause__ = error
        return failure


def _call(loop: asyncio.AbstractEventLoop, on_durable: OnDurable, tokens: Sequence[Any]) -> None:
    """Call in the loop; a loop that is closed has nobody left to tell."""
    try:
        loop.call_soon_threadsafe(on_durable, tokens)
    except RuntimeError:
        return
