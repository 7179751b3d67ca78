"""What protocols cost by themselves, and what the same spend buys otherwise, for people."""

from __future__ import annotations

from collections.abc import Sequence

from workflows.cli.screen import DASH, number, put, put_table
from workflows.cli.tables import put_wrapped
from workflows.comparing.comparison import Comparison
from workflows.comparing.equal_spend import EqualSpend
from workflows.comparing.findings import points, signed_interval
from workflows.comparing.spend import NAMES, ProtocolSpend
from workflows.statistics.frontier import Placed

SPEND = ("protocol", "price", "calls", "tokens in", "out", "reasoning", "seconds", "judge", "paid")
FRONTIER = ("protocol", "accuracy", "a question", "95 % interval", "frontier")
EQUAL = ("baseline", "at the spend of", "draws", "accuracy", "95 % interval", "points")


def put_priced(comparison: Comparison, unit: str | None = None) -> None:
    """Print what was spent, the frontier, and the baselines at equal spend.

    Raises:
        Mistake: there is no such unit.
    """
    chosen, spends = comparison.unit(unit), comparison.spends()
    if not any(one.sessions for one in spends.values()):
        return
    put()
    put_wrapped(
        "A question by itself, at list prices in US dollars, all attempts counted; seconds: turn "
        "by turn the slowest ask. Judge and paid: of all its sessions."
    )
    put()
    put_table(SPEND, [_spend_cells(name, one) for name, one in spends.items()])
    placed = [one for one in comparison.frontier(chosen) if one.comparable]
    if len(placed) > 1:
        put()
        put_wrapped(f"Accuracy against stand-alone price, in {NAMES[chosen]}.")
        put()
        put_table(FRONTIER, [_frontier_cells(one) for one in placed])
    _put_equal(comparison.equal_spend(chosen), NAMES[chosen])


def _put_equal(found: Sequence[EqualSpend], unit: str) -> None:
    if not found:
        return
    put()
    computed = [one for one in found if not one.why_not]
    if computed:
        put_wrapped(
            f"At equal spend in {unit}, from the draws that this run holds. Best of n: any draw is "
            "right, which no way of choosing can beat. Points: the protocol less the baseline."
        )
        put()
        put_table(EQUAL, [_equal_cells(one) for one in computed], left=2)
    for one in found:
        if one.why_not:
            put_wrapped(f"{one}.")


def _spend_cells(name: str, spent: ProtocolSpend) -> tuple[str, ...]:
    one = spent.a_question
    if one is None:
        return (name, *[DASH] * (len(SPEND) - 1))
    return (
        name,
        _dollars(one.price),
        *(_short(value) for value in (one.calls, one.prompt, one.output, one.reasoning)),
        f"{one.seconds:.2f}",
        _dollars(spent.judge.price) if spent.judge.calls else "",
        _dollars(spent.whole.paid),
    )


def _frontier_cells(one: Placed) -> tuple[str, ...]:
    interval = one.row.price_interval
    beaten = f"beaten by {', '.join(one.dominated_by)}"
    return (
        one.row.name,
        DASH if one.row.accuracy is None else f"{100 * one.row.accuracy:.1f}",
        DASH if one.row.price is None else f"{one.row.price:,.6g}",
        "" if interval is None else f"{interval.low:,.6g} {DASH} {interval.high:,.6g}",
        "yes" if one.on_frontier else beaten,
    )


def _equal_cells(one: EqualSpend) -> tuple[str, ...]:
    outcome, difference = one.outcome, one.difference
    assert outcome is not None
    assert outcome.mean is not None
    assert difference is not None
    low, high = outcome.interval or (None, None)
    interval = "" if low is None or high is None else f"{100 * low:.1f} {DASH} {100 * high:.1f}"
    return (
        one.baseline.replace("_", " "),
        one.protocol,
        number(one.draws or 0),
        f"{100 * outcome.mean:.1f}",
        interval,
        f"{points(difference.mean)} {signed_interval(*difference.interval)}",
    )


def _dollars(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.4g}"


def _short(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
