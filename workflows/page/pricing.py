"""What accuracy costs: prices by themselves, the frontier, and what the same spend buys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from workflows.comparing.equal_spend import EqualSpend
from workflows.page.charts import Spot, plane
from workflows.page.figures import Prices
from workflows.page.material import Lane
from workflows.page.parts import (
    DASH,
    Plot,
    Section,
    Table,
    amount,
    listed,
    money,
    p_value,
    percentage,
    plotted,
    signed,
    signed_span,
    span,
)
from workflows.statistics.frontier import Placed
from workflows.statistics.intervals import Interval

LONG = 16
"""Rows beyond which a table is folded."""


def prices(found: Prices | None, lanes: Sequence[Lane]) -> Section | None:
    """Return accuracy against stand-alone price, and which protocols are dominated."""
    if found is None:
        return None
    name, show = _UNITS[found.unit]
    beaten = [one.row.name for one in found.placed if one.dominated_by]
    read = (
        f"Each protocol by itself, in {name}, all attempts counted. The dashed line joins those "
        "that no other beats in both accuracy and price; crossed lines are 95 % intervals."
    )
    lines = [read]
    if found.unit != "money":
        spends = [lane.spend for lane in lanes if lane.spend is not None]
        free = all(one.whole.price == 0 for one in spends)
        known = "Nothing here costs money" if free else "Prices in money are not known for all"
        lines.append(f"{known}, so {name} stand in for money.")
    lines.append(f"Dominated: {listed(beaten, 20)}." if beaten else "No protocol is dominated.")
    series = {lane.name: lane.series for lane in lanes}
    spots = spots_of(found.placed, series)
    plots: tuple[Plot, ...] = ()
    if spots:
        about = f"Accuracy against {name}; {lines[-1]}"
        plots = (plotted("price", "Accuracy and price", about, plane, spots, name, show),)
    tables = [_frontier(found, lanes, folded=bool(spots))]
    if any(_computed(one) for _, one in found.equal):
        tables.append(_equal(found))
    return Section(
        "price", "Accuracy and price", tuple(lines), plots, tuple(tables), tuple(_why_not(found))
    )


def _computed(one: EqualSpend) -> bool:
    return one.outcome is not None and one.outcome.mean is not None and one.difference is not None


def _why_not(found: Prices) -> list[str]:
    """Say what could not be computed at equal spend, each reason once."""
    told: dict[str, dict[str, list[str]]] = {}
    for protocol, one in found.equal:
        if not _computed(one):
            baselines = told.setdefault(one.why_not or "", {}).setdefault(protocol, [])
            baselines.append(one.baseline.replace("_", " "))
    lines = []
    for why, protocols in told.items():
        words = list(dict.fromkeys(word for found in protocols.values() for word in found))
        line = f"Not computable at equal spend: {' and '.join(words)} beside "
        lines.append(line + listed(list(protocols), 30) + (f"; {why}." if why else "."))
    return lines


def spots_of(placed: Sequence[Placed], series: Mapping[str, int]) -> list[Spot]:
    """Return what has a price and an accuracy as spots of a plane; `series`: colours by name."""
    return [
        Spot(
            one.row.name,
            one.row.price,
            one.row.accuracy,
            one.row.accuracy_interval,
            one.on_frontier,
            series[one.row.name],
            one.row.price_interval,
        )
        for one in placed
        if one.row.price is not None and one.row.accuracy is not None
    ]


def _frontier(found: Prices, lanes: Sequence[Lane], *, folded: bool) -> Table:
    name, show = _UNITS[found.unit]
    spends = {lane.name: lane.spend for lane in lanes}
    rows = []
    for one in found.placed:
        spend = spends[one.row.name]
        judge = None if spend is None else spend.judge.of(found.unit)
        whole = None if spend is None else spend.whole.of(found.unit)
        rows.append(
            (
                one.row.name,
                percentage(one.row.accuracy),
                span(one.row.accuracy_interval),
                DASH if one.row.price is None else show(one.row.price),
                _between(one.row.price_interval, show),
                percentage(judge / whole if judge is not None and whole else None),
                DASH if spend is None else amount(round(spend.whole.seconds, 1)),
                "yes" if one.on_frontier else "no" if one.comparable else "not known",
                listed(list(one.dominated_by), 20),
                listed(list(one.clearly), 20),
            )
        )
    header = (
        *("protocol", "accuracy, %", "95 % interval", name, "95 % interval of the price"),
        *("of it the judge, %", "seconds in all", "on the frontier", "dominated by"),
        "also by both intervals",
    )
    note = "Seconds: with nothing else going on, turn by turn the slowest ask."
    return Table("Accuracy and price", header, tuple(rows), folded=folded, note=note)


def _between(interval: Interval | None, show: Callable[[float], str]) -> str:
    return DASH if interval is None else f"{show(interval.low)} {DASH} {show(interval.high)}"


def _equal(found: Prices) -> Table:
    """Return what plurality, best-of-n and the judge alone are worth at the same spend."""
    name, show = _UNITS[found.unit]
    rows = []
    for protocol, one in found.equal:
        words = one.baseline.replace("_", " ")
        spend = DASH if one.spend is None else show(one.spend)
        outcome, less = one.outcome, one.difference
        if outcome is None or less is None or not _computed(one):
            continue
        whole = less.interval if less.method != "none" else None
        rows.append(
            (
                protocol,
                words,
                f"{percentage(outcome.mean)} ({span(outcome.interval)})",
                spend,
                DASH if one.baseline_spend is None else show(one.baseline_spend),
                amount(one.draws),
                amount(outcome.n),
                amount(outcome.missing),
                f"{signed(less.mean)} {signed_span(whole)}",
                p_value(less.p_value),
            )
        )
    header = (
        *("protocol", "what its spend buys", "accuracy, %", f"spend, {name}", "used", "draws"),
        *("n", "missing", "protocol less this, points", "p"),
    )
    note = (
        "The same experts at the same stand-alone spend, from the run's own draws. Best of n is "
        "right where any draw is: no way of choosing can do better. p is not adjusted."
    )
    return Table("Equal spend", header, tuple(rows), 2, folded=len(rows) > LONG, note=note)


def _short(value: float) -> str:
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


_UNITS: dict[str, tuple[str, Callable[[float], str]]] = {
    "money": ("US dollars a question", money),
    "tokens": ("tokens a question", _short),
    "calls": ("calls a question", _short),
}
