"""What a page is made from: runs as their store holds them, outcomes joined to the answer key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from protocols.outcome import Outcome
from workflows.comparing.report import Report, make_report
from workflows.comparing.results import WANTED, answer_key, run_rows, session_outcome
from workflows.comparing.spend import ProtocolSpend, Spending, read_spending
from workflows.comparing.table import Row
from workflows.page.drawing import SERIES
from workflows.questions.answer_key import AnswerKey

if TYPE_CHECKING:
    from orchestrator.store import RunRow, SessionRow, Store


@dataclass(frozen=True, slots=True)
class Session:
    """One session and how it ended."""

    id: int
    entry: str
    question: str
    status: str
    outcome: Outcome | None
    correct: float | None


@dataclass(frozen=True, slots=True)
class Material:
    """One run."""

    run: RunRow
    config: Mapping[str, Any]
    report: Report
    rows: tuple[Row, ...]
    key: AnswerKey
    sessions: tuple[Session, ...]
    topics: Mapping[str, tuple[str, str]]
    """Question id -> category and subject; empty where it has none."""
    spending: Spending
    """What its protocols took."""

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name


def read_material(store: Store, run: RunRow) -> Material:
    """Return what a page tells of a stored run."""
    sessions, key = store.sessions(run.id, statuses=WANTED), answer_key(run)
    report = make_report(store, run)
    return Material(
        run=run,
        config=json.loads(run.config_json),
        report=report,
        rows=report.rows or tuple(run_rows(store, run)),
        key=key,
        sessions=tuple(_session(row, key) for row in sessions),
        topics=_topics(store, sessions),
        spending=read_spending(store, run),
    )


def _session(row: SessionRow, key: AnswerKey) -> Session:
    outcome = session_outcome(row)
    correct = None if outcome is None else key.correctness(outcome, row.question_id)
    return Session(row.id, row.entry, row.question_id, row.status, outcome, correct)


def _topics(store: Store, sessions: Iterable[SessionRow]) -> dict[str, tuple[str, str]]:
    parts = {row.question_id: row.question_part for row in sessions}
    documents = store.documents(set(parts.values()))
    found = {}
    for question, part in parts.items():
        told = json.loads(documents[part])
        found[question] = (str(told.get("category") or ""), str(told.get("subject") or ""))
    return found


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of the page's table: a protocol or a baseline of a run."""

    name: str
    """With its run's name, where there are several."""
    material: Material
    row: Row
    series: int
    """Its colour and shape, the same in every plot; those beyond `SERIES` share one."""

    @property
    def is_protocol(self) -> bool:
        """Whether it was run, and not computed."""
        return self.row.kind == "protocol"

    @property
    def sessions(self) -> list[Session]:
        """Its sessions; a baseline has none."""
        if not self.is_protocol:
            return []
        return [one for one in self.material.sessions if one.entry == self.row.name]

    @property
    def spend(self) -> ProtocolSpend | None:
        """What it took; None of a baseline."""
        found = self.material.spending.protocols
        return found.get(self.row.name) if self.is_protocol else None


def lanes_of(materials: Sequence[Material]) -> list[Lane]:
    """Return the rows of all runs, best first.

    Colours are in the runs' own order where there are enough of them, else the best have them.
    """
    several = len(materials) > 1
    lanes = [
        Lane(f"{one.name}: {row.name}" if several else row.name, one, row, 0)
        for one in materials
        for row in one.rows
    ]
    best = sorted(lanes, key=lambda lane: -1.0 if lane.row.accuracy is None else lane.row.accuracy)[
        ::-1
    ]
    ordered = sorted(lanes if len(lanes) <= SERIES else best, key=lambda lane: not lane.is_protocol)
    if len(lanes) > SERIES:  # the row that all are compared with has a colour of its own
        ordered.sort(key=lambda lane: lane.row.name != "best_single")
    series = {lane.name: min(number, SERIES) for number, lane in enumerate(ordered)}
    return [replace(lane, series=series[lane.name]) for lane in best]


def clusters_of(materials: Sequence[Material]) -> dict[str, str]:
    """Return what repeats together, by question id, over all runs."""
    found: dict[str, str] = {}
    for one in materials:
        found |= one.key.clusters
    return found
