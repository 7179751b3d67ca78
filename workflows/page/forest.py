"""Rows with a figure and its interval on one common axis: accuracies, paired differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workflows.page.drawing import (
    LINE,
    Anchor,
    Box,
    Drawing,
    Item,
    Mark,
    Path,
    Words,
    fitted,
    folded,
    middled,
    text_width,
    ticks,
)
from workflows.statistics.intervals import Interval

PHONE = 500.0
"""Pixels below which names stand over their rows."""
ROW, BAND, FOOT, EDGE = 26.0, 20.0, 40.0, 8.0


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One figure with its interval."""

    name: str
    told: str
    """The figure and its interval, as text."""
    centre: float | None
    """None where nothing could be computed."""
    inner: Interval | None = None
    """The interval drawn thick."""
    outer: Interval | None = None
    """A wider interval, drawn thin with ends."""
    series: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis."""

    name: str
    show: Callable[[float], str]
    """How a value is written at it."""
    zero: float | None = None
    """Where a line marks "no difference"."""
    limits: Interval | None = None
    """What it must not go beyond."""


def forest(rows: Sequence[ForestRow], axis: Axis, width: float) -> Drawing:
    """Return rows under each other over one axis; on a phone names stand over their intervals."""
    phone = width < PHONE
    names = min(300.0, max((text_width(row.name) for row in rows), default=0.0)) + 10
    figures = max((text_width(row.told) for row in rows), default=0.0) + 10
    left, right = (EDGE, width - EDGE) if phone else (names, width - figures - EDGE)
    low, high = _ends(rows, axis)

    def at(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * (right - left)

    items: list[Item] = []
    y = 4.0
    for number, row in enumerate(rows):
        head = _heading(row, width) if phone else []
        together = bool(head) and _beside(head, width)
        height = (len(head) - together) * LINE + BAND if phone else ROW
        if number % 2:
            items.append(Box((0, y), width, height, "band"))
        for place, (text, style, ends) in enumerate(head):
            at_line = y + LINE * (place + 1 - (together and ends)) - 3
            anchor: Anchor = "end" if ends else "start"
            items.append(Words((width - 2.0 if ends else 2.0, at_line), text, anchor, style))
        middle = y + height - (BAND if phone else ROW) / 2
        if not phone:
            items.append(Words((2.0, middle + 4), fitted(row.name, names - 10)))
            items.append(Words((width - 2.0, middle + 4), row.told, "end", "quiet"))
        items += _interval(row, middle, at)
        y += height
    grid = _grid(axis, (low, high), at, bottom=y, width=width)
    return Drawing(width, y + FOOT, (*_bands(items), *grid, *_others(items)))


def _bands(items: Sequence[Item]) -> list[Item]:
    return [item for item in items if isinstance(item, Box)]


def _others(items: Sequence[Item]) -> list[Item]:
    return [item for item in items if not isinstance(item, Box)]


def _heading(row: ForestRow, width: float) -> list[tuple[str, str, bool]]:
    """Return the lines over a row on a phone: its name, then its figures to the right."""
    lines = [(line, "ink", False) for line in folded(row.name, width - 4)]
    return [*lines, (fitted(row.told, width - 4), "quiet halo", True)]


def _beside(head: Sequence[tuple[str, str, bool]], width: float) -> bool:
    """Whether the figures of a row fit into the last line of its name."""
    return text_width(head[-2][0]) + text_width(head[-1][0]) + 16 <= width


def _interval(row: ForestRow, y: float, at: Callable[[float], float]) -> list[Item]:
    if row.centre is None:
        return []
    items: list[Item] = []
    style = f"s{row.series}"
    if row.outer is not None:
        low, high = at(row.outer.low), at(row.outer.high)
        items.append(Path(((low, y), (high, y)), f"thin {style}"))
        items += [Path(((x, y - 4), (x, y + 4)), f"thin {style}") for x in (low, high)]
    if row.inner is not None:
        items.append(Path(((at(row.inner.low), y), (at(row.inner.high), y)), f"thick {style}"))
    return [*items, Mark((at(row.centre), y), row.series, f"mark {style}", 5.0)]


def _ends(rows: Sequence[ForestRow], axis: Axis) -> tuple[float, float]:
    """Return the ends of the axis: all intervals, and the line of no difference, with a margin."""
    values = [] if axis.zero is None else [axis.zero]
    for row in rows:
        values += [] if row.centre is None else [row.centre]
        for interval in (row.inner, row.outer):
            values += [] if interval is None else list(interval)
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = max((high - low) * 0.06, 0.01)
    low, high = low - margin, high + margin
    if axis.limits is not None:
        low, high = max(low, axis.limits.low), min(high, axis.limits.high)
    return low, high


def _grid(
    axis: Axis,
    ends: tuple[float, float],
    at: Callable[[float], float],
    *,
    bottom: float,
    width: float,
) -> list[Item]:
    """Return the lines of an axis, its values and its name."""
    left, right = at(ends[0]), at(ends[1])
    most = max(3, int((right - left) // 60))
    items: list[Item] = []
    for value in ticks(*ends, most):
        x = at(value)
        items.append(Path(((x, 0), (x, bottom)), "grid"))
        items.append(middled(x, bottom + 15, axis.show(value), width))
    if axis.zero is not None:
        items.append(Path(((at(axis.zero), 0), (at(axis.zero), bottom)), "rule dashed"))
    items.append(Path(((left, bottom), (right, bottom)), "rule"))
    items.append(middled((left + right) / 2, bottom + 33, axis.name, width))
    return items
