"""Transcripts: what has been said so far, as each of those present reads it.

Rule 9 of the contract in one place. A party reads its own speech of a closed round before its
opponent's (or never its opponent's); a judge reads side A before side B; one that reads in the
exchanged order reads B's speeches where A's stood. Nothing of a round that is still open is in a
transcript: it is added when the round is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from protocols.asks import Seat
from protocols.messages import Part
from protocols.prompts import prompt
from protocols.speeches import Speech

SIDES = "AB"
_VERIFIED = attrgetter("verified")


@dataclass(frozen=True, slots=True)
class Party:
    """One that argues for an option."""

    side: int
    """The place of its option in the question's own order: 0 is A, 1 is B."""
    seat: Seat
    """Who argues."""
    opening: tuple[Part, ...]
    """What it reads first: passage, question, its answer and the other one."""


class Words(NamedTuple):
    """Where the words of a kind of conversation are kept."""

    template: str
    """The template file."""
    role: str
    """The role of those who argue: its sections ``ROLE_system``, ``ROLE_a`` and ``ROLE_b``."""


class Transcript:
    """The closed rounds of one conversation, by reader."""

    __slots__ = (
        "_hear",
        "_keeps_unlettered",
        "_parties",
        "_words",
        "heard",
        "rounds",
        "unlettered",
        "views",
    )

    def __init__(
        self,
        words: Words,
        parties: Sequence[Party],
        *,
        hear: bool = True,
        unlettered: bool = False,
    ) -> None:
        """Start with nothing said.

        Args:
            words: where the words are kept.
            parties: one or two that argue.
            hear: whether they hear each other.
            unlettered: whether `unlettered` is kept, for somebody who asks a single party.
        """
        self._keeps_unlettered = unlettered
        self._words = words
        self._parties = tuple(parties)
        self._hear = hear
        self.heard: list[tuple[Part, ...]] = [party.opening for party in parties]
        """What each party has read, in the order of the parties."""
        self.views: list[tuple[Part, ...]] = [(), ()]
        """What a judge has heard in the question's own order, and in the exchanged one."""
        self.unlettered: tuple[Part, ...] = ()
        """What a single party has said, without a word on which option is whose."""
        self.rounds: list[tuple[Speech | None, ...]] = []
        """The speeches of each closed round, in the order of the parties."""

    @property
    def two_sided(self) -> bool:
        """Whether there are two parties."""
        return len(self._parties) == 2

    def close(self, number: int, speeches: Sequence[Speech | None]) -> None:
        """Close round `number`: its speeches, in the order of the parties, become known."""
        self.rounds.append(tuple(speeches))
        yours, theirs, lettered = _headings(self._words, number)
        first = self.said(speeches[0])
        self.heard[0] += (yours, first)
        if len(speeches) == 2:
            second = self.said(speeches[1])
            self.heard[1] += (yours, second)
            if self._hear:
                self.heard[0] += (theirs, second)
                self.heard[1] += (theirs, first)
            self.views[0] += (lettered[0], first, lettered[1], second)
            self.views[1] += (lettered[0], second, lettered[1], first)
        else:
            side = self._parties[0].side
            self.views[0] += (lettered[side], first)
            self.views[1] += (lettered[1 - side], first)
            if self._keeps_unlettered:
                heading = prompt(self._words.template, f"{self._words.role}_said", round=number)
                self.unlettered += (heading, first)

    def tell(self, parties: Sequence[tuple[Part, ...]], judge: tuple[Part, ...]) -> None:
        """Add what is not a speech: to what each party reads, and to what the judge reads."""
        for index, parts in enumerate(parties):
            self.heard[index] += parts
        self.views = [view + judge for view in self.views]
        if self._keeps_unlettered:
            self.unlettered += judge

    def heading(self, side: int, number: int) -> Part:
        """Return the part that says, to a judge, who spoke in a round."""
        return _headings(self._words, number)[2][side]

    def overheard(self, number: int, speech: Speech | None) -> tuple[Part, ...]:
        """Return an opponent's speech as a party reads it."""
        return _headings(self._words, number)[1], self.said(speech)

    def said(self, speech: Speech | None) -> Part:
        """Return a speech as others read it; one that was not given is said to be missing."""
        return prompt(self._words.template, "silence") if speech is None else speech.part

    def speeches_detail(self) -> dict[str, list[dict[str, int | bool] | None]]:
        """Tell, by side and round, how the quotations fared and what was cut."""
        return {
            SIDES[party.side]: [_speech_detail(speeches[index]) for speeches in self.rounds]
            for index, party in enumerate(self._parties)
        }


@lru_cache(maxsize=1024)
def _headings(words: Words, number: int) -> tuple[Part, Part, tuple[Part, Part]]:
    """Return what stands before the speeches of a round: one's own, the opponent's, A's and B's."""
    sections = ("yours", "theirs", f"{words.role}_a", f"{words.role}_b")
    own, other, *lettered = (prompt(words.template, section, round=number) for section in sections)
    return own, other, (lettered[0], lettered[1])


def _speech_detail(speech: Speech | None) -> dict[str, int | bool] | None:
    if speech is None:
        return None
    verified = sum(map(_VERIFIED, speech.quotes))
    return {
        "verified": verified,
        "unverified": len(speech.quotes) - verified,
        "cut": speech.cut,
    }
