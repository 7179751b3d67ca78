"""The routing report for people: what each rule of recruitment was worth, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workflows.cli.screen import DASH, number, put, put_table
from workflows.cli.tables import p_text, put_wrapped
from workflows.comparing.findings import points, signed_interval

if TYPE_CHECKING:
    from workflows.comparing.table import Difference
    from workflows.recruiting.routing_report import RoutingReport, RuleReport
    from workflows.recruiting.strong_weak import StrongWeak

WORTH = ("recruits by", "holds", "picks", "regret", "vs random", "p", "vs best single", "p")
TOOK = (
    *("recruits by", "experts", "calls", "price", "set-up", "load", "most asked"),
    *("loads", "grouped", "saved"),
)
PAIRS = ("strong or weak", "n", "strong", "weak", "share", "PGR", "APGR", "CPT 50", "CPT 80")
_LONGEST = 28


def put_routing(found: RoutingReport) -> None:
    """Print what recruiting was worth, rule by rule, best first."""
    rules = sorted(found.rules, key=lambda one: -1.0 if one.accuracy is None else -one.accuracy)
    rules = [one for one in rules if one.n] + [one for one in rules if not one.n]
    put_table(WORTH, [_worth(one) for one in rules])
    put()
    put_wrapped(
        "In per cent of the questions. Holds: the team holds an expert whose own answer is right; "
        "picks: the same where the pool holds one. Regret: points that the oracle, any expert "
        "right, is ahead. Then paired differences in points from a random expert and from the best "
        "single one."
    )
    put()
    put_table(TOOK, [_took(one) for one in rules])
    put()
    units = sorted({one.price_unit for one in rules if one.price is not None})
    put_wrapped(
        "A question: different experts, calls, and what the team's answers cost by the evidence"
        + (f" ({', '.join(units)})" if units else "")
        + ". Set-up: calls that were paid once, to measure the pool. Load: entropy over the "
        "experts, 100 is even; most asked: the expert with the largest share. Loads: models to "
        "load where one fits at a time, session by session, and grouped by expert."
    )
    put_wrapped(_all_loads(found))
    if found.pairs:
        put()
        _put_pairs(found.pairs)


def _worth(one: RuleReport) -> tuple[str, ...]:
    return (
        one.name,
        _percent(one.holds_right),
        _percent(one.picks_right),
        DASH if one.regret is None else f"{100 * one.regret.mean:.1f}",
        *_gain(one.over_random),
        *_gain(one.over_best_single),
    )


def _gain(found: Difference | None) -> tuple[str, str]:
    if found is None:
        return DASH, DASH
    return f"{points(found.mean)} {signed_interval(found.ci_low, found.ci_high)}", p_text(found.p)


def _took(one: RuleReport) -> tuple[str, ...]:
    first, share = next(iter(one.load.items()), ("", 0.0))
    return (
        one.name,
        f"{one.distinct:.2f}",
        f"{one.calls:.2f}",
        DASH
        if one.price is None
        else f"{one.price:,.4g}"
        if one.price < 1
        else f"{one.price:,.0f}",
        number(one.set_up.calls),
        DASH if one.evenness is None else f"{100 * one.evenness:.0f}",
        f"{first[:_LONGEST]} {100 * share:.0f} %" if first else DASH,
        number(one.loads.in_order),
        number(one.loads.grouped),
        f"{100 * one.loads.saved:.1f} %",
    )


def _all_loads(found: RoutingReport) -> str:
    loads = found.loads
    return (
        f"The whole run: {loads.in_order:,} loads session by session, {loads.grouped:,} grouped by "
        f"expert, {100 * loads.saved:.1f} % saved."
    )


def _put_pairs(pairs: Sequence[StrongWeak]) -> None:
    put_table(
        PAIRS,
        [
            (
                one.name,
                number(one.n),
                _percent(one.strong_accuracy),
                _percent(one.weak_accuracy),
                _percent(one.strong_share),
                *(_figure(value) for value in (one.pgr, one.apgr)),
                *(_percent(value) for value in (one.cpt_50, one.cpt_80)),
            )
            for one in pairs
        ],
    )
    put()
    for one in pairs:
        gap = signed_interval(one.gap_low, one.gap_high)
        told = f"{one.name}: {one.strong} is the strong expert, {one.weak} the weak one"
        if one.pgr is None:
            told += f"; the gap between them is not shown to be one, {gap} points, so nothing is"
            told += " recovered"
        put_wrapped(f"{told}.")
    put_wrapped(
        "PGR: the part of the gap that is recovered; APGR: its mean over all shares of questions "
        "for the strong expert, 0.50 for lots; CPT: the share in per cent that recovers 50 or 80 % "
        "of it."
    )


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f}"


def _figure(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"
