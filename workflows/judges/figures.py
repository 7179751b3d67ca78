"""Figures of one judge, from its verdicts alone: right, consistent, biased by place or length.

The unit is the cluster (the instruction, or the story): orders and pairs of one instruction lie
inside it. Each share is a mean over verdicts, or over single votes where a vote is what is
counted, with Wilson's interval where every unit stands alone, else one over clusters.

============ =====================================================================================
accuracy     right / (asked - missing), against the gold answer, by the rule of combination
flips        votes that change with the order / verdicts with both orders read
first        votes for the answer shown first / votes for an answer, in verdicts with both orders
             read: there each answer stood first once, so that a judge without bias has a half
both right   right in both orders / verdicts asked in both orders (unread is not right)
consistent   same readable vote in both orders / verdicts asked in both orders
ties         combined verdicts that are a tie / combined verdicts that could be read
unread       combined verdicts that could not be read / (asked - missing)
============ =====================================================================================

Sources: Zheng et al. 2306.05685 (both orders, first position, agreement), Zeng et al. 2310.07641
(accuracy over both orders), Whitehouse et al. 2505.10320 (right in both orders), Wang et al.
2509.21117 (transitivity).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean

from workflows.judges.calibration import ForecastFigures, forecast_figures
from workflows.judges.verdicts import (
    SIGN,
    Column,
    Pair,
    RawVote,
    Rule,
    Tie,
    VerdictSet,
    combine,
    forecasts,
    scores,
)
from workflows.statistics.intervals import MeanOutcome, mean_outcome
from workflows.statistics.paired import PairedDifference, paired_difference

RATIOS = (1.25, 2.0)
"""Where bands of length begin: the longer answer's characters over the shorter one's."""
_WEAK_ORDERS = tuple(set(product(range(3), repeat=3)))


@dataclass(frozen=True, slots=True)
class Excess:
    """How often a judge takes answers of one sort, beside how often the gold answer is one."""

    chosen: MeanOutcome
    """Verdicts for such an answer; a tie counts half."""
    gold: float
    """The share of gold answers that are such, on the same pairs."""
    difference: PairedDifference
    """The first less the second."""


@dataclass(frozen=True, slots=True)
class LengthBand:
    """Pairs whose longer answer is so many times as long as the shorter one."""

    least: float
    below: float | None
    n: int
    chosen: float
    """Verdicts for the longer answer / pairs; a tie counts half."""
    gold: float
    """Gold answers that are the longer one / pairs."""


@dataclass(frozen=True, slots=True)
class Transitivity:
    """Three answers to one prompt, judged in all three pairs."""

    triples: int
    broken: int
    """Triples that no ranking of the three answers, ties allowed, agrees with."""
    rate: float | None
    """broken / triples; None without triples."""


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """The figures of one judge; a figure that its verdicts cannot give is None."""

    judge: str
    person: bool
    """Whether it is one of the people whose majority is the gold answer."""
    verdicts: int
    """Pairs it was asked on."""
    missing: int
    two_orders: int
    """Verdicts asked in both orders."""
    accuracy: MeanOutcome
    unread: int
    """Combined verdicts that could not be read."""
    unread_votes: int
    """Single votes that could not be read."""
    flips: MeanOutcome | None
    first_position: MeanOutcome | None
    both_right: MeanOutcome | None
    consistent: MeanOutcome | None
    ties: MeanOutcome | None
    length: Excess | None
    """For the longer answer."""
    length_bands: tuple[LengthBand, ...]
    own: Excess | None
    """For the answer of the judge's own model."""
    transitivity: Transitivity
    forecasts: ForecastFigures | None
    """Of its distributions."""
    sources: tuple[str, ...]
    """Where these come from."""


def judge_figures(
    found: VerdictSet,
    judge: str,
    rule: Rule,
    tie: Tie,
    *,
    model: str | None = None,
    seed: int = 0,
) -> JudgeFigures:
    """Return the figures of one judge.

    Args:
        found: the verdicts.
        judge: whose.
        rule: how both orders become one verdict.
        tie: what a tie is worth where one answer is better.
        model: the judge's model as the pairs name models; by default the judge's name, up to a
            slash.
        seed: of the bootstraps.
    """
    column, pairs, clusters = found.columns[judge], found.pairs, found.clusters
    present = {item: one for item, one in column.items() if not one.missing}
    combined = {item: combine(one, rule) for item, one in present.items()}
    readable = {item: vote for item, vote in combined.items() if vote is not None}
    two = {item: one for item, one in present.items() if one.both_orders}
    read = {item: one for item, one in two.items() if one.consistent is not None}

    def share(values: Mapping[str, float | None]) -> MeanOutcome | None:
        return mean_outcome(values, clusters, seed=seed) if values else None

    probabilities = forecasts(column, pairs)
    return JudgeFigures(
        judge=judge,
        person=judge in found.people,
        verdicts=len(column),
        missing=len(column) - len(present),
        two_orders=len(two),
        accuracy=mean_outcome(scores(column, pairs, rule, tie), clusters, seed=seed),
        unread=len(combined) - len(readable),
        unread_votes=sum(vote is None for one in present.values() for vote in one.votes),
        flips=share({item: float(not one.consistent) for item, one in read.items()}),
        first_position=first_position(read, clusters, seed=seed),
        both_right=share(
            {
                item: float(set(one.votes) == {gold})
                for item, one in two.items()
                if (gold := pairs[item].gold) is not None
            }
        ),
        consistent=share({item: float(one.consistent is True) for item, one in two.items()}),
        ties=share({item: float(vote == "tie") for item, vote in readable.items()}),
        length=length_effect(readable, pairs, seed=seed),
        length_bands=length_bands(readable, pairs),
        own=self_preference(readable, pairs, model or judge.partition("/")[0], seed=seed),
        transitivity=transitivity(readable, pairs),
        forecasts=forecast_figures(probabilities, seed=seed) if probabilities else None,
        sources=tuple(
            sorted({one.source for v in present.values() for one in v.readings if one.source})
        ),
    )


def first_position(
    read: Column, clusters: Mapping[str, str], *, seed: int = 0
) -> MeanOutcome | None:
    """Return the share of votes for the answer shown first; None without votes for an answer.

    Args:
        read: verdicts with both orders read: in others the first place is not told from answer 1.
        clusters: item -> what repeats together.
        seed: of the bootstrap.
    """
    values: dict[str, float | None] = {}
    where: dict[str, str] = {}
    for item, verdict in read.items():
        for reading in verdict.readings:
            if reading.vote in ("1", "2"):
                vote = f"{item}\0{reading.order}"
                values[vote] = float((reading.vote == "1") == (reading.order == "ab"))
                where[vote] = clusters.get(item, item)
    return mean_outcome(values, where, seed=seed) if values else None


def self_preference(
    readable: Mapping[str, RawVote], pairs: Mapping[str, Pair], model: str, *, seed: int = 0
) -> Excess | None:
    """Return how often a judge takes its own model's answer; None where it never could.

    Args:
        readable: item -> combined verdict.
        pairs: the pairs; those count that name their models, the judge's on exactly one side.
        model: the judge's model.
        seed: of the bootstrap.
    """
    own: dict[str, int] = {}
    for item in readable:
        pair = pairs[item]
        if pair.named and pair.answers is not None and pair.answers.count(model) == 1:
            own[item] = 1 if pair.answers[0] == model else -1
    return _excess(readable, pairs, own, seed)


def length_effect(
    readable: Mapping[str, RawVote], pairs: Mapping[str, Pair], *, seed: int = 0
) -> Excess | None:
    """Return how often a judge takes the longer answer; None where no lengths differ."""
    return _excess(readable, pairs, _longer(readable, pairs), seed)


def length_bands(
    readable: Mapping[str, RawVote], pairs: Mapping[str, Pair]
) -> tuple[LengthBand, ...]:
    """Return the share of verdicts for the longer answer, by how much longer it is."""
    longer = {item: side for item, side in _longer(readable, pairs).items() if _gold(pairs[item])}
    edges = (1.0, *RATIOS)
    bands = []
    for place, least in enumerate(edges):
        below = edges[place + 1] if place + 1 < len(edges) else None
        here = [i for i in longer if least <= _ratio(pairs[i]) < (below or float("inf"))]
        if here:
            chosen = fmean(_for_side(readable[item], longer[item]) for item in here)
            gold = fmean(_for_side(pairs[item].gold, longer[item]) for item in here)
            bands.append(LengthBand(least, below, len(here), chosen, gold))
    return tuple(bands)


def transitivity(readable: Mapping[str, RawVote], pairs: Mapping[str, Pair]) -> Transitivity:
    """Return how many triples of answers a judge ordered in a way that no ranking allows.

    A cycle is broken, and so is "A over B, B over C, A and C equal". Where a prompt holds two
    pairs of the same answers, the first counts.
    """
    votes: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for item in sorted(readable):
        pair = pairs[item]
        if pair.prompt is None or pair.answers is None or pair.answers[0] == pair.answers[1]:
            continue
        first, second = pair.answers
        sign = SIGN[readable[item]]
        here = votes[pair.prompt]
        if (first, second) not in here:
            here[first, second], here[second, first] = sign, -sign
    triples = broken = 0
    for judged in votes.values():
        for a, b, c in combinations(sorted({one for two in judged for one in two}), 3):
            if (a, b) in judged and (b, c) in judged and (a, c) in judged:
                triples += 1
                broken += not _rankable((judged[a, b], judged[b, c], judged[a, c]))
    return Transitivity(triples, broken, broken / triples if triples else None)


def _rankable(signs: tuple[int, int, int]) -> bool:
    """Whether some ranking of A, B and C, ties allowed, gives these signs of A-B, B-C, A-C."""
    return any((_sign(b - a), _sign(c - b), _sign(c - a)) == signs for a, b, c in _WEAK_ORDERS)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def _excess(
    readable: Mapping[str, RawVote],
    pairs: Mapping[str, Pair],
    sides: Mapping[str, int],
    seed: int,
) -> Excess | None:
    """Compare verdicts and gold answers for the sides given (1: answer 1, -1: answer 2)."""
    items = [item for item in sides if _gold(pairs[item])]
    if not items:
        return None
    clusters = {item: pairs[item].cluster for item in items}
    chosen: dict[str, float | None] = {i: _for_side(readable[i], sides[i]) for i in items}
    gold: dict[str, float | None] = {i: _for_side(pairs[i].gold, sides[i]) for i in items}
    return Excess(
        mean_outcome(chosen, clusters, seed=seed),
        fmean(_for_side(pairs[i].gold, sides[i]) for i in items),
        paired_difference(chosen, gold, clusters, seed=seed),
    )


def _for_side(vote: RawVote, side: int) -> float:
    """Return 1 where the vote is for the side, 0 where it is against it, a half for a tie."""
    return (1 + SIGN[vote] * side) / 2


def _gold(pair: Pair) -> bool:
    return pair.gold is not None


def _longer(readable: Mapping[str, RawVote], pairs: Mapping[str, Pair]) -> dict[str, int]:
    """Return which answer is the longer one, where they differ: 1 for answer 1, else -1."""
    found = {}
    for item in readable:
        lengths = pairs[item].lengths
        if lengths is not None and lengths[0] != lengths[1]:
            found[item] = 1 if lengths[0] > lengths[1] else -1
    return found


def _ratio(pair: Pair) -> float:
    """Return how many times as long the longer answer is; of an empty one, as if it had one."""
    shorter, longer = sorted(pair.lengths or (1, 1))
    return longer / max(shorter, 1)


def all_figures(
    found: VerdictSet, rule: Rule, tie: Tie, *, seed: int = 0
) -> tuple[JudgeFigures, ...]:
    """Return the figures of every judge, best first; those that could not be scored last."""

    def accuracy(one: JudgeFigures) -> float:
        return -1.0 if one.accuracy.mean is None else one.accuracy.mean

    made = [judge_figures(found, judge, rule, tie, seed=seed) for judge in found.columns]
    return tuple(sorted(made, key=accuracy, reverse=True))
