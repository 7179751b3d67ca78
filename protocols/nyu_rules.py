"""The rules of an NYU debate or consultancy, as data: structure, limits and scores.

A structure is a fixed opening, a part that is repeated until somebody ends it, and an optional
closing that is played after that. The kinds of rounds:

* ``judge``: the judge states its belief, comments, and ends or continues. The belief that comes
  before any speech is the prior; it cannot end anything.
* ``simultaneous``: all speak, hidden from each other; ``sequential``: A, then B who hears A.
* ``negotiate_end``: all vote; the session ends when all want it to.

:func:`check_rounds` folds rounds that were played against rules and says where they depart.

Source: Michael et al. 2311.08702, section 3 and its public code (rules and scoring functions).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocols.beliefs import LEAST, MOST

RoundKind = Literal["judge", "simultaneous", "sequential", "negotiate_end"]
Side = Literal[0, 1]
SPEECHES: tuple[RoundKind, ...] = ("simultaneous", "sequential")
CONSULTANT_FACTOR = 2
"""How much more a consultant may say than a debater."""

_RECORDED: dict[str, RoundKind] = {
    "JudgeFeedbackRound": "judge",
    "SimultaneousSpeechesRound": "simultaneous",
    "SequentialSpeechesRound": "sequential",
    "NegotiateEndRound": "negotiate_end",
}


class NyuRules(BaseModel):
    """The structure of a session, its limits and its scoring function."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opening: tuple[RoundKind, ...] = Field(min_length=1)
    """The rounds that are always played, in this order."""
    repeat: tuple[RoundKind, ...] = ()
    """The rounds that are repeated until the session is ended."""
    closing: tuple[RoundKind, ...] = ()
    """The rounds that are played once it is ended."""
    max_characters: int | None = Field(750, ge=1)
    """The longest speech of a debater; a consultant has twice as much."""
    max_quoted: int | None = Field(250, ge=1)
    """How much of it may be quoted; a consultant has twice as much."""
    cost: float = Field(0.05, ge=0.0)
    """What the judge pays for each time it continues, in bits."""
    speakers: tuple[tuple[Side, ...], ...] = ()
    """Of rules as played: the sides that spoke in each round of the opening, in their order. Such
    rules are a record: the opening is all there is, and nothing ends it early."""
    off_rules: str = ""
    """Of rules as played: where the session left those that it had declared."""

    @model_validator(mode="after")
    def _speaks(self) -> Self:
        if not set(SPEECHES) & {*self.opening, *self.repeat}:
            raise ValueError("the rules hold no round of speeches")
        if self.speakers and (self.repeat or self.closing):
            raise ValueError("rules as played have nothing but an opening")
        if self.speakers and len(self.speakers) != len(self.opening):
            raise ValueError("rules as played name the speakers of every round")
        return self

    @property
    def as_recorded(self) -> bool:
        """Whether these are the rules of a record, not of a session that may take any course."""
        return bool(self.speakers)

    @classmethod
    def from_recorded(cls, structure: Mapping[str, Any], **limits: Any) -> Self:
        """Return the rules that a recorded session declares: lists of round names.

        Args:
            structure: ``opening``, ``repeat`` and, if any, ``closing``, in the names of the source
                (``JudgeFeedbackRound``...).
            limits: other fields.
        """
        named = {part: [_RECORDED[name] for name in names] for part, names in structure.items()}
        return cls.model_validate({**named, **limits})

    @classmethod
    def as_played(cls, rounds: Sequence[PlayedRound], **limits: Any) -> Self:
        """Return the rules by which exactly these rounds are played, for sessions off their own.

        Args:
            rounds: in which no side speaks twice.
            limits: other fields; ``off_rules`` says where the session's own rules were left.
        """
        kinds, speakers = [one.kind for one in rounds], [one.sides for one in rounds]
        return cls.model_validate({"opening": kinds, "speakers": speakers, **limits})

    def kind_at(self, index: int) -> RoundKind | None:
        """Return the kind of round number `index`, from 0, while nobody has ended the session."""
        if index < len(self.opening):
            return self.opening[index]
        if not self.repeat:
            return None
        return self.repeat[(index - len(self.opening)) % len(self.repeat)]

    def schedule(self, max_rounds: int) -> tuple[RoundKind, ...]:
        """Return the rounds, without the closing, with `max_rounds` rounds of speeches at most.

        The opening is never cut. The part that is repeated is played as a whole or not at all.
        """
        rounds = self.opening
        spoken = sum(kind in SPEECHES for kind in rounds)
        more = sum(kind in SPEECHES for kind in self.repeat)
        while more and spoken + more <= max_rounds:
            rounds, spoken = (*rounds, *self.repeat), spoken + more
        return rounds


DEBATE_RULES = NyuRules(opening=("judge", "simultaneous", "judge"), repeat=("sequential", "judge"))
"""J prior, {A,B}, J, (A>B, J)*."""
CONSULTANCY_RULES = NyuRules(opening=("judge",), repeat=("sequential", "judge"))
"""J prior, (C, J)*."""
AGREEMENT_RULES = NyuRules(
    opening=("simultaneous", "negotiate_end"), repeat=("sequential", "negotiate_end")
)
"""{A,B}, vote, (A>B, vote)*: without a live judge, for offline judges to read."""


class PlayedRound(NamedTuple):
    """A round as it was played."""

    kind: RoundKind
    sides: tuple[int, ...] = ()
    """Of a round of speeches: the sides that spoke, in the order in which they were heard."""
    ends: bool = False
    """Whether the judge ended the session in it, or all agreed to end it."""


class Departure(NamedTuple):
    """Where a session left its rules."""

    round: int
    """The number of the round, from 0; the number of rounds where one is missing at the end."""
    expected: str
    """What the rules want there."""
    found: str
    """What was played."""


def read_rounds(recorded: Sequence[Mapping[str, Any]]) -> tuple[PlayedRound, ...]:
    """Return the rounds of a recorded session; what offline judges said later is left out.

    Args:
        recorded: objects with ``type`` and, by type, ``end``; ``speeches`` with ``argues_for``;
            ``votes`` by side.
    """
    rounds = []
    for one in recorded:
        kind = one["type"]
        if kind == "offline":
            continue
        if kind == "judge":
            rounds.append(PlayedRound("judge", ends=bool(one["end"])))
        elif kind == "negotiate_end":
            votes = list(one["votes"].values())
            rounds.append(PlayedRound("negotiate_end", ends=bool(votes) and all(votes)))
        else:
            sides = [speech["argues_for"] for speech in one["speeches"]]
            heard = sorted(sides) if kind == "simultaneous" else sides
            rounds.append(PlayedRound(kind, tuple(heard)))
    return tuple(rounds)


def check_rounds(rules: NyuRules, rounds: Sequence[PlayedRound]) -> Departure | None:
    """Fold the rounds of a finished session against its rules.

    Returns:
        None where they keep the rules, else the first departure: another kind of round, others
        that speak or in another order, an end before any speech, or no end where there should be
        one.
    """
    parties: tuple[int, ...] = ()
    spoken = index = 0
    closing: int | None = None
    for number, played in enumerate(rounds):
        expected = rules.kind_at(index) if closing is None else _at(rules.closing, closing)
        if expected != played.kind:
            return Departure(number, expected or "the end", played.kind)
        if played.kind in SPEECHES:
            parties = parties or tuple(sorted(played.sides))
            if not parties or played.sides != parties:
                return Departure(number, _spoken_by(parties), _spoken_by(played.sides))
            spoken += 1
        if played.ends and not spoken:
            return Departure(number, "a speech before the end", "the end")
        if closing is not None:
            closing += 1
        elif played.ends:
            closing = 0
        index += 1
    left = rules.kind_at(index) if closing is None else _at(rules.closing, closing)
    return None if left is None else Departure(len(rounds), left, "the end")


def _at(kinds: tuple[RoundKind, ...], index: int) -> RoundKind | None:
    return kinds[index] if index < len(kinds) else None


def _spoken_by(sides: tuple[int, ...]) -> str:
    return f"speeches by {' and '.join('AB'[side] for side in sides)}" if sides else "speeches"


def judge_score(p_correct: float, continues: int, *, cost: float = 0.05) -> float:
    """Return the judge's score S = log2 p(correct) - cost times t, in bits; strictly proper.

    Args:
        p_correct: the last belief in the right option; clamped to [0.01, 0.99].
        continues: t, how often the judge continued.
        cost: of one continuation.
    """
    return debater_score(p_correct) - cost * continues


def debater_score(p_own: float) -> float:
    """Return a debater's score log2 p(own side), in bits; `p_own` is clamped to [0.01, 0.99]."""
    return math.log2(min(max(p_own, LEAST), MOST))
