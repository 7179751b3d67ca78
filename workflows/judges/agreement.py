"""Agreement between judges: shares, Cohen's kappa between two, Krippendorff's alpha of several.

Votes are categories ("1", "2", "tie") without an order among them. A vote that could not be read
is no category: it is missing here, and how many there were stands beside every figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from workflows.judges.verdicts import RawVote, Rule, VerdictSet
from workflows.statistics.intervals import MeanOutcome, mean_outcome

Votes = Mapping[str, RawVote]
"""Combined verdicts by item."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two judges say the same."""

    first: str
    second: str
    share: MeanOutcome
    """Pairs on which they say the same / pairs that both read."""
    kappa: float | None
    unread: int
    """Pairs given to both of which one could not be read; they are left out."""


@dataclass(frozen=True, slots=True)
class GroupAgreement:
    """How far several judges agree."""

    name: str
    judges: int
    alpha: float | None
    """Krippendorff's, for categories; None where no pair has two votes, or all votes are equal."""


@dataclass(frozen=True, slots=True)
class AgreementFigures:
    """Who agrees with whom."""

    groups: tuple[GroupAgreement, ...]
    """People among themselves, and the other judges among themselves."""
    pairs: tuple[Agreement, ...]
    """Every two people, and every judge with every person."""


def agreement(
    first: str, second: str, votes: Mapping[str, Votes], clusters: Mapping[str, str], *, seed: int
) -> Agreement:
    """Return how often two judges say the same on the pairs that both were given."""
    one, other = votes[first], votes[second]
    common = sorted(one.keys() & other.keys())
    read = [(i, one[i], other[i]) for i in common if one[i] is not None and other[i] is not None]
    same: dict[str, float | None] = {item: float(a == b) for item, a, b in read}
    return Agreement(
        first,
        second,
        mean_outcome(same, clusters, seed=seed),
        cohen_kappa([(a, b) for _, a, b in read]),
        len(common) - len(read),
    )


def cohen_kappa(pairs: Sequence[tuple[RawVote, RawVote]]) -> float | None:
    """Return (observed - expected agreement) / (1 - expected).

    None without pairs, and where both always say one and the same thing: chance alone would then
    agree, so that kappa is 0 / 0. Source: Cohen (1960).
    """
    n = len(pairs)
    if not n:
        return None
    observed = sum(a == b for a, b in pairs) / n
    firsts, seconds = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(count * seconds[vote] for vote, count in firsts.items()) / n**2
    return None if expected >= 1.0 - 1e-12 else (observed - expected) / (1 - expected)


def krippendorff_alpha(votes: Sequence[Votes]) -> float | None:
    """Return Krippendorff's alpha for categories, of several judges with gaps.

    None where no pair has two readable votes, and where all votes are equal: nothing then tells
    agreement from a constant. (``evalica`` says 1 there; where all disagree by rule it goes below
    0, as it should.) Source: Krippendorff (2018), computed by ``evalica``.
    """
    items = sorted({item for column in votes for item in column})
    rows = [[column.get(item) for item in items] for column in votes]
    paired = [unit for unit in zip(*rows, strict=True) if sum(v is not None for v in unit) > 1]
    seen = {vote for unit in paired for vote in unit if vote is not None}
    if len(seen) < 2:
        return None
    import evalica
    import pandas as pd

    return float(
        evalica.alpha(pd.DataFrame([list(row) for row in zip(*paired, strict=True)])).alpha
    )


def agreement_figures(found: VerdictSet, rule: Rule, *, seed: int = 0) -> AgreementFigures | None:
    """Return who agrees with whom; None where no people's votes are recorded."""
    if not found.people:
        return None
    votes, clusters = found.combined(rule), found.clusters
    models = found.models
    groups = [GroupAgreement("people", len(found.people), _alpha(votes, found.people))]
    if len(models) > 1:
        groups.append(GroupAgreement("judges", len(models), _alpha(votes, models)))
    asked = [*combinations(found.people, 2), *((m, p) for m in models for p in found.people)]
    pairs = [agreement(a, b, votes, clusters, seed=seed) for a, b in asked]
    return AgreementFigures(tuple(groups), tuple(pairs))


def _alpha(votes: Mapping[str, Votes], judges: Sequence[str]) -> float | None:
    return krippendorff_alpha([votes[judge] for judge in judges])
