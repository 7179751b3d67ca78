"""The sections of imported sessions: the published figures by setting, and their comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workflows.comparing.report import ImportedSessions
from workflows.comparing.wording import counted_of
from workflows.nyu.comparison import Compared
from workflows.nyu.figures import Setting, Stratum
from workflows.page.charts import percent
from workflows.page.drawing import SERIES
from workflows.page.forest import Axis, ForestRow, forest
from workflows.page.parts import (
    DASH,
    MINUS,
    Section,
    Table,
    amount,
    counted,
    p_value,
    percentage,
    plotted,
    signed,
    signed_span,
    span,
)
from workflows.statistics.intervals import wilson


def settings(
    found: ImportedSessions, series: Mapping[str, int], run: str = "", number: int = 0
) -> Section:
    """Return the published figures by setting, recomputed.

    Args:
        found: the imported sessions.
        series: colours by protocol, as in the other plots.
        run: the name of their run, where there are several.
        number: of the run among those that were imported.
    """
    id = f"settings-{number + 1}" if run else "settings"
    title = f"Settings of {run}" if run else "Settings"
    held = [one for one in found.settings if one.n]
    rows = [
        ForestRow(
            one.setting,
            f"{percentage(one.accuracy)} ({span(wilson(one.correct, one.n))}), n = {one.n:,}",
            one.accuracy,
            wilson(one.correct, one.n),
            series=series.get(one.setting, SERIES),
        )
        for one in held
    ]
    about = "Accuracy by setting with Wilson's 95 % interval, as if sessions were independent."
    plots = (plotted(id, title, about, forest, rows, Axis("accuracy", percent)),)
    total = sum(one.n for one in found.settings)
    differ = len({one.session for one in found.unequal})
    lines = (
        (
            f"Over the {total:,} of {counted(found.sessions, 'session')} that are in the paper "
            "and had a live judge. Correct: more than a half for the right answer at the end, a "
            "tie is wrong."
        ),
        (
            f"{found.without_judge:,} had no live judge; {found.compared:,} were recomputed "
            f"beside what the source recorded, {differ:,} differ."
        ),
    )
    header = (
        *("setting", "n", "correct", "accuracy, %", "95 % interval", "continues", "reward, bits"),
        *("ECE", "ECE if calibrated", "honest", "dishonest"),
    )
    table = Table("Settings", header, tuple(map(_cells, found.settings)))
    compared = () if found.comparison is None else tuple(_compared(found.comparison))
    return Section(id, title, lines, plots if held else (), (table,), compared)


def _cells(one: Setting) -> tuple[str, ...]:
    return (
        one.setting,
        amount(one.n),
        amount(one.correct),
        percentage(one.accuracy),
        span(wilson(one.correct, one.n)) if one.n else DASH,
        *(_signed(v, d) for v, d in ((one.mean_continues, 2), (one.mean_reward, 3))),
        *(DASH if v is None else f"{v:.4f}" for v in (one.ece, one.ece_if_calibrated)),
        *map(_stratum, (one.honest, one.dishonest)),
    )


def _signed(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def _stratum(one: Stratum | None) -> str:
    return DASH if one is None else f"{one.correct:,} of {one.n:,}"


def _compared(found: Compared) -> Sequence[str]:
    one, judges, crossed = found.proportions, found.by_judge, found.two_way
    said = [
        (
            f"{found.first} less {found.second}: {signed(one.difference)} points over "
            f"{found.n[0]:,} and {counted_of(found.n[1], 'session')}, which are not paired."
        ),
        (
            f"As if all sessions were independent: p = {p_value(one.p)}, {p_value(one.p_yates)} "
            "with Yates' correction."
        ),
        (
            f"Judges resampled: {signed_span(judges.interval)} "
            f"({counted_of(judges.clusters, 'judge')}, 10,000 resamples, seed {judges.seed})."
        ),
        (
            f"Judge and story crossed: {signed_span(crossed.interval)} (Cameron, Gelbach and "
            f"Miller; t with {counted_of(crossed.degrees, 'degree')} of freedom)."
        ),
    ]
    every = counted_of(found.questions, "question")
    both = f"{found.questions_with_both:,} of {every} have both settings"
    if found.paired is None or found.over_questions is None:
        return [*said, f"{both}."]
    paired = found.paired
    whole = paired.interval if paired.method != "none" else None
    return [
        *said,
        (
            f"Paired: {both}; {signed(found.over_questions)} points over these questions, "
            f"{signed(paired.mean)} over their {counted_of(paired.clusters, 'story', 'stories')} "
            f"{signed_span(whole)} (p = {p_value(paired.p_value)})."
        ),
    ]
