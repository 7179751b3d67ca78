"""Runs side by side: one table, and paired differences where they answered the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import Mistake
from workflows.cli.pricing import put_priced
from workflows.cli.screen import put, put_json, put_table, say
from workflows.cli.tables import denominator, put_pairs, put_wrapped, table_of
from workflows.comparing.comparison import Comparison
from workflows.comparing.findings import by_round, counted, sorted_rows
from workflows.simulated import simulated_line

if TYPE_CHECKING:
    from workflows.api import RunResult


def is_workflow(targets: Sequence[str]) -> bool:
    """Whether one workflow is named, and not runs.

    Raises:
        Mistake: one file is named that is not there.
    """
    from workflows.settings.configuration import find_workflow

    try:
        find_workflow(targets[0])
    except Mistake:
        if len(targets) == 1 and Path(targets[0]).suffix in (".yaml", ".yml"):
            raise
        return False
    return len(targets) == 1


def compare_workflow(result: RunResult, *, as_json: bool, unit: str | None = None) -> None:
    """Print the table of a run, its rows in pairs, and their prices."""
    from workflows.cli.running import put_result

    comparison = result.comparison
    if as_json:
        pairs = [pair.as_json() for pair in comparison.pairs()]
        put_json({**result.as_json(), "pairs": pairs, **comparison.priced_json(unit)})
        return
    put_result(result, comparison.pairs())
    _put_pairs(comparison)
    put_priced(comparison, unit)


def put_runs(names: Sequence[str], store: str, *, as_json: bool, unit: str | None = None) -> None:
    """Print the tables of runs in one, the paired differences of their protocols, and prices.

    Args:
        names: of the runs.
        store: that holds them.
        as_json: print one JSON object.
        unit: of prices.

    Raises:
        Mistake: there is no such store or run.
    """
    comparison = Comparison.read(store, names)
    if as_json:
        put_json(comparison.as_json(unit))
        return
    ordered = [(run.name, row) for run in comparison.runs for row in sorted_rows(run.rows)]
    put_table(*table_of(ordered), left=2)
    put()
    for line in [*_sentences(comparison), *denominator(comparison.rows)]:
        put_wrapped(line)
    _put_pairs(comparison)
    put_priced(comparison, unit)


def _put_pairs(comparison: Comparison) -> None:
    """Print paired differences, and what could not be compared."""
    apart, pairs = comparison.apart(), comparison.pairs()
    if apart:
        say(apart)
    if pairs:
        put()
        put_pairs(pairs)


def _sentences(comparison: Comparison) -> list[str]:
    """Return what must be said under the tables, each with its run where there are several."""
    said = []
    for run in comparison.runs:
        lines = [simulated_line(run.simulated)] if run.simulated else []
        lines += [counted(run.rows, run.key.clusters)] if run.rows else ["holds no session"]
        lines += by_round(sorted_rows(run.rows))
        said += [f"{run.name}: {line}" if len(comparison.runs) > 1 else line for line in lines]
    return said
