"""What a table says, in words: what beats what, what it could not have shown, how it was counted.

Every sentence is made from the rows alone, so that it can never claim more than they show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

from workflows.intervals import Interval
from workflows.power import smallest_difference
from workflows.sign_flip import holm_adjusted
from workflows.stats import PairedDifference, paired_difference
from workflows.table import Difference, Row

DASH = "\N{EN DASH}"
POWER = 0.8
LEVEL = 0.95
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
        }


def compare_rows(named: Sequence[tuple[str, Row]], clusters: Mapping[str, str]) -> list[Pair]:
    """Return the paired difference of every two rows, with p values adjusted over all of them.

    Args:
        named: rows under the names that the pairs are to have; rows without questions and pairs
            without common questions are left out.
        clusters: question id -> what repeats together.
    """
    found = [
        (a, b, paired_difference(first.values, second.values, clusters))
        for (a, first), (b, second) in combinations(named, 2)
        if _common(first, second)
    ]
    adjusted = holm_adjusted([difference.means for _, _, difference in found], error=1 - LEVEL)
    return [
        Pair(a, b, d, one.p, one.interval) for (a, b, d), one in zip(found, adjusted, strict=True)
    ]


def sorted_rows(rows: Sequence[Row]) -> list[Row]:
    """Return rows by accuracy, best first; those that could not be scored last."""
    return sorted(rows, key=lambda row: -1.0 if row.accuracy is None else row.accuracy)[::-1]


def counted(rows: Sequence[Row], clusters: Mapping[str, str]) -> str:
    """Say what the unit is and how many there were."""
    questions = {question for row in rows for question in row.values}
    units = {clusters.get(question, question) for question in questions}
    if len(units) == len(questions):
        return f"n = {len(questions):,} questions, each a unit of its own"
    return (
        f"n = {len(questions):,} questions in {len(units):,} units that share a passage or item; "
        "intervals are over the units"
    )


def by_stratum(rows: Sequence[Row]) -> list[str]:
    """Say how rows did where the one who argued was right, and where it was wrong."""
    where = {
        "honest": "where the consultant is honest",
        "dishonest": "where it is dishonest",
        "protagonist_right": "where the protagonist chose the right side",
        "protagonist_wrong": "where it chose the wrong one",
        "first_right": "where the expert cast first argues for the right answer",
        "first_wrong": "where it argues for the wrong one",
    }
    return [
        f"{row.name}: right on "
        + ", ".join(
            f"{100 * found.accuracy:.1f} % {where[name]} (n = {found.n:,})"
            for name, found in row.strata.items()
        )
        for row in rows
        if row.strata
    ]


def by_round(rows: Sequence[Row]) -> list[str]:
    """Say of deliberations what their first answers alone were worth, and what they ended with."""
    return [
        f"{row.name}: {100 * row.first_answers.accuracy:.1f} % by its first answers' majority"
        + ("" if row.first_answers.n == row.n else f" (n = {row.first_answers.n:,})")
        + f", {100 * row.accuracy:.1f} % {_after(row)}"
        for row in rows
        if row.first_answers is not None and row.accuracy is not None
    ]


def _after(row: Row) -> str:
    """Say after how many rounds a row ended."""
    if not row.by_round:
        return "at its end"
    last = row.by_round[-1]
    some_ended_before = last.held < row.by_round[0].held
    rounds = f"{last.round} round" + ("" if last.round == 1 else "s")
    return f"after {'up to ' if some_ended_before else ''}{rounds}"


def rules(rows: Sequence[Row]) -> list[str]:
    """Say how rows were made: the aggregation rule, and how ties were broken or scored."""
    ties = {
        "best_expert": "ties go to the expert best on the profile",
        "first": "ties go to the answer given first",
        "half": "a tie counts half",
        "wrong": "a tie counts as wrong",
    }
    made: dict[str, list[str]] = {}
    for row in rows:
        rule = row.rule.replace("_", " ").replace("single", "one expert")
        tie = ties.get(row.tie_rule)
        if rule:
            made.setdefault(rule + (f"; {tie}" if tie else ""), []).append(row.name)
    return [f"{', '.join(names)}: {rule}" for rule, names in made.items()]


def power(rows: Sequence[Row], clusters: Mapping[str, str]) -> str | None:
    """Say how large a difference these questions could have shown; None without a pair of rows."""
    pair = _telling_pair(rows)
    if pair is None:
        return None
    first, second = pair
    found = paired_difference(first.values, second.values, clusters)
    between = f"between {first.name} and {second.name}"
    n = f"{found.questions:,} questions"
    if not found.discordance:
        return f"{first.name} and {second.name} scored the same on all {n}."
    smallest = _smallest(first, second, found)
    if smallest is None:
        return f"{n} are too few to show any difference {between} ({round(100 * POWER)} % power)."
    return (
        f"{n} could have shown a difference of {100 * smallest:.1f} points {between} "
        f"({round(100 * POWER)} % power)."
    )


def verdicts(rows: Sequence[Row], clusters: Mapping[str, str]) -> list[str]:
    """Say which protocols beat the best single expert, plurality or chance, and which do not."""
    by_name = {row.name: row for row in rows}
    chance = by_name.get("random")
    plurality = by_name.get("plurality")
    said = payoffs(rows)
    for row in rows:
        if said and row is not plurality:
            continue
        if row.kind != "protocol" or not row.n:
            continue
        if row.diff_best_single is not None:
            low, high = row.diff_best_single.ci_low, row.diff_best_single.ci_high
            said.append(
                _against(row, "the best single expert", row.diff_best_single.mean, low, high)
            )
        elif chance is not None and chance.interval == "exact":
            said.append(_against_chance(row, chance))
        if plurality is not None and row is not plurality and _common(row, plurality):
            found = paired_difference(row.values, plurality.values, clusters)
            calls = _times(row.calls, plurality.calls)
            text = _against(row, "plurality", found.mean, *found.interval)
            said.append(text.removesuffix(".") + f", with {calls} of its calls.")
    return said


def payoffs(rows: Sequence[Row]) -> list[str]:
    """Say of each rule of recruitment whether it pays; empty where none was cross-validated.

    A rule pays where the whole interval of its difference from the best single expert is above 0.
    """
    best = next((row for row in rows if row.name == "best_single" and row.n), None)
    if best is None or all(row.cross_validated is None for row in rows):
        return []
    plurality = next((row for row in rows if row.name == "plurality"), None)
    said = [_chosen(row) for row in rows if row.selected]
    for row in rows:
        if row.kind != "protocol" or row is plurality:
            continue
        if row.diff_best_single is None:
            said.append(f"{row.name} shows nothing: all {row.failed:,} questions are missing.")
        else:
            said.append(_payoff(row, row.diff_best_single, plurality))
    return said


def _chosen(row: Row) -> str:
    here = DASH if row.accuracy is None else f"{100 * row.accuracy:.1f} %"
    there = f"{100 * (row.cross_validated or 0.0):.1f} %"
    return (
        f"{row.name} was selected by cross-validation on the profile's questions: {there} there, "
        f"{here} here."
    )


def _payoff(row: Row, found: Difference, plurality: Row | None) -> str:
    figures = f"{points(found.mean)} points {signed_interval(found.ci_low, found.ci_high)}"
    if row.failed > MOST_MISSING * (row.n + row.failed):
        return (
            f"{row.name} cannot be told to pay or not: {row.failed:,} of {row.n + row.failed:,} "
            f"questions are missing; {figures} against the best single expert on the others."
        )
    pays = "pays" if found.ci_low > 0 else "does not pay"
    text = f"{row.name} {pays} against the best single expert: {figures}"
    other = row.diff_plurality
    if plurality is not None and other is not None:
        interval = signed_interval(other.ci_low, other.ci_high)
        calls = _times(row.calls, plurality.calls)
        text += f"; against plurality {points(other.mean)} {interval}, with {calls} of its calls"
    if row.failed:
        text += f" ({row.failed:,} questions missing)"
    return f"{text}."


def points(value: float) -> str:
    """Return a difference in points with its sign: ``+8.5``."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def signed_interval(low: float, high: float) -> str:
    """Return an interval of differences in points: ``[+4.5, +12.5]``."""
    return f"[{points(low)}, {points(high)}]"


def _against(row: Row, other: str, mean: float, low: float, high: float) -> str:
    figures = f"{points(mean)} points {signed_interval(low, high)}"
    if low > 0:
        return f"{row.name} beats {other}: {figures}."
    if high < 0:
        return f"{row.name} is worse than {other}: {figures}."
    return f"{row.name} is not shown to differ from {other}: {figures}."


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
    best = next((row for row in rows if row.name == "best_single" and row.n), None)
    protocols.sort(key=lambda row: row.name != "symbolic_moe")
    candidates = [*protocols[:1], best] if best else protocols[:2]
    if len(candidates) < 2 or not _common(*candidates):
        return None
    first, second = candidates
    return first, second


def _smallest(first: Row, second: Row, found: PairedDifference) -> float | None:
    """Return the smallest difference that the pairs would show with probability `POWER`.

    Single questions with right or wrong: by their number and discordance. Clusters and half
    points: from the interval's half width, which is the standard error times its quantile.
    """
    whole = all(
        value in (None, 0.0, 1.0) for row in (first, second) for value in row.values.values()
    )
    if whole and found.clusters == found.questions:
        return smallest_difference(found.questions, found.discordance, power=POWER, level=LEVEL)
    if found.method == "none":
        return None
    half = (found.interval.high - found.interval.low) / 2
    if half <= 0.0:
        return None  # the differences do not vary, so they say nothing of how much they could
    normal = NormalDist()
    return half * (1 + normal.inv_cdf(POWER) / normal.inv_cdf(0.5 + LEVEL / 2))


def _common(first: Row, second: Row) -> bool:
    """Whether two rows share a question that is scored in both."""
    here = {question for question, value in first.values.items() if value is not None}
    return any(second.values.get(question) is not None for question in here)
