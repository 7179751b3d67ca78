"""The verb that tells what a run shows: report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workflows.cli import options
from workflows.cli.screen import (
    DASH,
    command_name,
    number,
    put,
    put_json,
    put_table,
    store_option,
)
from workflows.cli.tables import p_text, put_pairs, put_rows, put_wrapped
from workflows.comparing.findings import Pair, points, signed_interval
from workflows.comparing.wording import counted_of
from workflows.simulated import simulated_line

if TYPE_CHECKING:
    from workflows.comparing.report import ImportedSessions, Quality, Report
    from workflows.nyu.comparison import Compared
    from workflows.nyu.figures import Setting, Stratum
    from workflows.statistics.intervals import Interval

SETTINGS = ("setting", "n", "correct", "accuracy", "continues", "reward", "ECE", "if calibrated")
STRATA = ("honest", "dishonest")
QUALITY = ("protocol", "n", "accuracy", "Brier", "log2 score", "ECE", "ECE if calibrated")
SHOWN = 5
PAIRS = 45
"""With more pairs, which is with more than ten rows, a report names the command that lists them."""


def report(
    run: options.RunName,
    store: options.Store = "moot.db",
    *,
    html: options.Html = None,
    md: options.Markdown = None,
    plots: options.Plots = None,
    open_: options.OpenPage = False,
    as_json: options.Json = False,
) -> None:
    """Report a run: its table, how good its probabilities are, what recruiting was worth.

    Of imported sessions: the published figures.

    With --html the same as a page with plots and transcripts.
    Example: moot report oversight --store demo.db --html oversight.html
    """
    from workflows.cli.pages import put_pages
    from workflows.comparing.report import report as make

    wrote = put_pages([run], store, html=html, markdown=md, plots=plots, open_page=open_)
    if wrote and not as_json:
        return
    found = make(run, store=store)
    if as_json:
        put_json(found.as_json())
    else:
        put_report(found, store)


def put_report(found: Report, store: str) -> None:
    """Print the report of a run, which `store` holds."""
    if found.imported is None:
        pairs = found.pairs()
        put_rows(found.rows, found.clusters, simulated=found.simulated, pairs=pairs)
        _put_pairs(pairs, found.run, store)
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


def _put_pairs(pairs: Sequence[Pair], run: str, store: str) -> None:
    """Print the paired differences, or where many are to be found."""
    if not pairs:
        return
    put()
    if len(pairs) <= PAIRS:
        put_pairs(pairs)
        return
    shown = [pair.could_show for pair in pairs if pair.could_show is not None]
    span = f"{100 * min(shown):.1f} to {100 * max(shown):.1f} points" if shown else "nothing"
    put_wrapped(
        f"{len(pairs):,} pairs: the smallest true difference that these questions show with 80 % "
        f"power is {span}, by the pair; for each of them: {command_name()} compare {run} "
        f"{store_option(store)}"
    )


def _put_imported(found: ImportedSessions) -> None:
    """Print the figures of imported sessions, and what they are over."""
    strata = any(one.honest is not None for one in found.settings)
    header = (*SETTINGS, *STRATA) if strata else SETTINGS
    put_table(header, [_setting_cells(one)[: len(header)] for one in found.settings])
    put()
    counted = sum(one.n for one in found.settings)
    put_wrapped(
        f"Over the {counted:,} of {counted_of(found.sessions, 'session')} that are in the paper "
        "and had a live judge. Correct: more than a half for the right answer at the end, a tie is "
        "wrong. Continues: how often the judge went on; reward: log2 p(correct) less its price, in "
        "bits. If calibrated: the ECE that a calibrated judge with the same beliefs would show."
    )
    put_wrapped(
        f"{counted_of(len(found.off_rules), 'session')} left the declared rules; "
        f"{found.without_judge:,} had no live judge."
    )
    if found.comparison is not None:
        put()
        _put_comparison(found.comparison)
        put()
    if not found.compared:
        return
    differ = len({one.session for one in found.unequal})
    put_wrapped(
        f"Recomputed beside what the source recorded: {counted_of(found.compared, 'session')}, "
        f"{'all equal' if not differ else f'{differ:,} differ'}."
    )
    for one in found.unequal[:SHOWN]:
        put_wrapped(
            f"{one.session}: {one.figure} recorded {_figure(one.recorded, 4)}, recomputed "
            f"{_figure(one.recomputed, 4)}",
            indent=2,
        )


def _put_comparison(found: Compared) -> None:
    """Print the difference of two settings, by what each way of counting allows for."""
    one, judges, crossed, paired = (found.proportions, found.by_judge, found.two_way, found.paired)
    put_wrapped(
        f"{found.first} less {found.second}, in points: {points(one.difference)} over "
        f"{found.n[0]:,} and {counted_of(found.n[1], 'session')}."
    )
    put_wrapped(
        f"As if all sessions were independent: p = {p_text(one.p)}, {p_text(one.p_yates)} with "
        "Yates' correction.",
        indent=2,
    )
    put_wrapped(
        f"Judges resampled: {_points(judges.interval)} ({counted_of(judges.clusters, 'judge')}, "
        f"10,000 resamples, seed {judges.seed}, no correction for few judges).",
        indent=2,
    )
    put_wrapped(
        f"Judge and story crossed: {_points(crossed.interval)} (Cameron, Gelbach and Miller; t "
        f"with {counted_of(crossed.degrees, 'degree', 'degrees')} of freedom; "
        f"{counted_of(crossed.rows, 'judge')}, "
        f"{counted_of(crossed.columns, 'story', 'stories')}; small-sample correction "
        f"{crossed.correction}).",
        indent=2,
    )
    both = f"{found.questions_with_both:,} of {counted_of(found.questions, 'question')} have both"
    if paired is None or found.over_questions is None:
        put_wrapped(f"{both}.", indent=2)
        return
    put_wrapped(
        f"Paired: {both}; {points(found.over_questions)} over these questions, "
        f"{points(paired.mean)} over their {counted_of(paired.clusters, 'story', 'stories')} "
        f"{_points(paired.interval if paired.method != 'none' else None)} "
        f"({paired.method}, p = {p_text(paired.p_value)}).",
        indent=2,
    )


def _points(interval: Interval | None) -> str:
    return "no interval" if interval is None else signed_interval(*interval)


def _setting_cells(one: Setting) -> tuple[str, ...]:
    return (
        one.setting,
        number(one.n),
        number(one.correct),
        _percent(one.accuracy),
        _figure(one.mean_continues, 2),
        _figure(one.mean_reward, 3),
        _figure(one.ece, 4),
        _figure(one.ece_if_calibrated, 4),
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
