"""How good probabilities are: quality by protocol, and reliability by confidence."""

from __future__ import annotations

from collections.abc import Sequence

from workflows.page.charts import Bin, reliability
from workflows.page.figures import reliability_of
from workflows.page.material import Lane
from workflows.page.parts import (
    DASH,
    MINUS,
    Plot,
    Section,
    Table,
    amount,
    percentage,
    plotted,
    span,
)
from workflows.statistics.calibration import ReliabilityBin

DRAWN = 8
"""Reliability diagrams on the page; the table holds all."""
Held = Sequence[tuple[Lane, Sequence[ReliabilityBin]]]


def probabilities(lanes: Sequence[Lane]) -> Section | None:
    """Return how good probabilities are, with a reliability diagram for each protocol."""
    held = [(lane, bins) for lane in lanes if (bins := reliability_of(lane))]
    if not held:
        return None
    about = (
        "Over the outcomes that hold probabilities. Brier: 0 is best. log2 score: 0 is best, "
        f"{MINUS}1 is a coin's. ECE stands beside what a calibrated judge with the same forecasts "
        "would show, which is not 0. In the diagrams the share right stands upwards; on the "
        "dashed line confidence is what comes true; larger marks hold more questions."
    )
    lines = [about]
    quality, sources = _quality(held)
    if len(sources) > 1:
        lines.append("The probabilities come from different sources and are not comparable.")
    if len(held) > DRAWN:
        lines.append(f"Drawn are {DRAWN} of {len(held)} protocols; the table holds all.")
    plots = tuple(_plot(lane, bins, number) for number, (lane, bins) in enumerate(held[:DRAWN]))
    tables = ([quality] if quality.rows else []) + [_bins(held)]
    return Section("probabilities", "Probabilities", tuple(lines), plots, tuple(tables))


def _plot(lane: Lane, bins: Sequence[ReliabilityBin], number: int) -> Plot:
    drawn = [Bin(one.confidence, one.share_right, one.n, one.interval) for one in bins]
    about = f"{lane.name}: share right at each confidence, with Wilson's interval."
    title = f"Reliability of {lane.name}"
    return plotted(f"reliability-{number + 1}", title, about, reliability, drawn, lane.series)


def _quality(held: Held) -> tuple[Table, set[str]]:
    """Return the figures of each protocol, and where their probabilities come from."""
    rows, sources = [], set()
    for lane, _ in held:
        for one in lane.material.report.quality:
            if one.name != lane.row.name:
                continue
            told = ", ".join(one.sources) or "not told"
            sources.add(told)
            figures = (one.brier, one.log2_score, one.ece, one.ece_if_calibrated)
            shown = (f"{value:.4f}".replace("-", MINUS) for value in figures)
            rows.append((lane.name, amount(one.n), percentage(one.accuracy), *shown, told))
    header = (
        *("protocol", "n", "accuracy, %", "Brier", "log2 score", "ECE", "ECE if calibrated"),
        "source",
    )
    return Table("Quality of probabilities", header, tuple(rows)), sources


def _bins(held: Held) -> Table:
    rows = tuple(
        (
            lane.name,
            f"{100 * one.low:.0f} {DASH} {100 * one.high:.0f}",
            amount(one.n),
            percentage(one.confidence),
            percentage(one.share_right),
            span(one.interval),
        )
        for lane, bins in held
        for one in bins
    )
    header = ("protocol", "confidence, %", "n", "mean confidence, %", "right, %", "95 % interval")
    return Table("Reliability by confidence", header, rows, folded=True)
