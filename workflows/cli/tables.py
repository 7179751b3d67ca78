"""The table of a run and the sentences under it, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from workflows.cli.screen import DASH, number, put, put_table, text_width
from workflows.comparing import findings
from workflows.comparing.findings import Pair, points, signed_interval
from workflows.comparing.table import Row
from workflows.comparing.wording import counted_of
from workflows.simulated import simulated_line
from workflows.statistics.agreement import agreement_lines

HEADER = (
    *("protocol", "n", "accuracy", "95 % interval", "calls", "missing", "refused", "abstained"),
    *("unparsed", "vs best single"),
)
IF_ANY = frozenset({"refused", "abstained", "vs best single"})
"""Columns that stand only where some row has something in them."""
PAIRS = (
    *("first", "less second", "points", "95 % interval", "Holm interval", "p", "p (Holm)"),
    *("could show", "questions"),
)
DENOMINATOR = (
    "accuracy = correct / n; n = questions asked less the missing ones (provider failures, "
    "timeouts, sessions not reached); refused, abstained and unparsed ones are in n and count as "
    "not correct"
)


def put_rows(
    rows: Sequence[Row],
    clusters: Mapping[str, str],
    *,
    simulated: Sequence[str] = (),
    indent: int = 0,
    pairs: Sequence[Pair] | None = None,
) -> None:
    """Print a run's table: protocols and baselines by accuracy, and how to read it.

    Args:
        rows: of the run.
        clusters: question id -> what repeats together.
        simulated: the labels of the experts that are simulated.
        indent: columns before every line.
        pairs: of the family of rows, where they are known.
    """
    ordered = findings.sorted_rows(rows)
    put_table(*table_of([("", row) for row in ordered]), indent=indent)
    put()
    if simulated:
        put_wrapped(simulated_line(simulated), indent=indent)
    baselines = [row.name for row in ordered if row.kind == "baseline"]
    lines = [findings.counted(rows, clusters), *denominator(rows), *findings.rules(ordered)]
    if baselines:
        lines.append(f"computed, not run: {', '.join(baselines)}")
    lines += [*findings.by_stratum(ordered), *findings.by_round(ordered)]
    lines += agreement_lines(ordered)
    power = findings.power(rows, clusters)
    for line in lines:
        put_wrapped(line, indent=indent)
    put()
    if pairs is None:
        family = findings.in_family([(row.name, row) for row in rows], several=False)
        pairs = findings.compare_rows(family, clusters)
    for line in [*findings.verdicts(ordered, clusters, pairs), *([power] if power else [])]:
        put_wrapped(line, indent=indent)


def denominator(rows: Sequence[Row]) -> list[str]:
    """Say what accuracy is over, where anything is missing or counts as not correct by itself."""
    odd = any(row.failed or row.refused or row.abstained or row.unparsed for row in rows)
    return [DENOMINATOR] if odd else []


def table_of(
    named: Sequence[tuple[str, Row]],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and cells of rows, a run's name before each that has one."""
    lines = [row_cells(row) for _, row in named]
    empty = {"", "0"}
    kept = [
        place
        for place, name in enumerate(HEADER)
        if name not in IF_ANY or any(line[place] not in empty for line in lines)
    ]
    with_run = any(run for run, _ in named)
    header = (*(("run",) if with_run else ()), *(HEADER[place] for place in kept))
    cells = [
        (*((run,) if with_run else ()), *(line[place] for place in kept))
        for (run, _), line in zip(named, lines, strict=True)
    ]
    return header, cells


def row_cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row, in the order of `HEADER`."""
    accuracy = DASH if row.accuracy is None else f"{100 * row.accuracy:.1f}"
    interval = DASH
    if row.ci_low is not None and row.ci_high is not None and row.interval != "exact":
        interval = f"{100 * row.ci_low:.1f} {DASH} {100 * row.ci_high:.1f}"
    difference = ""
    if row.diff_best_single is not None:
        found = row.diff_best_single
        difference = f"{points(found.mean)} {signed_interval(found.ci_low, found.ci_high)}"
    return (
        row.name,
        number(row.n),
        accuracy,
        interval,
        number(row.calls),
        number(row.failed),
        number(row.refused),
        number(row.abstained),
        number(row.unparsed),
        difference,
    )


def put_pairs(pairs: Sequence[Pair]) -> None:
    """Print paired differences: the first less the second, on the questions both answered."""
    if not pairs:
        return
    put_wrapped(
        "Paired differences in points: means over the units of the questions in common. The Holm "
        "interval leaves out 0 exactly where p (Holm) is at most 0.05, over a family of "
        f"{counted_of(len(pairs), 'pair')}. Could show: the smallest true difference that these "
        "questions show with 80 % power in a single test."
    )
    put()
    rows = [
        (
            pair.first,
            pair.second,
            points(pair.difference.mean),
            signed_interval(*pair.difference.interval),
            signed_interval(*pair.interval_holm),
            p_text(pair.difference.p_value),
            p_text(pair.p_holm),
            DASH if pair.could_show is None else f"{100 * pair.could_show:.1f}",
            number(pair.difference.questions),
        )
        for pair in pairs
    ]
    put_table(PAIRS, rows, left=2)


def p_text(value: float) -> str:
    """Return a p value for people."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def put_wrapped(text: str, *, indent: int = 0) -> None:
    """Print running text at the width of the terminal."""
    width = max(text_width() - 1, 40)
    margin = " " * indent
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines or [""]:
        put(line)
