"""A comparison: the table of one run or of several, in pairs, at its price, as a page.

>>> from workflows import run
>>> found = run("skills", overrides=["store=demo.db"]).comparison      # doctest: +SKIP
>>> print(found)                                                       # doctest: +SKIP
>>> found.plot("skills.svg")                                           # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from protocols.errors import Mistake
from workflows.comparing.equal_spend import EqualSpend, equal_spend
from workflows.comparing.findings import Pair, compare_rows, in_family, sorted_rows
from workflows.comparing.spend import (
    ProtocolSpend,
    Spending,
    Unit,
    chosen_unit,
    priced,
    read_spending,
)
from workflows.comparing.table import Row
from workflows.comparing.text import (
    HEADER,
    PAIRS,
    aligned,
    cells,
    html,
    pair_cells,
    pair_text,
    placed_json,
    record,
)
from workflows.questions.answer_key import AnswerKey
from workflows.statistics.frontier import Placed, frontier

if TYPE_CHECKING:
    from orchestrator.store import RunRow, Store

Backend = Literal["polars", "pandas"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One run of a comparison."""

    name: str
    rows: tuple[Row, ...]
    key: AnswerKey = field(default_factory=AnswerKey, repr=False)
    spending: Spending = field(default_factory=lambda: Spending({}), repr=False)
    simulated: tuple[str, ...] = ()
    """The labels of the experts that are simulated."""


@dataclass(frozen=True)
class Comparison:
    """What protocols are worth beside each other, on the questions that they have in common."""

    runs: tuple[Compared, ...]
    store: str = field(default="", repr=False)
    """Where the runs are kept; it may hold a password."""

    @classmethod
    def read(cls, store: str, names: Sequence[str]) -> Self:
        """Return the comparison of stored runs; one that is named twice counts once.

        Raises:
            Mistake: there is no such store or run, or no run is named.
        """
        from orchestrator.store import Store
        from workflows.api import find_run

        if not names:
            raise Mistake("name a run to compare, or several")
        with Store.read(store) as opened:
            runs = {run.id: run for run in (find_run(opened, name) for name in names)}
            return cls(tuple(_compared(opened, run) for run in runs.values()), store)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of all runs, in their order."""
        return tuple(row for run in self.runs for row in run.rows)

    @property
    def clusters(self) -> dict[str, str]:
        """Question id -> what repeats together, over all runs."""
        return {q: unit for run in self.runs for q, unit in run.key.clusters.items()}

    def named(self) -> list[tuple[str, Row, Compared]]:
        """Return the rows under names that tell the runs apart, with their runs."""
        several = len(self.runs) > 1
        return [
            (f"{run.name}: {row.name}" if several else row.name, row, run)
            for run in self.runs
            for row in run.rows
        ]

    def spends(self) -> dict[str, ProtocolSpend]:
        """Return what protocols took, by the names of :meth:`named`; baselines took nothing."""
        return {
            name: run.spending.protocols[row.name]
            for name, row, run in self.named()
            if row.kind == "protocol" and row.name in run.spending.protocols
        }

    def records(self) -> list[dict[str, Any]]:
        """Return a flat record for each row: its figures, and what a question takes of it."""
        spends = self.spends()
        return [record(name, run.name, row, spends.get(name)) for name, row, run in self.named()]

    def table(self) -> str:
        """Return the table as text, best row first in each run."""
        lines = []
        for run in self.runs:
            names = {id(row): name for name, row, one in self.named() if one is run}
            lines += [(names[id(row)], row) for row in sorted_rows(run.rows)]
        return aligned(HEADER, [cells(name, row) for name, row in lines])

    def pairs(self) -> list[Pair]:
        """Return the paired differences, with p values and intervals by Holm's method over all.

        Of one run its protocols and the best single expert are compared; of several their
        protocols. Rows that share no scored question make no pair.
        """
        return list(self._pairs)

    @cached_property
    def _pairs(self) -> tuple[Pair, ...]:
        named = [(name, row) for name, row, _ in self.named()]
        return tuple(compare_rows(in_family(named, several=len(self.runs) > 1), self.clusters))

    def frontier(self, unit: str | None = None) -> list[Placed]:
        """Return where protocols stand in accuracy and stand-alone price of a question.

        Args:
            unit: ``money``, ``tokens`` or ``calls``; see :meth:`unit` for what it is otherwise.

        Raises:
            Mistake: there is no such unit.
        """
        chosen, spends = self.unit(unit), self.spends()
        rows = {name: row for name, row, _ in self.named()}
        return frontier(
            [priced(n, rows[n], spent, chosen, self.clusters) for n, spent in spends.items()]
        )

    def unit(self, unit: str | None = None) -> Unit:
        """Return the unit of prices: `unit`, else money, tokens or calls, by what is known.

        Raises:
            Mistake: there is no such unit.
        """
        return chosen_unit(list(self.spends().values()), unit)

    def equal_spend(self, unit: str | None = None) -> list[EqualSpend]:
        """Return what plurality, best-of-n and a judge alone are worth at the same spend.

        Args:
            unit: what is held equal: ``money``, ``tokens`` or ``calls``.

        Raises:
            Mistake: there is no such unit.
        """
        chosen = self.unit(unit)
        return [
            one for run in self.runs for one in equal_spend(run.rows, run.spending, run.key, chosen)
        ]

    def to_frame(self, backend: Backend = "polars") -> Any:
        """Return :meth:`records` as a frame of polars or pandas.

        Raises:
            Mistake: the library is not installed, or there is no such one.
        """
        from importlib import import_module

        if backend not in ("polars", "pandas"):
            raise Mistake(f"backend={backend!r}: there are 'polars' and 'pandas'")
        try:
            library = import_module(backend)
        except ImportError:
            raise Mistake(f"{backend} is not installed: pip install {backend}") from None
        records = self.records()
        if backend == "polars":
            return library.DataFrame(records, infer_schema_length=None)
        return library.DataFrame(records)

    def plot(self, path: str | Path, *, unit: str | None = None) -> Path:
        """Draw paired differences, and accuracy against price, into a file, and return it.

        Args:
            path: ending in ``.svg``, or in ``.png`` (which needs matplotlib).
            unit: of prices; see :meth:`unit`.

        Raises:
            Mistake: there is nothing to draw, another ending, or the file cannot be written.
        """
        from workflows.page.plot import write_plot

        return write_plot(self, Path(path), unit)

    def report(self, path: str | Path) -> Path:
        """Write the page about the runs: HTML, or Markdown where the name ends in ``.md``.

        Raises:
            Mistake: there is no such store, or the file cannot be written.
        """
        from orchestrator.store import Store
        from workflows.page.render import make_page

        with Store.read(self.store) as opened:
            page = make_page(opened, [run.name for run in self.runs])
        return page.save(path)

    def as_json(self, unit: str | None = None) -> dict[str, Any]:
        """Return everything as a JSON object."""
        chosen = self.unit(unit)
        return {
            "runs": [
                {
                    "name": run.name,
                    "rows": [row.as_json() for row in run.rows],
                    "simulated": list(run.simulated),
                }
                for run in self.runs
            ],
            "pairs": [pair.as_json() for pair in self.pairs()],
            **self.priced_json(chosen),
        }

    def priced_json(self, unit: str | None = None) -> dict[str, Any]:
        """Return what was spent, the frontier and the rows at equal spend as a JSON object."""
        chosen = self.unit(unit)
        return {
            "unit": chosen,
            "spend": [{**one.as_json(), "name": name} for name, one in self.spends().items()],
            "frontier": [placed_json(one) for one in self.frontier(chosen)],
            "equal_spend": [one.as_json() for one in self.equal_spend(chosen)],
        }

    def __str__(self) -> str:
        from workflows.simulated import simulated_line

        parts = [self.table()]
        simulated = sorted({label for run in self.runs for label in run.simulated})
        parts += [simulated_line(simulated)] if simulated else []
        pairs, apart = self.pairs(), self.apart()
        parts += [pair_text(pairs)] if pairs else []
        parts += [apart] if apart else []
        return "\n\n".join(parts)

    def apart(self) -> str | None:
        """Say what could not be compared in pairs, and why; None where nothing is missing."""
        if not any(row.n for row in self.rows):
            return "no question is scored, so nothing can be compared"
        if len(self.runs) > 1:
            scored = [
                {q for row in run.rows for q, value in row.values.items() if value is not None}
                for run in self.runs
            ]
            if any(one & other for one, other in combinations(scored, 2)):
                return None
            if self.pairs():
                return "the runs share no question, so each is compared within itself alone"
            return "the runs share no question, so nothing can be compared in pairs"
        return None if self.pairs() else "there is one row, so nothing can be compared in pairs"

    def _repr_html_(self) -> str:
        names = {id(row): name for name, row, _ in self.named()}
        ordered = [row for run in self.runs for row in sorted_rows(run.rows)]
        tables = [html(HEADER, [cells(names[id(row)], row) for row in ordered])]
        pairs, apart = self.pairs(), self.apart()
        if pairs:
            tables.append(html(PAIRS, [pair_cells(pair) for pair in pairs]))
        if apart:
            tables.append(f"<p>{escape(apart)}</p>")
        return "".join(tables)


class Compares:
    """What a result of a run can tell beyond its table; for ``RunResult``."""

    __slots__ = ()
    address: str
    run_id: int

    @property
    def comparison(self) -> Comparison:
        """The comparison of its protocols, read from the store anew."""
        return Comparison.read(self.address, [str(self.run_id)])

    def table(self) -> str:
        """Return the table as text."""
        return self.comparison.table()

    def pairs(self) -> list[Pair]:
        """Return the paired differences; see :meth:`Comparison.pairs`."""
        return self.comparison.pairs()

    def frontier(self, unit: str | None = None) -> list[Placed]:
        """Return where protocols stand in price; see :meth:`Comparison.frontier`."""
        return self.comparison.frontier(unit)

    def equal_spend(self, unit: str | None = None) -> list[EqualSpend]:
        """Return baselines at equal spend; see :meth:`Comparison.equal_spend`."""
        return self.comparison.equal_spend(unit)

    def to_frame(self, backend: Backend = "polars") -> Any:
        """Return the rows as a frame; see :meth:`Comparison.to_frame`."""
        return self.comparison.to_frame(backend)

    def plot(self, path: str | Path, *, unit: str | None = None) -> Path:
        """Draw the comparison; see :meth:`Comparison.plot`."""
        return self.comparison.plot(path, unit=unit)

    def report(self, path: str | Path) -> Path:
        """Write the page about the run; see :meth:`Comparison.report`."""
        return self.comparison.report(path)

    def __str__(self) -> str:
        return str(self.comparison)

    def _repr_html_(self) -> str:
        return self.comparison._repr_html_()


def _compared(store: Store, run: RunRow) -> Compared:
    from workflows.comparing.results import answer_key, run_rows
    from workflows.simulated import simulated_in

    return Compared(
        run.name,
        tuple(run_rows(store, run)),
        answer_key(run),
        read_spending(store, run),
        simulated_in(run),
    )
