"""The error tree of moot.

::

    MootError
    ├── Mistake                 the user's: one line that says what to do, no traceback, exit code 2
    └── ProtocolError           a protocol, or its recorded tape, broke the contract
        ├── ReplayDiverged      a fresh session asked something else than the recorded one
        ├── ForkImpossible      a branch cannot be fed from its parent's tape
        └── ContractBroken      a generator did what the rules in ``contract.py`` forbid

What an expert does wrong (a refusal, a timeout, nonsense) is never an exception: it is a
:class:`protocols.replies.Failure` inside a reply.
"""

from __future__ import annotations


class MootError(Exception):
    """Root of every error that moot raises on purpose."""


class Mistake(MootError):
    """The user asked for something that cannot be; the message says what to do about it."""

    exit_code = 2


class ProtocolError(MootError):
    """A protocol, or its recorded tape, broke the contract."""


class ContractBroken(ProtocolError):
    """A protocol's generator did what the rules in ``protocols/contract.py`` forbid."""


class ForkImpossible(ProtocolError):
    """The branch asks another number of slots in a turn that it was to inherit."""


class ReplayDiverged(ProtocolError):
    """A fresh session and its recorded tape differ.

    Attributes:
        turn: the turn (from 0) at which they differ.
        slot: the slot (from 0) within it.
        what: what differs, in words.
        expected: the recorded value, usually an ask key.
        found: the value that the fresh session gave.
    """

    def __init__(self, *, turn: int, slot: int, what: str, expected: str, found: str) -> None:
        super().__init__(
            f"turn {turn}, slot {slot}: {what} (recorded {expected[:12]!r}, now {found[:12]!r})"
        )
        self.turn = turn
        self.slot = slot
        self.what = what
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword-only constructor usable by pickle (errors cross process borders)."""
        return (_rebuild_diverged, (self.turn, self.slot, self.what, self.expected, self.found))


def _rebuild_diverged(turn: int, slot: int, what: str, expected: str, found: str) -> ReplayDiverged:
    return ReplayDiverged(turn=turn, slot=slot, what=what, expected=expected, found=found)
