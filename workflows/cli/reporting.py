"""The verb that tells what a run shows: report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workflows.cli import options
from workflows.cli.screen import DASH, number, put, put_json, put_table
from workflows.cli.tables import put_rows, put_wrapped
from workflows.simulated import simulated_line

if TYPE_CHECKING:
    from workflows.nyu_figures import Setting, Stratum
    from workflows.report import ImportedSessions, Quality

SETTINGS = ("setting", "n", "correct", "accuracy", "continues", "reward", "ECE")
STRATA = ("honest", "dishonest")
QUALITY = ("protocol", "n", "accuracy", "Brier", "log2 score", "ECE", "ECE if calibrated")
SHOWN = 5


def report(
    run: options.RunName, store: options.Store = "moot.db", as_json: options.Json = False
) -> None:
    """Report a run: its table, how good its probabilities are, what recruiting was worth.

    Of imported sessions: the published figures.

    Example: moot report oversight --store demo.db
    """
    from workflows.report import report as make

    found = make(run, store=store)
    if as_json:
        put_json(found.as_json())
        return
    if found.imported is None:
        put_rows(found.rows, found.clusters, simulated=found.simulated)
    else:
        _put_imported(found.imported)
        if found.simulated:
            put_wrapped(simulated_line(found.simulated))
    if found.quality:
        put()
        _put_quality(found.quality)
    if found.routing is not None:
        from workflows.cli.routing_tables import put_routing

        put()
        put_routing(found.routing)


def _put_imported(found: ImportedSessions) -> None:
    """Print the figures of imported sessions, and what they are over."""
    strata = any(one.honest is not None for one in found.settings)
    header = (*SETTINGS, *STRATA) if strata else SETTINGS
    put_table(header, [_setting_cells(one)[: len(header)] for one in found.settings])
    put()
    counted = sum(one.n for one in found.settings)
    put_wrapped(
        f"Over the {counted:,} of {found.sessions:,} sessions that are in the paper and had a live "
        "judge. Correct: more than a half for the right answer at the end, a tie is wrong. "
        "Continues: how often the judge went on; reward: log2 p(correct) less its price, in bits."
    )
    put_wrapped(
        f"{len(found.off_rules):,} sessions left the rules that they declare; "
        f"{found.without_judge:,} had no live judge."
    )
    if not found.compared:
        return
    differ = len({one.session for one in found.unequal})
    put_wrapped(
        f"Recomputed beside what the source recorded: {found.compared:,} sessions, "
        f"{'all equal' if not differ else f'{differ:,} differ'}."
    )
    for one in found.unequal[:SHOWN]:
        put_wrapped(
            f"{one.session}: {one.figure} recorded {_figure(one.recorded, 4)}, recomputed "
            f"{_figure(one.recomputed, 4)}",
            indent=2,
        )


def _setting_cells(one: Setting) -> tuple[str, ...]:
    return (
        one.setting,
        number(one.n),
        number(one.correct),
        _percent(one.accuracy),
        _figure(one.mean_continues, 2),
        _figure(one.mean_reward, 3),
        _figure(one.ece, 4),
        _stratum(one.honest),
        _stratum(one.dishonest),
    )


def _put_quality(rows: Sequence[Quality]) -> None:
    """Print how good the probabilities are, and how to read that."""
    put_table(
        QUALITY,
        [
            (
                one.name,
                number(one.n),
                _percent(one.accuracy),
                *(_figure(value, 3) for value in (one.brier, one.log2_score)),
                *(_figure(value, 4) for value in (one.ece, one.ece_if_calibrated)),
            )
            for one in rows
        ],
    )
    put()
    put_wrapped(
        "Over the outcomes that hold probabilities. Brier: 0 is best, (1 - p)^2 with two options; "
        "log2 score: 0 is best, -1 is a coin's."
    )
    sources = sorted({", ".join(one.sources) for one in rows})
    if len(sources) > 1:
        put_wrapped(
            "The probabilities come from different sources and are not comparable: "
            + "; ".join(f"{one.name}: {', '.join(one.sources) or 'not told'}" for one in rows)
            + "."
        )


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f}"


def _figure(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def _stratum(one: Stratum | None) -> str:
    return "" if one is None else f"{one.correct:,} of {one.n:,}"
