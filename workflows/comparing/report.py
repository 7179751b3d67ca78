"""Reports of a run, computed from the store alone.

Of every run: its table, how good its probabilities are, protocol by protocol, and what recruiting
was worth. Of imported sessions: the published figures by setting instead of a table, as no baseline
belongs to them. Gold answers and the source's figures come from the answer key; the sessions never
saw them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.question import LABELS
from workflows.comparing.findings import Pair, compare_rows, in_family
from workflows.comparing.results import WANTED, answer_key, run_rows, session_outcome
from workflows.comparing.table import Row
from workflows.nyu.comparison import Compared, compare_settings
from workflows.nyu.figures import Judged, Setting, Unequal, settings_of, unequal
from workflows.questions.answer_key import AnswerKey
from workflows.recruiting.routing_report import RoutingReport, routing_report
from workflows.simulated import simulated_in
from workflows.statistics.calibration import (
    Forecast,
    brier_score,
    calibrated_ece,
    expected_calibration_error,
    log2_score,
    mean,
)

if TYPE_CHECKING:
    from orchestrator.store import RunRow, SessionRow, Store


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the probabilities of one protocol are."""

    name: str
    n: int
    """Outcomes with a distribution and a known gold answer."""
    accuracy: float
    """Of these, by the protocol's own tie rule."""
    brier: float
    log2_score: float
    ece: float
    ece_if_calibrated: float
    """What a calibrated judge with the same forecasts would show."""
    sources: tuple[str, ...]
    """Where the distributions come from; different sources are not comparable."""


@dataclass(frozen=True, slots=True)
class ImportedSessions:
    """What an imported run holds, and whether its figures are those of its source."""

    sessions: int
    off_rules: Mapping[str, str]
    """Session -> where it left the rules that it declared."""
    without_judge: int
    """Sessions that no live judge decided."""
    compared: int
    """Sessions with recorded figures, which were recomputed."""
    unequal: tuple[Unequal, ...]
    """Figures that came out otherwise."""
    settings: tuple[Setting, ...]
    comparison: Compared | None = None
    """Debates less consultancies that people held; None without both."""


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a run."""

    run: str
    quality: tuple[Quality, ...]
    rows: tuple[Row, ...] = ()
    """The table of the run."""
    imported: ImportedSessions | None = None
    """Instead of a table: of imported sessions."""
    clusters: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Question id -> what repeats together. Not part of the JSON."""
    simulated: tuple[str, ...] = ()
    """The experts whose revisions are made up by a rule, by label."""
    routing: RoutingReport | None = None
    """What recruiting was worth, where anybody was recruited."""
    store: str = field(default="", repr=False)
    """Where the run is kept. Not part of the JSON."""

    def pairs(self) -> list[Pair]:
        """Return the paired differences of the table's rows; none of imported sessions."""
        family = in_family([(row.name, row) for row in self.rows], several=False)
        return compare_rows(family, self.clusters)

    def save(self, path: str | Path) -> Path:
        """Write the report as a page: one HTML file, or Markdown where the name ends in ``.md``.

        Raises:
            Mistake: the file cannot be written, or the store is gone.
        """
        from orchestrator.store import Store
        from workflows.page.render import make_page

        with Store.read(self.store) as opened:
            page = make_page(opened, [self.run])
        return page.save(path)

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        quality = [asdict(one) for one in self.quality]
        simulated = list(self.simulated)
        if self.imported is None:
            rows = [row.as_json() for row in self.rows]
            routing = None if self.routing is None else self.routing.as_json()
            return {
                "run": self.run,
                "rows": rows,
                "pairs": [pair.as_json() for pair in self.pairs()],
                "quality": quality,
                "simulated": simulated,
                "routing": routing,
            }
        settings = [one.as_json() for one in self.imported.settings]
        comparison = self.imported.comparison
        return {
            "run": self.run,
            **asdict(self.imported),
            "settings": settings,
            "comparison": None if comparison is None else comparison.as_json(),
            "quality": quality,
            "simulated": simulated,
        }


def report(run: str, *, store: str = "moot.db") -> Report:
    """Return the report of a run.

    Args:
        run: name or id.
        store: a file of SQLite, or a database URL; it is not written.

    Raises:
        Mistake: there is no such store or run.
    """
    from orchestrator.store import Store
    from workflows.api import find_run

    with Store.read(store) as opened:
        return replace(make_report(opened, find_run(opened, run)), store=store)


def make_report(store: Store, run: RunRow) -> Report:
    """Return the report of a stored run."""
    key = answer_key(run)
    sessions = store.sessions(run.id, statuses=WANTED)
    found = Report(
        run.name, _qualities(sessions, key), clusters=key.clusters, simulated=simulated_in(run)
    )
    if not key.recorded:
        rows = tuple(run_rows(store, run))
        return replace(found, rows=rows, routing=routing_report(store, run, sessions, key, rows))
    judged = _judged(store, sessions, key)
    is_fork = run.parent is not None  # its judge is another one
    compared = [] if is_fork else [one for one in judged if one.facts.reward is not None]
    off_rules = {one.session: one.outcome.detail.get("off_rules", "") for one in judged}
    imported = ImportedSessions(
        sessions=len(sessions),
        off_rules={session: told for session, told in off_rules.items() if told},
        without_judge=sum(not one.decided for one in judged),
        compared=len(compared),
        unequal=tuple(found for one in compared for found in unequal(one)),
        settings=settings_of(judged),
        comparison=compare_settings(judged, key.clusters),
    )
    return replace(found, imported=imported)


def _judged(store: Store, sessions: Sequence[SessionRow], key: AnswerKey) -> list[Judged]:
    """Return the sessions that are over, with what their source tells of them."""
    texts = store.documents({session.parameters_part for session in sessions})
    costs = {part: float(json.loads(text)["rules"]["cost"]) for part, text in texts.items()}
    found = []
    for session in sessions:
        outcome, facts = session_outcome(session), key.recorded.get(session.question_id)
        if outcome is None or facts is None:
            continue
        right = _place(key, session.question_id)
        cost = costs[session.parameters_part]
        found.append(Judged(session.question_id, facts, outcome, right, cost))
    return found


def _qualities(sessions: Sequence[SessionRow], key: AnswerKey) -> tuple[Quality, ...]:
    """Return the quality of every protocol that has outcomes with distributions."""
    names = dict.fromkeys(session.entry for session in sessions)
    found = (_quality(n, [one for one in sessions if one.entry == n], key) for n in names)
    return tuple(one for one in found if one is not None)


def _quality(name: str, sessions: Sequence[SessionRow], key: AnswerKey) -> Quality | None:
    forecasts: list[Forecast] = []
    right: list[float] = []
    sources: set[str] = set()
    for session in sessions:
        outcome, place = session_outcome(session), _place(key, session.question_id)
        if outcome is None or place is None or not outcome.distribution:
            continue
        if place >= len(outcome.distribution):
            continue
        forecasts.append(Forecast(outcome.distribution, place))
        right.append(key.correctness(outcome, session.question_id) or 0.0)
        told = outcome.detail.get("distribution_sources") or ()
        sources.update(str(source) for source in told if source)
    if not forecasts:
        return None
    return Quality(
        name=name,
        n=len(forecasts),
        accuracy=mean(right) or 0.0,
        brier=brier_score(forecasts) or 0.0,
        log2_score=log2_score(forecasts) or 0.0,
        ece=expected_calibration_error(forecasts) or 0.0,
        ece_if_calibrated=calibrated_ece(forecasts) or 0.0,
        sources=tuple(sorted(sources)),
    )


def _place(key: AnswerKey, question: str) -> int | None:
    """Return the place of the right option; None where it is not known or is no option."""
    gold = key.gold.get(question, "")
    return LABELS.index(gold) if len(gold) == 1 and gold in LABELS else None
