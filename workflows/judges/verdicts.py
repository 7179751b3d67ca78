"""Verdicts of judges on pairs of answers: raw votes in both orders, and how they become one.

Rules.

1. A vote names an answer, never a position: "1" or "2" of the pair, "tie", or None, which is a
   reply that could not be read. Votes of the swapped order are mapped back before they come here.
2. The raw votes are kept. A combined verdict is computed from them by a named rule, beside the
   flag that says whether both orders agree. What could not be read is never guessed.
3. A verdict without any reading is missing (provider failure, timeout, not asked): it leaves the
   denominator. A reading without a vote is the judge's own doing: it stays there, as not correct.

The rules of combination, for the readable votes of the orders asked:

* ``sum``: 1 against 2, each order one vote; even is a tie.
* ``mean``: the mean of the orders' distributions; a vote without one counts as certain.
* ``agree``: what both orders say, else a tie (the rule of MT-bench, 2306.05685).
* ``first``: the first order alone.

Under ``sum`` and ``mean`` a verdict of which one order could not be read follows the other, and is
right by half at most, as in every outcome of a judge (``protocols/judging.py``); under ``agree`` it
is unread. Where only one order was recorded, every rule gives its vote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from workflows.statistics.calibration import Forecast

Vote = Literal["1", "2", "tie"]
RawVote = Vote | None
"""None could not be read."""
Order = Literal["ab", "ba"]
"""``ab``: answer 1 was shown first; ``ba``: answer 2."""
Rule = Literal["sum", "agree", "mean", "first"]
RULES: tuple[Rule, ...] = ("sum", "agree", "mean", "first")
Tie = Literal["half", "wrong"]

SIGN: Mapping[RawVote, int] = {"1": 1, "2": -1, "tie": 0}
EVEN = 1e-6
"""Probabilities and sums this close are equal: means differ in their last bits."""

Distribution = tuple[float, float]


class Reading(NamedTuple):
    """What a judge said in one order."""

    order: Order
    vote: RawVote
    distribution: Distribution | None = None
    """Over answers 1 and 2, where there is one."""
    source: str | None = None
    """Where the distribution comes from; different sources are not comparable."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one judge said of one pair, in all orders in which it was asked."""

    judge: str
    item: str
    readings: tuple[Reading, ...]
    """By order, ``ab`` first; none where the verdict is missing."""

    @property
    def votes(self) -> tuple[RawVote, ...]:
        """The raw votes."""
        return tuple(reading.vote for reading in self.readings)

    @property
    def missing(self) -> bool:
        """Whether there is nothing to judge it by."""
        return not self.readings

    @property
    def both_orders(self) -> bool:
        """Whether the judge was asked in both orders."""
        return {reading.order for reading in self.readings} == {"ab", "ba"}

    @property
    def consistent(self) -> bool | None:
        """Whether both orders say the same; None where not both were asked and read."""
        if not self.both_orders or None in self.votes:
            return None
        return len(set(self.votes)) == 1

    @property
    def distribution(self) -> Distribution | None:
        """The mean of the orders' distributions; None where a readable vote has none."""
        found = [one for one in self.readings if one.vote is not None]
        if not found or any(one.distribution is None for one in found):
            return None
        return _mean(found)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one instruction, and what is known of them."""

    item: str
    cluster: str
    """What repeats together: the instruction, or the story."""
    gold: Vote | None = None
    """The better answer, by an expert or the majority of people; None where it is not known."""
    category: str = ""
    answers: tuple[str, str] | None = None
    """Who, or what, answered: models where they are named, else the texts."""
    named: bool = False
    """Whether `answers` are names of models."""
    lengths: tuple[int, int] | None = None
    """Of the two answers, in characters."""
    prompt: str | None = None
    """What both answer, to the letter; pairs that share it can be ordered together."""


Column = Mapping[str, Verdict]
"""The verdicts of one judge, by item."""


@dataclass(frozen=True, slots=True)
class VerdictSet:
    """Verdicts of several judges on the same pairs."""

    name: str
    """The file or run, as the user wrote it."""
    pairs: Mapping[str, Pair]
    columns: Mapping[str, Column]
    """Judge -> its verdicts."""
    people: tuple[str, ...] = ()
    """The judges that are people among which a majority is the gold answer."""
    tie: Tie = "half"
    """How a tie is scored where the source has a rule of its own."""
    calibrate: Literal["judge", "category"] = "judge"
    """By what distributions are taken together for calibration."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""

    @property
    def clusters(self) -> dict[str, str]:
        """Item -> what repeats together."""
        return {item: pair.cluster for item, pair in self.pairs.items()}

    @property
    def models(self) -> tuple[str, ...]:
        """The judges that are not people of a majority."""
        return tuple(judge for judge in self.columns if judge not in self.people)

    def combined(self, rule: Rule) -> dict[str, dict[str, RawVote]]:
        """Return judge -> item -> combined verdict, without what is missing."""
        return {
            judge: {item: combine(one, rule) for item, one in column.items() if not one.missing}
            for judge, column in self.columns.items()
        }


def vote_of(distribution: Iterable[float]) -> RawVote:
    """Return the vote that a distribution over answers 1 and 2 amounts to; None of an empty one.

    Raises:
        ValueError: it is over another number of answers.
    """
    values = tuple(distribution)
    if not values:
        return None
    first, second = values
    return _signed(first - second)


def combine(verdict: Verdict, rule: Rule) -> RawVote:
    """Return the combined verdict; None where it cannot be read (or is missing)."""
    votes = verdict.votes[:1] if rule == "first" else verdict.votes
    readable = [reading for reading in verdict.readings if reading.vote is not None]
    if not votes or (rule == "first" and votes[0] is None) or not readable:
        return None
    if rule == "first":
        return votes[0]
    if rule == "agree":
        if None in votes:
            return None
        return votes[0] if len(set(votes)) == 1 else "tie"
    if rule == "mean":
        return vote_of(_mean(readable))
    return _signed(sum(SIGN[reading.vote] for reading in readable))


def score_vote(vote: RawVote, gold: Vote, tie: Tie = "half") -> float:
    """Return how right a vote is: 1, 0, or a half for a tie where one answer is better.

    Where the gold answer is a tie, a tie alone is right.
    """
    if vote == gold:
        return 1.0
    return 0.5 if vote == "tie" and tie == "half" else 0.0


def score(verdict: Verdict, gold: Vote, rule: Rule, tie: Tie = "half") -> float | None:
    """Return how right a verdict is, from 0 to 1; None is missing, never wrong."""
    if verdict.missing:
        return None
    votes = verdict.votes[:1] if rule == "first" else verdict.votes
    read = sum(vote is not None for vote in votes) / len(votes)
    return score_vote(combine(verdict, rule), gold, tie) * read


def scores(
    column: Column, pairs: Mapping[str, Pair], rule: Rule, tie: Tie = "half"
) -> dict[str, float | None]:
    """Return how right a judge is on every pair that has a gold answer."""
    return {
        item: score(verdict, gold, rule, tie)
        for item, verdict in column.items()
        if (gold := pairs[item].gold) is not None
    }


def forecasts(column: Column, pairs: Mapping[str, Pair]) -> dict[str, Forecast]:
    """Return the distributions of a judge with what is right, where both are known.

    Pairs on which the gold answer is a tie have no right option, and are left out.
    """
    found: dict[str, Forecast] = {}
    for item, verdict in column.items():
        gold, distribution = pairs[item].gold, verdict.distribution
        if distribution is not None and gold in ("1", "2"):
            found[item] = Forecast(distribution, 0 if gold == "1" else 1)
    return found


def swapped(verdict: Verdict) -> Verdict:
    """Return the verdict as it reads after the two answers have changed their names.

    The answer that was 1 is 2, and what was shown first is shown first: the orders change too.
    """
    readings = sorted(
        Reading(
            "ba" if one.order == "ab" else "ab",
            exchanged(one.vote),
            None if one.distribution is None else (one.distribution[1], one.distribution[0]),
            one.source,
        )
        for one in verdict.readings
    )
    return Verdict(verdict.judge, verdict.item, tuple(readings))


def exchanged(vote: RawVote) -> RawVote:
    """Return the vote for the other answer."""
    return "2" if vote == "1" else "1" if vote == "2" else vote


def _signed(value: float) -> Vote:
    if abs(value) <= EVEN:
        return "tie"
    return "1" if value > 0 else "2"


def _mean(readings: Iterable[Reading]) -> Distribution:
    """Return the mean distribution of readable readings; a vote without one is certain."""
    firsts = [
        (1 + SIGN[one.vote]) / 2 if one.distribution is None else one.distribution[0]
        for one in readings
    ]
    mean = sum(firsts) / len(firsts)
    return (mean, 1.0 - mean)
