"""The statistics that a page shows: one place that knows which modules compute them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from protocols.question import LABELS
from workflows.comparing.equal_spend import EqualSpend, equal_spend
from workflows.comparing.findings import Pair, compare_rows, in_family
from workflows.comparing.spend import Unit, chosen_unit, priced
from workflows.page.material import Lane
from workflows.statistics.calibration import Forecast, ReliabilityBin, reliability_table
from workflows.statistics.frontier import Placed, frontier
from workflows.statistics.intervals import Interval

RIVALS = ("best_single", "plurality")
"""The rows that every protocol is compared with first."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Where protocols stand in accuracy and stand-alone price."""

    unit: Unit
    placed: tuple[Placed, ...]
    equal: tuple[tuple[str, EqualSpend], ...]
    """(name of the protocol on the page, what the same spend buys)."""


def pairs_of(lanes: Sequence[Lane], clusters: Mapping[str, str]) -> list[Pair]:
    """Return the paired differences of the family of rows; see :func:`in_family`."""
    several = len({lane.material.name for lane in lanes}) > 1
    ordered = sorted(lanes, key=lambda lane: not lane.is_protocol)
    named = in_family([(lane.name, lane.row) for lane in ordered], several=several)
    return compare_rows(named, clusters)


def prices_of(lanes: Sequence[Lane], clusters: Mapping[str, str]) -> Prices | None:
    """Return accuracy and stand-alone price of every protocol; None where nothing was spent."""
    spends = {lane.name: lane.spend for lane in lanes}
    known = [one for one in spends.values() if one is not None]
    unit = chosen_unit(known)
    if not any(one.whole.of(unit) for one in known):
        return None
    rows = [
        priced(lane.name, lane.row, found, unit, clusters)
        for lane in lanes
        if (found := spends[lane.name]) is not None
    ]
    return Prices(unit, tuple(frontier(rows)), tuple(_equal(lanes, unit)))


def _equal(lanes: Sequence[Lane], unit: Unit) -> Iterator[tuple[str, EqualSpend]]:
    for lane in lanes:
        if lane.is_protocol:
            made = lane.material
            for found in equal_spend([lane.row], made.spending, made.key, unit):
                yield lane.name, found


def interval_of(lane: Lane) -> Interval | None:
    """Return the interval of a row's accuracy; None where it has none."""
    row = lane.row
    if row.ci_low is None or row.ci_high is None or row.interval == "exact":
        return None
    return Interval(row.ci_low, row.ci_high)


def reliability_of(lane: Lane) -> tuple[ReliabilityBin, ...]:
    """Return the reliability table of a protocol; nothing without probabilities."""
    return reliability_table(forecasts_of(lane))


def forecasts_of(lane: Lane) -> list[Forecast]:
    """Return the distributions of a protocol, each with the place of the right option."""
    gold, found = lane.material.key.gold, []
    for one in lane.sessions:
        label = gold.get(one.question, "")
        place = LABELS.find(label) if len(label) == 1 else -1
        shares = one.outcome.distribution if one.outcome else None
        if shares and 0 <= place < len(shares):
            found.append(Forecast(shares, place))
    return found


def bounds_of(lane: Lane) -> Interval | None:
    """Return a row's accuracy with every missing question wrong, and right; None of nothing."""
    values = lane.row.values
    if not values:
        return None
    total = sum(value for value in values.values() if value is not None)
    return Interval(total / len(values), (total + lane.row.failed) / len(values))
