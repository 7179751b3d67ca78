"""The pending asks of one expert that must be loaded, in the order in which they are admitted.

Order: what a lost worker gave back; then by class (deadline-critical, the last missing ask of its
turn, all others); within a class asks that share a prefix together; then the longest predicted
reply first, so that a visit does not end with one long reply in an empty batch. Ties: as they came.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import Protocol as Interface

from protocols.asks import Ask

CRITICAL, RAISED, USUAL = range(3)
"""Classes, in the order in which they are admitted."""


class Item(Interface):
    """What the planner queues: anything that carries an ask."""

    @property
    def ask(self) -> Ask:
        """The ask to dispatch; its place says which turn it belongs to."""

    @property
    def expert(self) -> str:
        """Who is asked: the expert of the ask's seat, or the fallback that has taken over."""

    @property
    def group(self) -> object:
        """What the asks of one turn of one session have in common: hashable, compared by `==`."""

    @property
    def due(self) -> float | None:
        """When its session should be over (seconds, monotonic); None: whenever."""


def prefix_of(ask: Ask) -> object:
    """Return what asks with a long common beginning have in common: the passage, or the question.

    Prompts put what many asks share first (system, passage, question), so the first part of one
    of the first two messages is the passage where there is one.
    """
    for message in ask.messages[:2]:
        if message.parts and message.parts[0].name == "passage":
            return message.parts[0].digest
    return ask.question


class Entry:
    """An ask in a queue or running: its item, its predicted length and its class."""

    __slots__ = ("began", "bunch", "item", "rank", "running", "tokens", "visit", "waits", "wave")

    def __init__(self, item: Item, tokens: float) -> None:
        self.item = item
        self.tokens = tokens
        """The predicted length of its reply."""
        self.rank = USUAL
        self.bunch: _Bunch | None = None
        """Where it is queued; None: it is not."""
        self.began = 0.0
        """When it was dispatched."""
        self.running = 0
        """How many asks of its expert ran when it was dispatched."""
        self.visit = 0
        """The number of the visit that it was dispatched in."""
        self.wave = 0
        """The number of the wave that it was dispatched in."""
        self.waits = True
        """Whether it is not dispatched."""


class _Bunch:
    """Queued asks of one class that share a prefix."""

    __slots__ = ("entries", "key", "live", "top")

    def __init__(self, key: tuple[int, object]) -> None:
        self.key = key
        self.entries: list[tuple[float, int, Entry]] = []
        """A heap; an entry that has left for another bunch stays behind and is passed over."""
        self.live = 0
        self.top = 0.0
        """The longest prediction that it ever held: its own place in the queue."""


class Ordered:
    """See the module's theory."""

    def __init__(self) -> None:
        self.tokens = 0.0
        """Predicted tokens of all that waits."""
        self._front: deque[Entry] = deque()
        self._bunches: dict[tuple[int, object], _Bunch] = {}
        self._heaps: tuple[list[tuple[float, int, _Bunch]], ...] = ([], [], [])
        self._due: list[tuple[float, int, Entry]] = []
        self._length = 0
        self._count = 0

    def __len__(self) -> int:
        return self._length

    def push(self, entry: Entry) -> None:
        """Put an ask into its place."""
        self._put(entry)
        self._length += 1
        self.tokens += entry.tokens
        due = entry.item.due
        if due is not None and entry.rank != CRITICAL:
            heapq.heappush(self._due, (due, self._count, entry))

    def push_front(self, entries: Iterable[Entry]) -> None:
        """Put back what a lost worker had not finished, before everything else, in its order."""
        given = list(entries)
        for entry in given:
            entry.waits = True
        self._front.extendleft(reversed(given))
        self._length += len(given)
        self.tokens += sum(entry.tokens for entry in given)

    def lift(self, entry: Entry, rank: int) -> None:
        """Raise an ask to a class; does nothing where it is that high."""
        if entry.rank <= rank:
            return
        entry.rank = rank
        if entry.bunch is not None:
            self._leave(entry.bunch)
            self._put(entry)

    def take(self, count: int) -> list[Entry]:
        """Take the first `count` asks, or as many as there are."""
        taken: list[Entry] = []
        while self._front and len(taken) < count:
            taken.append(self._front.popleft())
        for heap in self._heaps:
            while heap and len(taken) < count:
                longest, _, bunch = heap[0]
                if not bunch.live or bunch.top != -longest:
                    heapq.heappop(heap)
                    continue
                self._take_from(bunch, taken, count)
        for entry in taken:
            entry.waits = False
        self._length -= len(taken)
        if self._length:
            self.tokens = max(self.tokens - sum([entry.tokens for entry in taken]), 1.0)
        else:
            self.tokens = 0.0
        return taken

    def drain(self) -> list[Entry]:
        """Take everything."""
        return self.take(self._length)

    def earliest_due(self) -> float | None:
        """Return the earliest time at which an ask that is not critical yet should be over."""
        while self._due and (self._due[0][2].bunch is None or self._due[0][2].rank == CRITICAL):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def lift_due(self, before: float) -> bool:
        """Make critical what should be over `before`; True when something was."""
        lifted = False
        while (due := self.earliest_due()) is not None and due < before:
            self.lift(heapq.heappop(self._due)[2], CRITICAL)
            lifted = True
        return lifted

    @property
    def critical(self) -> bool:
        """Whether something critical waits."""
        heap = self._heaps[CRITICAL]
        while heap and not heap[0][2].live:
            heapq.heappop(heap)
        return bool(heap)

    def _put(self, entry: Entry) -> None:
        self._count += 1
        key = (entry.rank, prefix_of(entry.item.ask))
        bunch = self._bunches.get(key)
        if bunch is None:
            bunch = self._bunches[key] = _Bunch(key)
        entry.bunch = bunch
        bunch.live += 1
        heapq.heappush(bunch.entries, (-entry.tokens, self._count, entry))
        if entry.tokens > bunch.top:
            bunch.top = entry.tokens
            heapq.heappush(self._heaps[entry.rank], (-entry.tokens, self._count, bunch))

    def _take_from(self, bunch: _Bunch, taken: list[Entry], count: int) -> None:
        entries = bunch.entries
        while bunch.live and len(taken) < count:
            entry = heapq.heappop(entries)[2]
            if entry.bunch is bunch:
                entry.bunch = None
                self._leave(bunch)
                taken.append(entry)

    def _leave(self, bunch: _Bunch) -> None:
        bunch.live -= 1
        if not bunch.live:
            del self._bunches[bunch.key]


class _Turn:
    """The asks of one turn of a session that are not answered."""

    __slots__ = ("entries", "missing")

    def __init__(self) -> None:
        self.missing = 0
        self.entries: list[Entry] = []


class Turns:
    """Counts what is missing of each turn, and finds the last missing ask."""

    def __init__(self) -> None:
        self._turns: dict[object, _Turn] = {}

    def expect(self, items: Iterable[Item]) -> None:
        """Take note of asks that arrive; before any of them is queued."""
        turns = self._turns
        for item in items:
            turn = turns.get(item.group)
            if turn is None:
                turn = turns[item.group] = _Turn()
            turn.missing += 1

    def queued(self, entry: Entry) -> bool:
        """Take note of an ask that waits in a queue; True when it is the last missing one."""
        turn = self._turns[entry.item.group]
        if turn.missing > 1:
            turn.entries.append(entry)
        return turn.missing == 1

    def answered(self, item: Item) -> Entry | None:
        """Take note of an answer; return the ask that is now the last missing one, if it waits."""
        turn = self._turns.get(item.group)
        if turn is None:
            return None
        turn.missing -= 1
        if turn.missing == 0:
            del self._turns[item.group]
        if turn.missing != 1:
            return None
        last = [entry for entry in turn.entries if entry.waits]
        return last[0] if len(last) == 1 else None
