"""Runs side by side: one table, and paired differences where they answered the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import Mistake
from workflows.cli.pricing import put_priced
from workflows.cli.screen import put, put_json, put_table, say
from workflows.cli.tables import HEADER, put_pairs, put_wrapped, row_cells
from workflows.comparison import Comparison
from workflows.findings import Pair, by_round, compare_rows, sorted_rows
from workflows.simulated import simulated_in, simulated_line
from workflows.table import Row

if TYPE_CHECKING:
    from workflows.api import RunResult


def is_workflow(targets: Sequence[str]) -> bool:
    """Whether one workflow is named, and not runs.

    Raises:
        Mistake: one file is named that is not there.
    """
    from workflows.configuration import find_workflow

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
    pairs = comparison.pairs()
    if as_json:
        told = {**result.as_json(), "pairs": [pair.as_json() for pair in pairs]}
        put_json({**told, **comparison.priced_json(unit)})
        return
    put_result(result)
    put()
    apart = comparison.apart()
    if apart:
        say(apart)
    put_pairs(pairs)
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
    tables, clusters, simulated = read_runs(names, store)
    pairs, comparison = run_pairs(tables, clusters), Comparison.read(store, names)
    if as_json:
        put_json(
            {
                "runs": [
                    {
                        "name": name,
                        "rows": [row.as_json() for row in rows],
                        "simulated": list(simulated[name]),
                    }
                    for name, rows in tables.items()
                ],
                "pairs": [pair.as_json() for pair in pairs],
                **comparison.priced_json(unit),
            }
        )
        return
    cells = [(name, *row_cells(row)) for name, rows in tables.items() for row in sorted_rows(rows)]
    with_best = any(row.diff_best_single for rows in tables.values() for row in rows)
    width = 1 + len(HEADER) - (not with_best)
    put_table(("run", *HEADER)[:width], [line[:width] for line in cells], left=2)
    put()
    told = _sentences(tables, simulated)
    for line in told:
        put_wrapped(line)
    if told:
        put()
    apart = comparison.apart()
    if apart:
        say(apart)
    put_pairs(pairs)
    put_priced(comparison, unit)


def _sentences(
    tables: Mapping[str, Sequence[Row]], simulated: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return what must be said under the tables, each with its run where there are several."""
    said = []
    for name, rows in tables.items():
        lines = [simulated_line(simulated[name])] if simulated[name] else []
        lines += by_round(sorted_rows(rows))
        said += [f"{name}: {line}" if len(tables) > 1 else line for line in lines]
    return said


def read_runs(
    names: Sequence[str], store: str
) -> tuple[dict[str, list[Row]], dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the rows of runs by name, what repeats together, and who is simulated in each run.

    Raises:
        Mistake: there is no such store or run.
    """
    from orchestrator.store import Store
    from workflows.api import find_run
    from workflows.results import answer_key, run_rows

    tables: dict[str, list[Row]] = {}
    clusters: dict[str, str] = {}
    simulated: dict[str, tuple[str, ...]] = {}
    with Store.read(store) as opened:
        for name in names:
            run = find_run(opened, name)
            tables[run.name] = run_rows(opened, run)
            clusters |= answer_key(run).clusters
            simulated[run.name] = simulated_in(run)
    return tables, clusters, simulated


def run_pairs(tables: dict[str, list[Row]], clusters: dict[str, str]) -> list[Pair]:
    """Return the paired differences of all protocols; a name carries its run's where it must."""
    several = len(tables) > 1
    named = [
        (f"{run}: {row.name}" if several else row.name, row)
        for run, rows in tables.items()
        for row in rows
        if row.kind == "protocol" or (row.n and not several)
    ]
    return compare_rows(named, clusters)
