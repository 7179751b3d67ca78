"""Panels: several judges on the same pairs, whose verdicts become one.

A panel sums the combined verdicts of its judges, +1 for answer 1, -1 for answer 2, 0 for a tie,
each times the judge's weight; an even sum is a tie. What a judge could not read, and a pair that it
was not asked on, adds nothing. The panels differ in their weights alone:

=============== ==================================================================================
equal           every judge 1: what every other panel is compared with
majority        one vote each to "1", "2" or "tie"; the most frequent, and of several a tie
best single     the judge that is most often right on other pairs, of those that judged this one
log odds        ln(p / (1 - p)); p is how often a judge is right on other pairs, drawn towards the
                mean of all judges as if it had been seen on `SHRINKAGE` more. A judge that is more
                often wrong than right weighs against what it says (Nitzan and Paroush 1982; the
                shrinkage is ours)
exam            who is right on at least 0.6 of the other pairs sits; weight 1, ln(p / (1 - p)),
                e^(alpha p) or p^alpha (PRE, Chu et al. 2401.15641)
peer rank       without gold answers: a judge's score is the weighted share of its peers' verdicts
                that say what it says; weights are the scores brought to [0, 1] by their least and
                greatest and scaled to 1; five rounds (PRD, Li et al. 2307.02762)
=============== ==================================================================================

Departures. PRD's peers also wrote the answers, and win where peers prefer theirs; recorded judges
mostly did not, so that here agreeing with a peer is winning (:func:`peer_rank` itself takes any
table of wins). PRE does not say how its alpha was chosen: a parameter.

Weights are fitted by cross-validation: those for the pairs of one fold come from the other folds,
which share no instruction or story with it. Nothing is fitted on what it is measured on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import exp, log
from statistics import fmean
from typing import Literal

from workflows.judges.verdicts import SIGN, RawVote, Rule, Tie, VerdictSet, score_vote, scores
from workflows.statistics.intervals import MeanOutcome, mean_outcome
from workflows.statistics.paired import PairedDifference, paired_difference
from workflows.statistics.sign_flip import holm

EQUAL = "equal"
FOLDS = 5
SHRINKAGE = 10.0
"""How many pairs the mean of all judges counts for in a judge's accuracy (ours)."""
PASS_MARK = 0.6
"""How often a judge must be right to sit on an exam panel (2401.15641)."""
ALPHA = 1.0
"""Of e^(alpha p) and p^alpha (ours)."""
ROUNDS = 5
"""Of peer rank (2307.02762)."""
LEAST, MOST = 0.01, 0.99
"""Where accuracies are clamped before their odds are taken."""

ExamWeight = Literal["uniform", "logit", "exponential", "power"]
EXAM_WEIGHTS: tuple[ExamWeight, ...] = ("uniform", "logit", "exponential", "power")

Weights = Mapping[str, float]
Votes = Mapping[str, Mapping[str, RawVote]]
"""Judge -> item -> combined verdict; an absent item is missing."""
Right = Mapping[str, Mapping[str, float]]
"""Judge -> item -> how right its verdict is, from 0 to 1."""
Fit = Callable[[Sequence[str]], Weights]
"""What gives weights from the items that may be looked at."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel beside the equal-vote panel."""

    name: str
    accuracy: MeanOutcome
    ties: int
    silent: int
    """Pairs on which nobody with a weight gave a readable verdict; not correct."""
    difference: PairedDifference | None
    """Its accuracy less that of the equal-vote panel, on the same pairs; None for that one."""
    p_holm: float | None
    """The p value adjusted over all panels (Holm)."""
    weights: Mapping[str, float]
    """Mean over folds; empty where votes are not weighed."""


@dataclass(frozen=True, slots=True)
class Panels:
    """All panels of some judges."""

    judges: tuple[str, ...]
    items: int
    """Pairs that have a gold answer and a verdict of at least two of the judges."""
    clusters: int
    folds: int
    panels: tuple[Panel, ...]


def weighted_vote(votes: Mapping[str, RawVote], weights: Weights | None = None) -> RawVote:
    """Return what a panel says of one pair; None where nobody with a weight could be read.

    Args:
        votes: judge -> combined verdict.
        weights: judge -> weight; by default all weigh the same. Who is not there has none.
    """
    weighed = {
        judge: 1.0 if weights is None else weights.get(judge, 0.0)
        for judge, vote in votes.items()
        if vote is not None
    }
    size = sum(map(abs, weighed.values()))
    if not size:
        return None
    total = sum(weight * SIGN[votes[judge]] for judge, weight in weighed.items())
    if abs(total) <= 1e-9 * size:
        return "tie"
    return "1" if total > 0 else "2"


def majority_vote(votes: Mapping[str, RawVote]) -> RawVote:
    """Return the most frequent verdict, a tie included; of several a tie; None without any."""
    counts = Counter(vote for vote in votes.values() if vote is not None)
    if not counts:
        return None
    top = max(counts.values())
    first = [vote for vote, count in counts.items() if count == top]
    return first[0] if len(first) == 1 else "tie"


def accuracies(right: Right, items: Iterable[str]) -> dict[str, float | None]:
    """Return how often each judge is right on `items`; None where it judged none of them."""
    chosen = list(items)
    found = {judge: [own[i] for i in chosen if i in own] for judge, own in right.items()}
    return {judge: fmean(own) if own else None for judge, own in found.items()}


def log_odds_weights(
    right: Right, items: Sequence[str], shrinkage: float = SHRINKAGE
) -> dict[str, float]:
    """Return the log odds of each judge's shrunk accuracy; equal weights where all of them are 0.

    Args:
        right: how right each judge was.
        items: the pairs that may be looked at.
        shrinkage: how many pairs the mean accuracy of all judges counts for.
    """
    own = {judge: [values[i] for i in items if i in values] for judge, values in right.items()}
    every = [value for values in own.values() for value in values]
    mean = fmean(every) if every else 0.5
    weights = {}
    for judge, values in own.items():
        seen = len(values) + shrinkage
        weights[judge] = _logit((sum(values) + shrinkage * mean) / seen if seen else mean)
    return weights if any(weights.values()) else dict.fromkeys(weights, 1.0)


def exam_weights(
    right: Right,
    items: Sequence[str],
    weight: ExamWeight = "uniform",
    *,
    pass_mark: float = PASS_MARK,
    alpha: float = ALPHA,
) -> dict[str, float]:
    """Return the weights of the judges that pass the exam; who fails, or was not asked, has 0."""
    made: dict[ExamWeight, Callable[[float], float]] = {
        "uniform": lambda p: 1.0,
        "logit": _logit,
        "exponential": lambda p: exp(alpha * p),
        "power": lambda p: p**alpha,
    }
    return {
        judge: made[weight](p) if p is not None and p >= pass_mark else 0.0
        for judge, p in accuracies(right, items).items()
    }


def peer_rank(wins: Mapping[str, Mapping[str, float]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the weights of reviewers that are ranked by each other.

    Args:
        wins: reviewer -> peer -> the share of comparisons that the peer wins before this reviewer.
        rounds: how often scores become weights.

    Returns:
        Weights that add up to 1; equal ones where all scores are.
    """
    peers = list(wins)
    weights = dict.fromkeys(peers, 1 / len(peers)) if peers else {}
    for _ in range(rounds):
        scores = {peer: _weighed_wins(peer, wins, weights) for peer in peers}
        low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
        if high - low <= 1e-12:
            return dict.fromkeys(peers, 1 / len(peers)) if peers else {}
        scaled = {peer: (value - low) / (high - low) for peer, value in scores.items()}
        total = sum(scaled.values())
        weights = {peer: value / total for peer, value in scaled.items()}
    return weights


def _weighed_wins(peer: str, wins: Mapping[str, Mapping[str, float]], weights: Weights) -> float:
    """Return the weighted mean of what each reviewer says of a peer; plain where none weighs."""
    told = [(weights[reviewer], own[peer]) for reviewer, own in wins.items() if peer in own]
    total = sum(weight for weight, _ in told)
    if total > 0:
        return sum(weight * share for weight, share in told) / total
    return fmean(share for _, share in told) if told else 0.0


def mutual_agreement(votes: Votes, items: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return judge -> peer -> the share of `items` on which both say the same.

    Over the pairs that both read; peers without such a pair are absent, and so is a judge itself.
    """
    import numpy as np

    judges = list(votes)
    kinds = ("1", "2", "tie")
    said = np.array(
        [[kinds.index(v) if (v := votes[j].get(i)) else -1 for i in items] for j in judges]
    ).reshape(len(judges), len(items))
    same = sum((said == k).astype(float) @ (said == k).T.astype(float) for k in range(3))
    both = (said >= 0).astype(float) @ (said >= 0).T.astype(float)
    return {
        judge: {
            peer: float(same[a, b] / both[a, b])
            for b, peer in enumerate(judges)
            if b != a and both[a, b]
        }
        for a, judge in enumerate(judges)
    }


def folds_of(
    items: Iterable[str], clusters: Mapping[str, str], *, folds: int = FOLDS, seed: int = 0
) -> list[list[str]]:
    """Return `items` in as many parts, no cluster in two of them; fewer where clusters are."""
    import numpy as np

    names = sorted(items)
    units = sorted({clusters.get(item, item) for item in names})
    count = min(folds, len(units))
    order = np.random.default_rng(seed).permutation(len(units))
    fold = {units[place]: rank % count for rank, place in enumerate(order)}
    parts: list[list[str]] = [[] for _ in range(count)]
    for item in names:
        parts[fold[clusters.get(item, item)]].append(item)
    return parts


def panels(
    found: VerdictSet,
    rule: Rule,
    tie: Tie,
    *,
    judges: Sequence[str] | None = None,
    folds: int = FOLDS,
    alpha: float = ALPHA,
    seed: int = 0,
) -> Panels | None:
    """Return all panels of some judges, compared with the equal-vote panel on the same pairs.

    Args:
        found: the verdicts.
        rule: how both orders of a judge become one verdict.
        tie: what a tie is worth where one answer is better.
        judges: who sits; by default all that are not people of a majority.
        folds: of the cross-validation.
        alpha: of two of the exam's weights.
        seed: of the folds, the bootstraps and the tests.

    Returns:
        None where no pair with a gold answer was judged by two of them. With the pairs in a single
        cluster there are only the panels that need no fitting.
    """
    members = tuple(found.models if judges is None else judges)
    every = found.combined(rule)
    votes = {judge: every[judge] for judge in members}
    gold = {item: pair.gold for item, pair in found.pairs.items() if pair.gold is not None}
    items = [i for i in sorted(gold) if sum(i in own for own in votes.values()) > 1]
    if not items:
        return None
    right = {
        judge: {
            i: v
            for i, v in scores(found.columns[judge], found.pairs, rule, tie).items()
            if v is not None
        }
        for judge in members
    }
    parts = folds_of(items, found.clusters, folds=folds, seed=seed)
    said, weights = _all_panels(items, votes, right, parts, alpha)
    values = {name: _values(own, gold, tie) for name, own in said.items()}
    clusters = found.clusters
    made = [_panel(n, said, weights, values, clusters=clusters, seed=seed) for n in said]
    units = len({clusters[item] for item in items})
    return Panels(members, len(items), units, len(parts), tuple(_adjusted(made)))


def _all_panels(
    items: Sequence[str],
    votes: Votes,
    right: Right,
    parts: Sequence[Sequence[str]],
    alpha: float,
) -> tuple[dict[str, dict[str, RawVote]], dict[str, Weights]]:
    """Return panel -> item -> verdict, and the mean weights of those that weigh."""
    on = {item: {j: own[item] for j, own in votes.items() if item in own} for item in items}
    said = {
        EQUAL: {item: weighted_vote(here) for item, here in on.items()},
        "majority": {item: majority_vote(here) for item, here in on.items()},
    }
    weights: dict[str, Weights] = {}
    if len(parts) < 2:
        return said, weights
    said["best single"] = {}
    for part, others in _held_out(parts):
        known = accuracies(right, others)
        for item in part:
            best = max(on[item], key=lambda judge: -1.0 if (p := known[judge]) is None else p)
            said["best single"][item] = on[item][best]
    fits: dict[str, Fit] = {"log odds": partial(log_odds_weights, right)}
    for weight in EXAM_WEIGHTS:
        fits[f"exam {weight}"] = partial(exam_weights, right, weight=weight, alpha=alpha)
    fits["peer rank"] = lambda other: peer_rank(mutual_agreement(votes, other))
    for name, fit in fits.items():
        fitted = [(part, fit(others)) for part, others in _held_out(parts)]
        said[name] = {i: weighted_vote(on[i], own) for part, own in fitted for i in part}
        weights[name] = {judge: fmean(own[judge] for _, own in fitted) for judge in votes}
    return said, weights


def _held_out(parts: Sequence[Sequence[str]]) -> list[tuple[Sequence[str], list[str]]]:
    """Return each part with the items of all others."""
    return [
        (part, [item for other in parts if other is not part for item in other]) for part in parts
    ]


def _panel(
    name: str,
    said: Mapping[str, Mapping[str, RawVote]],
    weights: Mapping[str, Weights],
    values: Mapping[str, Mapping[str, float | None]],
    *,
    clusters: Mapping[str, str],
    seed: int,
) -> Panel:
    own, votes = values[name], list(said[name].values())
    compared = None
    if name != EQUAL:
        compared = paired_difference(own, values[EQUAL], clusters, seed=seed)
    return Panel(
        name=name,
        accuracy=mean_outcome(own, clusters, seed=seed),
        ties=votes.count("tie"),
        silent=votes.count(None),
        difference=compared,
        p_holm=None,
        weights=weights.get(name, {}),
    )


def _values(
    said: Mapping[str, RawVote], gold: Mapping[str, RawVote], tie: Tie
) -> dict[str, float | None]:
    return {i: score_vote(vote, g, tie) for i, vote in said.items() if (g := gold[i]) is not None}


def _adjusted(made: Sequence[Panel]) -> list[Panel]:
    """Return the panels with p values adjusted over all comparisons."""
    compared = [one for one in made if one.difference is not None]
    adjusted = holm([one.difference.p_value for one in compared if one.difference is not None])
    by_name = {one.name: p for one, p in zip(compared, adjusted, strict=True)}
    return [replace(one, p_holm=by_name.get(one.name)) for one in made]


def _logit(p: float) -> float:
    inside = min(max(p, LEAST), MOST)
    return log(inside / (1 - inside))
