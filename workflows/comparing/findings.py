"""What a table says, in words: what beats what, what it could not have shown, how it was counted.

Every sentence is made from the rows alone, so that it can never claim more than they show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import sqrt
from statistics import NormalDist, stdev
from typing import Any

from workflows.comparing.row_sentences import by_round, by_stratum, counted, rules
from workflows.comparing.table import Row
from workflows.comparing.wording import counted_of
from workflows.statistics.intervals import Interval, t_quantile
from workflows.statistics.paired import PairedDifference, paired_difference
from workflows.statistics.power import smallest_difference
from workflows.statistics.sign_flip import holm_adjusted

__all__ = [
    "BEST_SINGLE",
    "Pair",
    "by_round",
    "by_stratum",
    "compare_rows",
    "counted",
    "in_family",
    "payoffs",
    "points",
    "power",
    "rules",
    "signed_interval",
    "sorted_rows",
    "verdicts",
]

DASH = "\N{EN DASH}"
POWER = 0.8
LEVEL = 0.95
BEST_SINGLE = "best_single"
HOLM = "Intervals in these sentences are adjusted by Holm's method over all {many:,} pairs."
MOST_MISSING = 0.05
"""With a larger share of questions missing it is not said whether a rule pays (ours)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows compared on the same questions."""

    first: str
    second: str
    difference: PairedDifference
    p_holm: float
    """The p value adjusted by Holm's method over all pairs of the table."""
    interval_holm: Interval = Interval(-1.0, 1.0)
    """Inverts the same test at the size at which Holm's method has it: it excludes 0 exactly where
    `p_holm` is at most 0.05."""
    could_show: float | None = None
    """The smallest true difference that these questions show with 80 % power, before Holm; None
    where no difference could be shown, or nothing tells."""

    def turned(self) -> Pair:
        """Return the second less the first."""
        found, holm = self.difference, self.interval_holm
        difference = replace(
            found,
            mean=-found.mean,
            interval=Interval(-found.interval.high, -found.interval.low),
            bounds=Interval(-found.bounds.high, -found.bounds.low),
            means=tuple(-value for value in found.means),
        )
        return replace(
            self,
            first=self.second,
            second=self.first,
            difference=difference,
            interval_holm=Interval(-holm.high, -holm.low),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object."""
        found = self.difference
        return {
            "first": self.first,
            "second": self.second,
            "difference": found.mean,
            "ci_low": found.interval.low,
            "ci_high": found.interval.high,
            "p": found.p_value,
            "p_holm": self.p_holm,
            "holm_low": self.interval_holm.low,
            "holm_high": self.interval_holm.high,
            "questions": found.questions,
            "clusters": found.clusters,
            "missing": found.missing,
            "interval": found.method,
            "bound_low": found.bounds.low,
            "bound_high": found.bounds.high,
            "could_show": self.could_show,
        }


def in_family(named: Iterable[tuple[str, Row]], *, several: bool) -> list[tuple[str, Row]]:
    """Return the rows whose differences are tested together, in the order given.

    Protocols, and of one run the best single expert, which somebody could use in their place. Not
    ``oracle``, which nobody can, nor ``random``, which is known before: they would only make the
    family larger.

    Args:
        named: rows under the names that pairs are to have.
        several: whether they are of several runs, which share no baseline.
    """
    return [
        (name, row)
        for name, row in named
        if row.n and (row.kind == "protocol" or (row.name == BEST_SINGLE and not several))
    ]


def compare_rows(named: Sequence[tuple[str, Row]], clusters: Mapping[str, str]) -> list[Pair]:
    """Return the paired difference of every two rows, with p values adjusted over all of them.

    Args:
        named: rows under the names that the pairs are to have; rows without questions and pairs
            without common questions are left out.
        clusters: question id -> what repeats together.
    """
    found = [
        (a, b, found, _smallest(first, second, found))
        for (a, first), (b, second) in combinations(named, 2)
        if _common(first, second)
        for found in (paired_difference(first.values, second.values, clusters),)
    ]
    adjusted = holm_adjusted([difference.means for _, _, difference, _ in found], error=1 - LEVEL)
    return [
        Pair(a, b, difference, one.p, one.interval, shown)
        for (a, b, difference, shown), one in zip(found, adjusted, strict=True)
    ]


def sorted_rows(rows: Sequence[Row]) -> list[Row]:
    """Return rows by accuracy, best first; those that could not be scored last."""
    return sorted(rows, key=lambda row: -1.0 if row.accuracy is None else row.accuracy)[::-1]


def power(rows: Sequence[Row], clusters: Mapping[str, str]) -> str | None:
    """Say how large a difference these questions could have shown; None without a pair of rows."""
    pair = _telling_pair(rows)
    if pair is None:
        return None
    first, second = pair
    found = paired_difference(first.values, second.values, clusters)
    between = f"between {first.name} and {second.name}"
    n = counted_of(found.questions, "question")
    if not found.discordance:
        return f"{first.name} and {second.name} scored the same on all {n}."
    smallest = _smallest(first, second, found)
    if smallest is None:
        verb = "is" if found.questions == 1 else "are"
        few = f"{n} {verb} too few to show any difference {between}"
        return f"{few} ({round(100 * POWER)} % power)."
    return (
        f"{n} could have shown a difference of {100 * smallest:.1f} points {between} "
        f"({round(100 * POWER)} % power)."
    )


def verdicts(
    rows: Sequence[Row], clusters: Mapping[str, str], pairs: Sequence[Pair] | None = None
) -> list[str]:
    """Say which protocols beat the best single expert, plurality or chance, and which do not.

    What is said of two rows is what Holm's method allows over the family of all pairs, so that no
    sentence says more than the pair's adjusted p value.

    Args:
        rows: of a run.
        clusters: question id -> what repeats together.
        pairs: the family, where it is known; see :func:`in_family`.
    """
    if pairs is None:
        family = in_family([(row.name, row) for row in rows], several=False)
        pairs = compare_rows(family, clusters)
    found = {(pair.first, pair.second): pair for pair in pairs}
    found |= {(pair.second, pair.first): pair.turned() for pair in pairs}
    by_name = {row.name: row for row in rows}
    chance, plurality = by_name.get("random"), by_name.get("plurality")
    recruited = payoffs(rows, found)
    said = [*recruited]
    for row in rows:
        if recruited and row is not plurality:  # has had its sentence
            continue
        if row.kind != "protocol" or not row.n:
            continue
        against_best = found.get((row.name, BEST_SINGLE))
        if against_best is not None:
            said.append(_against(row, "the best single expert", against_best) + ".")
        elif chance is not None and chance.interval == "exact":
            said.append(_against_chance(row, chance))
        other = found.get((row.name, "plurality"))
        if plurality is not None and other is not None:
            calls = _times(row.calls, plurality.calls)
            said.append(f"{_against(row, 'plurality', other)}, with {calls} of its calls.")
    if len(pairs) > 1 and any(second in (BEST_SINGLE, "plurality") for _, second in found):
        said.append(HOLM.format(many=len(pairs)))
    return said


def payoffs(rows: Sequence[Row], found: Mapping[tuple[str, str], Pair]) -> list[str]:
    """Say of each rule of recruitment whether it pays; empty where none was cross-validated.

    A rule pays where the whole adjusted interval of its difference from the best single expert is
    above 0.

    Args:
        rows: of a run.
        found: its pairs by their names, both ways round.
    """
    best = next((row for row in rows if row.name == BEST_SINGLE and row.n), None)
    if best is None or all(row.cross_validated is None for row in rows):
        return []
    plurality = next((row for row in rows if row.name == "plurality"), None)
    said = [_chosen(row) for row in rows if row.selected]
    for row in rows:
        if row.kind != "protocol" or row is plurality:
            continue
        against_best = found.get((row.name, BEST_SINGLE))
        if against_best is None:
            missing = counted_of(row.failed, "question")
            said.append(f"{row.name} shows nothing: all {missing} are missing.")
        else:
            other = found.get((row.name, "plurality"))
            said.append(_payoff(row, against_best, plurality, other))
    return said


def _chosen(row: Row) -> str:
    here = DASH if row.accuracy is None else f"{100 * row.accuracy:.1f} %"
    there = f"{100 * (row.cross_validated or 0.0):.1f} %"
    text = (
        f"{row.name} was selected by cross-validation on the profile's questions: {there} there, "
        f"{here} here"
    )
    own = [
        f"{points(one.mean)} points {signed_interval(one.ci_low, one.ci_high)} against {whom}"
        for one, whom in (
            (row.diff_best_single, "the best single expert"),
            (row.diff_plurality, "plurality"),
        )
        if one is not None
    ]
    if own:  # chosen without these questions: one comparison, not the best of many
        text += f"; {' and '.join(own)}, not adjusted, as it was chosen before"
    return f"{text}."


def _payoff(row: Row, best: Pair, plurality: Row | None, other: Pair | None) -> str:
    if row.failed > MOST_MISSING * (row.n + row.failed):
        return (
            f"{row.name} cannot be told to pay or not: {row.failed:,} of {row.n + row.failed:,} "
            f"questions are missing; {_figures(best)} against the best single expert on the others."
        )
    pays = "pays" if best.interval_holm.low > 0 else "does not pay"
    text = f"{row.name} {pays} against the best single expert: {_figures(best)}"
    if plurality is not None and other is not None:
        interval = signed_interval(*other.interval_holm)
        calls = _times(row.calls, plurality.calls)
        mean = points(other.difference.mean)
        text += f"; against plurality {mean} {interval}, with {calls} of its calls"
    if row.failed:
        text += f" ({counted_of(row.failed, 'question')} missing)"
    return f"{text}."


def _figures(pair: Pair) -> str:
    return f"{points(pair.difference.mean)} points {signed_interval(*pair.interval_holm)}"


def points(value: float) -> str:
    """Return a difference in points with its sign: ``+8.5``."""
    tenths = round(100 * value, 1) + 0.0  # nothing is +0.0, never -0.0
    return f"{tenths:+.1f}".replace("-", "\N{MINUS SIGN}")


def signed_interval(low: float, high: float) -> str:
    """Return an interval of differences in points: ``[+4.5, +12.5]``."""
    return f"[{points(low)}, {points(high)}]"


def _against(row: Row, other: str, pair: Pair) -> str:
    low, high = pair.interval_holm
    if low > 0:
        return f"{row.name} beats {other}: {_figures(pair)}"
    if high < 0:
        return f"{row.name} is worse than {other}: {_figures(pair)}"
    return f"{row.name} is not shown to differ from {other}: {_figures(pair)}"


def _against_chance(row: Row, chance: Row) -> str:
    level = chance.accuracy or 0.0
    low, high = row.ci_low or 0.0, row.ci_high or 0.0
    figures = f"{100 * low:.1f} to {100 * high:.1f} %, chance is {100 * level:.1f} %"
    if low > level:
        return f"{row.name} is better than chance: {figures}."
    if high < level:
        return f"{row.name} is worse than chance: {figures}."
    return f"{row.name} cannot be told from chance: {figures}."


def _times(calls: float, other: float) -> str:
    return f"{100 * calls / other:.0f} %" if other else "more than all"


def _telling_pair(rows: Sequence[Row]) -> tuple[Row, Row] | None:
    """Return the pair that a reader asks about first: a protocol and the best single expert."""
    protocols = [row for row in rows if row.kind == "protocol" and row.n]
    best = next((row for row in rows if row.name == BEST_SINGLE and row.n), None)
    protocols.sort(key=lambda row: row.name != "symbolic_moe")
    candidates = [*protocols[:1], best] if best else protocols[:2]
    if len(candidates) < 2 or not _common(*candidates):
        return None
    first, second = candidates
    return first, second


def _smallest(first: Row, second: Row, found: PairedDifference) -> float | None:
    """Return the smallest difference that the pairs would show with probability `POWER`.

    Single questions with right or wrong: by their number and discordance. Clusters and half
    points: from the interval's half width, which is the standard error times its quantile. None
    where it would be more than can be.
    """
    whole = all(
        value in (None, 0.0, 1.0) for row in (first, second) for value in row.values.values()
    )
    if whole and found.clusters == found.questions:
        return smallest_difference(found.questions, found.discordance, power=POWER, level=LEVEL)
    if found.method == "none":
        return None
    half = (found.interval.high - found.interval.low) / 2
    if found.method == "t":  # the interval may be cut to what can be
        half = t_quantile(found.clusters - 1, LEVEL) * stdev(found.means) / sqrt(found.clusters)
    if half <= 0.0:
        return None  # the differences do not vary, so they say nothing of how much they could
    normal = NormalDist()
    shown = half * (1 + normal.inv_cdf(POWER) / normal.inv_cdf(0.5 + LEVEL / 2))
    return shown if shown <= 1.0 else None


def _common(first: Row, second: Row) -> bool:
    """Whether two rows share a question that is scored in both."""
    here = {question for question, value in first.values.items() if value is not None}
    return any(second.values.get(question) is not None for question in here)
