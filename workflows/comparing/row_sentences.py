"""What single rows of a table say in words: the unit, strata, rounds, and how rows were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workflows.comparing.table import Row
from workflows.comparing.wording import counted_of


def counted(rows: Sequence[Row], clusters: Mapping[str, str]) -> str:
    """Say what the unit is and how many there were."""
    questions = {question for row in rows for question in row.values}
    units = {clusters.get(question, question) for question in questions}
    if len(units) == len(questions):
        if len(questions) == 1:
            return "n = 1 question"
        return f"n = {len(questions):,} questions, each a unit of its own"
    return (
        f"n = {counted_of(len(questions), 'question')} in {counted_of(len(units), 'unit')} that "
        f"share{'s' if len(units) == 1 else ''} a passage or item; intervals are over the units"
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
    return f"after {'up to ' if some_ended_before else ''}{counted_of(last.round, 'round')}"


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
