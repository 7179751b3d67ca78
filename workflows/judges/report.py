"""What recorded verdicts tell of their judges: figures, agreement, panels and calibration."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from workflows.judges.agreement import AgreementFigures, agreement_figures
from workflows.judges.calibration import Calibration, calibrate
from workflows.judges.figures import JudgeFigures, all_figures
from workflows.judges.panels import Panels, panels
from workflows.judges.verdicts import Rule, Tie, VerdictSet, forecasts
from workflows.statistics.calibration import Forecast

ALL = "all"


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """The figures of one set of verdicts."""

    name: str
    """The file or run."""
    rule: Rule
    tie: Tie
    seed: int
    pairs: int
    clusters: int
    notes: tuple[str, ...]
    """What was left out, and why."""
    judges: tuple[JudgeFigures, ...]
    """Best first."""
    agreement: AgreementFigures | None
    """Where votes of several people are recorded."""
    panels: Panels | None
    """Where a pair was judged by two."""
    calibration: tuple[Calibration, ...]
    """Where verdicts have distributions that are not all certain."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        data: dict[str, Any] = _plain(self)
        return data


def judge_report(
    found: VerdictSet, rule: Rule = "sum", tie: Tie | None = None, *, seed: int = 0
) -> JudgeReport:
    """Return everything that a set of verdicts tells of its judges.

    Args:
        found: the verdicts.
        rule: how both orders become one verdict.
        tie: what a tie is worth where one answer is better; by default what the source says.
        seed: of every bootstrap, fold and split.
    """
    scored: Tie = tie or found.tie
    return JudgeReport(
        name=found.name,
        rule=rule,
        tie=scored,
        seed=seed,
        pairs=len(found.pairs),
        clusters=len(set(found.clusters.values())),
        notes=found.notes,
        judges=all_figures(found, rule, scored, seed=seed),
        agreement=agreement_figures(found, rule, seed=seed),
        panels=panels(found, rule, scored, seed=seed),
        calibration=calibrations(found, seed=seed),
    )


def calibrations(found: VerdictSet, *, seed: int = 0) -> tuple[Calibration, ...]:
    """Return the calibration of every judge, or of all verdicts and of every category.

    Votes alone, which are certain, have nothing to calibrate.
    """
    groups: dict[str, dict[str, Forecast]] = {}
    for judge, column in found.columns.items():
        known = forecasts(column, found.pairs)
        if found.calibrate == "judge":
            groups[judge] = known
            continue
        for item, one in known.items():
            for name in (ALL, found.pairs[item].category):
                groups.setdefault(name, {})[item] = one
    unsure = {
        name: known
        for name, known in groups.items()
        if any(max(one.distribution) < 1.0 for one in known.values())
    }
    order = sorted(unsure, key=lambda name: (name != ALL, name))
    made = [calibrate(name, unsure[name], found.clusters, seed=seed) for name in order]
    return tuple(one for one in made if one is not None)


def _plain(value: Any) -> Any:
    """Return dataclasses and named tuples as JSON objects."""
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(one) for name, one in value._asdict().items()}
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
