"""The journal: the narrow door through which the driver writes transcripts.

Records are queued with :meth:`Journal.append` and become durable together, in order, at the next
commit; then `on_durable` is called in the driver's event loop, once a commit, with the tokens of
all records that are durable now. An ask is dispatched only after its record is durable, and a
reply is sent into its session only after its record is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from protocols.asks import Ask
from protocols.messages import Place
from protocols.replies import Reply

SessionStatus = Literal["pending", "finished", "failed", "superseded", "stale"]
"""pending: not over yet. finished: has an outcome. failed: its protocol raised; the message is
stored, siblings live. superseded: an edited workflow no longer asks for it. stale: recorded by
another version of its protocol."""


Source = Literal["inherited", "cache"]
"""inherited: from the tape of the session that this one branches off, or of one that differs only
in the judge. cache: a recorded reply to the same ask."""


@dataclass(frozen=True, slots=True)
class AskRecord:
    """An ask that is about to be dispatched."""

    session: int
    """The session's id in the store."""
    ask: Ask
    """With its place."""
    inherited: str | None = None
    """In a branch's fed turns: the parent's ask key, where it differs."""


@dataclass(frozen=True, slots=True)
class ReplyRecord:
    """One attempt at an ask and what came of it."""

    session: int
    place: Place
    attempt: int
    """From 0."""
    accepted: bool
    """Whether this reply is the one that the session is sent."""
    reply: Reply
    list_price: float | None = 0.0
    """US dollars at the expert's list price; None where that is not known."""
    paid_price: float | None = 0.0
    """US dollars really paid: zero for cache hits and inherited replies."""
    source: Source | None = None
    """Where it comes from, where no call was made for it; None: from its expert."""
    served_by: str | None = None
    """The fallback that served it; None: the expert that was cast."""
    cache_key: bytes | None = None
    """Under which the cache is to find it; None: it is not to."""


@dataclass(frozen=True, slots=True)
class DispatchRecord:
    """An attempt that costs something and is about to be made.

    Until its reply is recorded it counts as made, at the price that is reserved.
    """

    session: int
    place: Place
    attempt: int
    usd: float | None
    """None where the price is not known."""
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class OutcomeRecord:
    """The end of a session."""

    session: int
    status: SessionStatus
    outcome: str | None
    """Canonical JSON of the outcome (of a list of them for a group protocol)."""
    message: str = ""
    """Why it failed, where its protocol raised."""


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """A driver's sign of life; the next one takes its place."""

    driver: int
    """The driver's id in the store."""
    progress: str
    """How far it is, JSON."""
    lease: str | None = None
    """What is left of its slice of the budget, JSON, where it has one."""


JournalRecord = AskRecord | DispatchRecord | ReplyRecord | OutcomeRecord | ProgressRecord
OnDurable = Callable[[Sequence[Any]], None]


class Journal(ABC):
    """Append-only, ordered, durable in groups."""

    @abstractmethod
    def start(self, on_durable: OnDurable) -> None:
        """Begin; `on_durable(tokens)` will be called in the running event loop."""

    @abstractmethod
    def append(self, records: Sequence[JournalRecord], token: Any = None) -> None:
        """Queue `records`; hand `token` (unless None) to `on_durable` once they are durable.

        Raises what the writer raised, if it did, also when there is nothing to queue.
        """

    @abstractmethod
    async def close(self) -> None:
        """Commit what is queued and stop. Raises what the writer raised, if it did."""


class MemoryJournal(Journal):
    """A journal that keeps records in a list: for tests and for runs that need no store."""

    def __init__(self, *, keep: bool = True) -> None:
        self.records: list[JournalRecord] = []
        self._keep = keep
        self._on_durable: OnDurable = lambda tokens: None

    def start(self, on_durable: OnDurable) -> None:
        """Begin."""
        self._on_durable = on_durable

    def append(self, records: Sequence[JournalRecord], token: Any = None) -> None:
        """Keep `records` and report them durable at once."""
        if self._keep:
            self.records.extend(records)
        if token is not None:
            self._on_durable((token,))

    async def close(self) -> None:
        """Nothing is queued."""
        return
