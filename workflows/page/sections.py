"""The main sections: what the run shows, its table, differences, prices, probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workflows.comparing import findings
from workflows.comparing.findings import Pair
from workflows.page import figures
from workflows.page.charts import percent
from workflows.page.figures import bounds_of, interval_of
from workflows.page.forest import Axis, ForestRow, forest
from workflows.page.material import Lane
from workflows.page.parts import (
    DASH,
    Plot,
    Section,
    Table,
    amount,
    counted,
    money,
    p_value,
    percentage,
    plotted,
    signed,
    signed_span,
    span,
)
from workflows.statistics.intervals import Interval

DRAWN, ACCURACIES = 24, 40
"""Pairs and rows of a plot; further ones stand in its table."""


def shows(
    lanes: Sequence[Lane], clusters: Mapping[str, str], pairs: Sequence[Pair]
) -> Section | None:
    """Return what beats what, in sentences made from the rows alone.

    Args:
        lanes: the rows of the page.
        clusters: question id -> what repeats together.
        pairs: of the page; several runs are told each by its own pairs.
    """
    runs = list(dict.fromkeys(lane.material.name for lane in lanes))
    lines: list[str] = []
    for run in runs:
        rows = [lane.row for lane in lanes if lane.material.name == run]
        before = f"{run}: " if len(runs) > 1 else ""
        family = pairs if len(runs) == 1 else None
        told = [*findings.verdicts(rows, clusters, family), *findings.by_round(rows)]
        lines += [before + line for line in told]
    return Section("shows", "What it shows", after=tuple(lines)) if lines else None


def results(lanes: Sequence[Lane], pairs: Sequence[Pair]) -> Section:
    """Return the table with every denominator, and its accuracies as a plot."""
    scored = [lane for lane in lanes if lane.row.accuracy is not None]
    drawn = scored[:ACCURACIES]
    plots = (_accuracies(drawn),) if drawn else ()
    lines = [
        (
            "Accuracy is right / n, where n is the questions asked less the missing ones. "
            "Missing are provider failures, timeouts and sessions not reached. What an expert "
            "refused or spoiled (refused), could not be read (unparsed) or was left open "
            "(abstained) counts as not correct, in columns of their own."
        )
    ]
    if len(drawn) < len(scored):
        lines.append(f"Drawn are {len(drawn):,} of {len(scored):,}; the table holds all.")
    after = [*map(_denominator, lanes), *(f"{rule}." for rule in _rules(lanes))]
    tables = (_table(lanes, pairs),) if lanes else ()
    return Section(
        "results", "Results", tuple(lines), plots, tables, tuple(after), counting=len(lanes) > 8
    )


def _accuracies(lanes: Sequence[Lane]) -> Plot:
    rows = [
        ForestRow(
            lane.name,
            f"{percentage(lane.row.accuracy)} ({span(interval_of(lane))})"
            if interval_of(lane)
            else percentage(lane.row.accuracy),
            lane.row.accuracy,
            interval_of(lane),
            series=lane.series,
        )
        for lane in lanes
    ]
    axis = Axis("accuracy", percent, limits=Interval(0.0, 1.0))
    about = "Accuracy of every protocol and baseline in per cent, with its 95 % interval."
    return plotted("accuracy", "Accuracy", about, forest, rows, axis)


def _table(lanes: Sequence[Lane], pairs: Sequence[Pair]) -> Table:
    missing = any(lane.row.failed for lane in lanes)
    rivals = [r for r in figures.RIVALS if any(lane.row.name == r for lane in lanes)]
    header = ["protocol", "accuracy, %", "95 % interval"]
    header += [f"vs {rival}, points" for rival in rivals]
    header += ["right", "n", "missing", *(["if missing wrong, right"] if missing else [])]
    header += ["unparsed", "abstained", "refused", "calls", "tokens", "price alone", "paid"]
    rows = []
    for lane in lanes:
        row, spend = lane.row, lane.spend
        cells = [lane.name, percentage(row.accuracy), span(interval_of(lane))]
        cells += [_against(lane, rival, pairs) for rival in rivals]
        cells += [amount(round(row.correct, 1)), amount(row.n), amount(row.failed)]
        cells += [span(bounds_of(lane))] if missing else []
        cells += [amount(round(row.unparsed, 1)), amount(row.abstained)]
        cells += [amount(row.refused), amount(row.calls)]
        cells += (
            [DASH] * 3
            if spend is None
            else [
                amount(spend.whole.of("tokens")),
                money(spend.whole.price),
                money(spend.whole.paid),
            ]
        )
        rows.append(tuple(cells))
    note = (
        "Price alone: what the protocol would cost by itself, all attempts counted, replies from a "
        "cache or shared with others charged in full. Paid: what was really paid. Refused: also "
        "replies that were cut off or malformed. Baselines are computed, not run; their calls are "
        "those that they imply."
    )
    return Table("Protocols and baselines, best first", tuple(header), tuple(rows), note=note)


def _against(lane: Lane, rival: str, pairs: Sequence[Pair]) -> str:
    """Return the paired difference of a row from another row of its run."""
    if rival == "best_single" and lane.row.diff_best_single is not None:
        found = lane.row.diff_best_single
        return f"{signed(found.mean)} {signed_span(Interval(found.ci_low, found.ci_high))}"
    before = lane.name.removesuffix(lane.row.name)
    for pair in pairs:
        names, way = (pair.first, pair.second), 1.0
        if names == (before + rival, lane.name):
            way = -1.0
        elif names != (lane.name, before + rival):
            continue
        low, high = sorted(way * end for end in pair.difference.interval)
        whole = Interval(low, high) if pair.difference.method != "none" else None
        return f"{signed(way * pair.difference.mean)} {signed_span(whole)}"
    return ""


def _denominator(lane: Lane) -> str:
    """Say what a row's accuracy is over, in words."""
    row, asked = lane.row, len(lane.row.values)
    if not row.n:
        return f"{lane.name}: {counted(asked, 'question')} asked, none could be scored."
    text = f"{lane.name}: {row.correct:,.1f}".removesuffix(".0") + f" right of n = {row.n:,}"
    text += f"; {asked:,} asked, {row.failed:,} missing"
    text += f", {row.unparsed:,.1f}".removesuffix(".0") + " unparsed"
    text += f", {row.abstained:,} abstained, {row.refused:,} refused"
    if row.unparsed_replies:
        text += f"; no answer could be read in {row.unparsed_replies:,} single replies"
    return text + f". Interval: {_HOW.get(row.interval, row.interval)}."


_HOW = {
    "wilson": "Wilson",
    "wilson of units": "Wilson over the units, as all of them came out the same",
    "cluster bootstrap": "whole units resampled 10,000 times, seed 0",
    "cluster t": "Student's t over the units",
    "exact": "none, as it is exact",
    "cluster none": "none, as there is one unit only",
}


def _rules(lanes: Sequence[Lane]) -> list[str]:
    runs = list(dict.fromkeys(lane.material.name for lane in lanes))
    said = []
    for run in runs:
        before = f"{run}: " if len(runs) > 1 else ""
        rows = [lane.row for lane in lanes if lane.material.name == run]
        said += [before + rule for rule in findings.rules(rows)]
    return said


def differences(pairs: Sequence[Pair], lanes: Sequence[Lane]) -> Section:
    """Return the paired differences with intervals and p values adjusted for their number."""
    title = "Paired differences"
    if not pairs:
        line = "There is no pair: no two protocols share a scored question."
        return Section("differences", title, (line,))
    rows = {lane.name: lane for lane in lanes}
    drawn = sorted(pairs, key=lambda pair: (_rank(pair, rows), pairs.index(pair)))[:DRAWN]
    lines = [
        (
            f"The first less the second, in points: the mean over the units of the questions "
            f"that both answered. Thick: 95 % interval. Thin: adjusted by Holm's method over "
            f"{counted(len(pairs), 'pair')}; it leaves out 0 exactly where p (Holm) is at most "
            "0.05. The test flips the signs of the units' differences."
        )
    ]
    if len(drawn) < len(pairs):
        lines.append(f"Drawn are {len(drawn):,} of {len(pairs):,}; the table holds all.")
    decided = [pair for pair in pairs if pair.p_holm <= 0.05]
    verb = "differs" if len(decided) == 1 else "differ"
    few = f"{len(decided):,} of {counted(len(pairs), 'pair')} {verb} after the adjustment"
    lines.append(
        f"{few}."
        if decided
        else f"No pair differs after the adjustment over {counted(len(pairs), 'pair')}."
    )
    axis = Axis("difference in points", _at_axis, 0.0)
    plot = plotted("differences", title, lines[0], forest, [_forest(p, rows) for p in drawn], axis)
    return Section("differences", title, tuple(lines), (plot,), (_pair_table(pairs),))


def _at_axis(value: float) -> str:
    return "0" if abs(value) < 1e-9 else signed(value).removesuffix(".0")


def _rank(pair: Pair, rows: Mapping[str, Lane]) -> int:
    """Return which pairs are drawn first: those with a row that all are compared with."""
    both = [rows[name] for name in (pair.first, pair.second)]
    ran = any(lane.is_protocol for lane in both)
    names = {lane.row.name for lane in both}
    rivals = [place for place, rival in enumerate(figures.RIVALS) if rival in names and ran]
    return rivals[0] if rivals else 2 if all(lane.is_protocol for lane in both) else 3


def _forest(pair: Pair, rows: Mapping[str, Lane]) -> ForestRow:
    found = pair.difference
    whole = found.interval if found.method != "none" else None
    outer = pair.interval_holm if pair.interval_holm.high - pair.interval_holm.low < 2 else None
    return ForestRow(
        f"{pair.first} {DASH} {pair.second}",
        f"{signed(found.mean)} {signed_span(whole)}",
        found.mean,
        whole,
        outer,
        rows[pair.first].series,
    )


def _pair_table(pairs: Sequence[Pair]) -> Table:
    header = (
        *("first", "less second", "points", "95 % interval", "Holm interval", "p", "p (Holm)"),
        *("questions", "units", "missing", "bounds", "could have shown"),
    )
    rows = []
    for pair in pairs:
        found = pair.difference
        wide = pair.interval_holm.high - pair.interval_holm.low >= 2
        rows.append(
            (
                pair.first,
                pair.second,
                signed(found.mean),
                signed_span(found.interval if found.method != "none" else None),
                signed_span(None if wide else pair.interval_holm),
                p_value(found.p_value),
                p_value(pair.p_holm),
                amount(found.questions),
                amount(found.clusters),
                amount(found.missing),
                signed_span(found.bounds),
                percentage(pair.could_show),
            )
        )
    note = (
        "Questions and units are those complete for both; bounds: the difference with every "
        "missing value at its worst and at its best. Could have shown: the smallest difference in "
        "points that would be found four times out of five (80 % power), not adjusted."
    )
    return Table("Paired differences", header, tuple(rows), 2, folded=True, note=note)
