"""The store's journal: one writer thread that commits in groups.

While a commit runs, whatever is appended queues up and makes the next one. There is no timer: a
lone record is committed at once, and under load the groups grow by themselves. The event loop is
woken once a commit. When a commit fails, the journal stops: nothing after it is reported durable,
and the error comes out of :meth:`StoreJournal.append` and :meth:`StoreJournal.close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from orchestrator.journal import Journal, JournalRecord, OnDurable
from orchestrator.store.errors import StoreFailed, one_line
from orchestrator.store.transcripts import TranscriptWriter

Queued = tuple[Sequence[JournalRecord], Any]


class StoreJournal(Journal):
    """Writes one shard of a run, whose lock it holds until it is closed.

    As a context manager it gives the lock up at the end, also when it never started.
    """

    def __init__(self, connection: Connection, shown: str, release: Callable[[], None]) -> None:
        """Take over an open connection and its lock.

        Args:
            connection: for writing, used by the writer thread alone from `start` on.
            shown: the store's address, for people.
            release: closes the connection and gives the lock up.
        """
        self._connection = connection
        self._shown = shown
        self._release = release
        self._queue: SimpleQueue[Queued | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._failure: StoreFailed | None = None
        self._closed = False

    @property
    def failure(self) -> StoreFailed | None:
        """Why the journal stopped, or None. When it stops, `on_durable` is called with nothing."""
        return self._failure

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
