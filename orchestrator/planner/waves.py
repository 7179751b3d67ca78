"""Wave mode: the asks of a later turn wait until the queues of the turn before are empty."""

from __future__ import annotations

from orchestrator.planner.queues import Entry


def turn_of(entry: Entry) -> int:
    """Return the turn that an ask belongs to."""
    place = entry.item.ask.place
    return 0 if place is None else place.turn


class Waves:
    """Holds asks of other turns than the current one.

    Waves follow each other in the order of turns and then begin anew: new sessions wait for that.
    An ask of an earlier turn that comes again (after a failure) does not wait.
    """

    def __init__(self) -> None:
        self.turn = -1
        """The current turn; -1 before the first."""
        self.number = 0
        self.settles = 0.0
        """Until when the turns that hang on the last reply of the wave before may still come."""
        self._queued = 0
        self._running = 0
        self._behind = 0
        self._held: dict[int, list[Entry]] = {}

    def hold(self, entry: Entry) -> bool:
        """Take note of an ask that came; True when it must wait."""
        turn = turn_of(entry)
        if turn > self.turn or (turn == 0 and self.turn > 0):
            self._held.setdefault(turn, []).append(entry)
            return True
        self._queued += 1
        return False

    def left(self, count: int) -> None:
        """Take note of asks that left the queues."""
        self._queued -= count

    def returned(self, count: int) -> None:
        """Take note of asks that came back from a lost worker."""
        self._queued += count

    def started(self, entry: Entry) -> None:
        """Take note of a dispatched ask."""
        entry.wave = self.number
        self._running += 1

    def ended(self, entry: Entry, settles: float = 0.0) -> None:
        """Take note of an ask that runs no more, and of when all that hangs on it has come."""
        self._running -= 1
        if entry.wave != self.number:
            self._behind -= 1
            self.settles = settles

    @property
    def trailing(self) -> bool:
        """Whether asks of earlier waves run, whose sessions have yet to ask in this wave."""
        return self._behind > 0

    def release(self) -> list[Entry]:
        """Begin the next wave where the queues are empty; return what it lets go."""
        if self._queued or not self._held:
            return []
        later = [turn for turn in self._held if turn > self.turn]
        self.turn = min(later or self._held)
        self.number += 1
        self._behind = self._running
        entries = self._held.pop(self.turn)
        self._queued += len(entries)
        return entries

    def withdraw(self, expert: str) -> list[Entry]:
        """Take out what an expert's asks hold here."""
        taken: list[Entry] = []
        for turn in sorted(self._held):
            held = self._held[turn]
            taken += [entry for entry in held if entry.item.expert == expert]
            self._held[turn] = [e for e in held if e.item.expert != expert]
            if not self._held[turn]:
                del self._held[turn]
        return taken
