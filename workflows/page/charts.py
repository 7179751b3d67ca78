"""Charts with two axes: accuracy against price, lines over steps, reliability, and flips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot, log10

from workflows.page.drawing import (
    LINE,
    SERIES,
    Box,
    Drawing,
    Item,
    Mark,
    Path,
    Point,
    Words,
    fitted,
    middled,
    text_width,
    ticks,
)
from workflows.page.forest import PHONE
from workflows.statistics.intervals import Interval

LEFT, TOP, FOOT = 46.0, 8.0, 42.0
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Spot:
    """One protocol in a plane."""

    name: str
    x: float
    y: float
    interval: Interval | None
    """Of `y`."""
    best: bool
    """Whether nothing is both cheaper and better."""
    series: int
    x_interval: Interval | None = None
    """Of `x`; drawn as far as the axis goes."""


@dataclass(frozen=True, slots=True)
class Course:
    """A line over steps."""

    name: str
    values: tuple[float | None, ...]
    """By step; None leaves a gap."""
    series: int


@dataclass(frozen=True, slots=True)
class Bin:
    """The forecasts of one confidence."""

    confidence: float
    right: float
    n: int
    interval: Interval


@dataclass(frozen=True, slots=True)
class Flip:
    """How often a protocol left its first answers for better or worse."""

    name: str
    to_right: float
    to_wrong: float


def percent(value: float) -> str:
    """Return a share as a whole percentage."""
    return f"{round(100 * value):d} %"


def plane(
    spots: Sequence[Spot], x_name: str, x_show: Callable[[float], str], width: float
) -> Drawing:
    """Return accuracy against price; what nothing beats on both is joined by a line."""
    height = 300.0 if width < PHONE else 380.0
    right, bottom = width - 12.0, height - FOOT
    prices = [spot.x for spot in spots]
    logs = min(prices) > 0 and max(prices) / min(prices) > 12
    ends = _padded(prices, logs=logs)
    low, high = _share_ends([v for s in spots for v in (s.y, *(s.interval or ()))])

    def x_at(value: float) -> float:
        place = log10(value) if logs else value
        return LEFT + (place - ends[0]) / (ends[1] - ends[0]) * (right - LEFT)

    def y_at(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - TOP)

    items = _share_grid((low, high), y_at, right)
    most = max(3, int((right - LEFT) // 80))
    for value in _decades(ends) if logs else ticks(*ends, most):
        items.append(Path(((x_at(value), TOP), (x_at(value), bottom)), "grid"))
        items.append(middled(x_at(value), bottom + 16, x_show(value), width))
    items.append(Path(((LEFT, bottom), (right, bottom)), "rule"))
    name = x_name + (", each step ten times" if logs else "")
    items.append(middled((LEFT + right) / 2, bottom + 35, name, width))
    edge = sorted((spot for spot in spots if spot.best), key=lambda spot: spot.x)
    if len(edge) > 1:
        items.append(Path(tuple((x_at(s.x), y_at(s.y)) for s in edge), "line ink dashed"))
    for spot in spots:
        if spot.interval is not None:
            x = x_at(spot.x)
            ends_y = y_at(spot.interval.low), y_at(spot.interval.high)
            items.append(Path(((x, ends_y[0]), (x, ends_y[1])), f"thin s{spot.series}"))
        if spot.x_interval is not None:
            least = 10 ** ends[0] if logs else ends[0]
            reach = [x_at(max(value, least)) for value in spot.x_interval]
            y = y_at(spot.y)
            items.append(Path(((reach[0], y), (min(reach[1], right), y)), f"thin s{spot.series}"))
    places = [(x_at(spot.x), y_at(spot.y)) for spot in spots]
    for spot, at in zip(spots, places, strict=True):
        items.append(Mark(at, spot.series, f"mark s{spot.series}", 5.5))
    joined = [(x_at(s.x), y_at(s.y)) for s in edge]
    frame = (LEFT, TOP, right, bottom)
    items += _labels([spot.name for spot in spots], places, frame, _along(joined))
    return Drawing(width, height, tuple(items))


def lines(courses: Sequence[Course], steps: Sequence[str], x_name: str, width: float) -> Drawing:
    """Return shares over steps, one line a protocol, with a legend over them."""
    legend, top = legend_of([(c.name, c.series) for c in courses], width)
    height = top + (220.0 if width < PHONE else 280.0)
    right, bottom = width - 14.0, height - FOOT
    low, high = _share_ends([v for c in courses for v in c.values if v is not None])
    gap = (right - LEFT - 28) / max(len(steps) - 1, 1)

    def y_at(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top - TOP)

    items = [*legend, *_share_grid((low, high), y_at, right)]
    xs = [LEFT + 14 + gap * place for place in range(len(steps))]
    for x, step in zip(xs, steps, strict=True):
        items.append(middled(x, bottom + 16, fitted(step, max(gap, 40)), width))
    items.append(Path(((LEFT, bottom), (right, bottom)), "rule"))
    items.append(middled((LEFT + right) / 2, bottom + 35, x_name, width))
    for course in courses:
        points = [(x, y_at(v)) for x, v in zip(xs, course.values, strict=True) if v is not None]
        style = f"s{course.series}"
        if len(points) > 1:
            items.append(Path(tuple(points), f"line {style}"))
        items += [Mark(point, course.series, f"mark {style}") for point in points]
    return Drawing(width, height, tuple(items))


def reliability(bins: Sequence[Bin], series: int, width: float) -> Drawing:
    """Return the share right over the confidence, with the line of a calibrated judge."""
    size = min(width, 320.0)
    right, bottom, top = size - 24.0, size - FOOT, TOP

    def x_at(value: float) -> float:
        return LEFT + value * (right - LEFT)

    def y_at(value: float) -> float:
        return bottom - value * (bottom - top)

    items = _share_grid((0.0, 1.0), y_at, right)
    for value in (0.0, 0.5, 1.0):
        items.append(middled(x_at(value), bottom + 16, percent(value), size))
    items.append(Path(((LEFT, bottom), (right, bottom)), "rule"))
    items.append(middled((LEFT + right) / 2, bottom + 35, "confidence", size))
    items.append(Path(((x_at(0), y_at(0)), (x_at(1), y_at(1))), "rule dashed"))
    most = max((one.n for one in bins), default=1)
    style = f"s{series}"
    for one in bins:
        x = x_at(one.confidence)
        ends = y_at(one.interval.low), y_at(one.interval.high)
        items.append(Path(((x, ends[0]), (x, ends[1])), f"thin {style}"))
        area = 3.0 + 5.0 * (one.n / most) ** 0.5
        items.append(Mark((x, y_at(one.right)), series, f"mark {style}", area))
    return Drawing(size, size, tuple(items))


def flips(found: Sequence[Flip], width: float) -> Drawing:
    """Return bars from a middle line: to the left turned wrong, to the right turned right."""
    phone = width < PHONE
    names = 0.0 if phone else min(260.0, max(text_width(one.name) for one in found) + 12)
    middle, row = names + (width - names) / 2, 40.0 if phone else 26.0
    most = max(max(one.to_right, one.to_wrong) for one in found) or 1.0
    room = (width - names) / 2 - 44
    y = 26.0
    items: list[Item] = [
        Words((middle - 8, 14), "right → wrong", "end", "quiet"),
        Words((middle + 8, 14), "wrong → right", "start", "quiet"),
    ]
    for one in found:
        bar = y + (18 if phone else 4)
        at = (2.0, y + 13) if phone else (2.0, bar + 13)
        items.append(Words(at, fitted(one.name, width - 4 if phone else names - 12)))
        wrong, right = (room * value / most for value in (one.to_wrong, one.to_right))
        items.append(Box((middle - wrong, bar), wrong, 16, "bad"))
        items.append(Box((middle, bar), right, 16, "ok"))
        items.append(Words((middle - wrong - 5, bar + 12), f"{one.to_wrong:g}", "end"))
        items.append(Words((middle + right + 5, bar + 12), f"{one.to_right:g}"))
        y += row
    items.append(Path(((middle, 20), (middle, y)), "rule"))
    return Drawing(width, y + 6, tuple(items))


def _share_ends(values: Sequence[float]) -> tuple[float, float]:
    """Return ends in full tenths that hold all values, at least two tenths apart."""
    low = max(0.0, (int(min(values, default=0.0) * 10 + 1e-9)) / 10)
    high = min(1.0, -(int(-max(values, default=1.0) * 10 - 0.999)) / 10)
    if high - low < 0.2:
        low, high = max(0.0, low - 0.1), min(1.0, high + 0.1)
    return low, high


def _share_grid(ends: tuple[float, float], y_at: Scale, right: float) -> list[Item]:
    items: list[Item] = []
    for value in ticks(*ends, 6):
        items.append(Path(((LEFT, y_at(value)), (right, y_at(value))), "grid"))
        items.append(Words((LEFT - 6, y_at(value) + 4), percent(value), "end", "quiet"))
    return items


def _padded(values: Sequence[float], *, logs: bool) -> tuple[float, float]:
    """Return the ends of the axis of prices: from 0, or over logarithms with a margin."""
    if not logs:
        return 0.0, max(values) * 1.12 or 1.0
    low, high = log10(min(values)), log10(max(values))
    return low - 0.12, high + 0.3


def _decades(ends: tuple[float, float]) -> list[float]:
    first, last = int(-(-ends[0] // 1)), int(ends[1] // 1)
    found = [10.0**place for place in range(first, last + 1)]
    return found or [10.0 ** ((ends[0] + ends[1]) / 2)]


def legend_of(names: Sequence[tuple[str, int]], width: float) -> tuple[list[Item], float]:
    """Return a legend in as many lines as it needs, and how high it is."""
    items: list[Item] = []
    x, y = 8.0, 12.0
    for name, series in names:
        text = fitted(name, width - 40)
        needs = text_width(text) + 30
        if x > 8 and x + needs > width:
            x, y = 8.0, y + LINE + 2
        items.append(Mark((x + 4, y - 4), series, f"mark s{series}"))
        items.append(Words((x + 14, y), text))
        x += needs
    return items, y + 10 if names else 0.0


def _labels(
    names: Sequence[str],
    places: Sequence[Point],
    frame: tuple[float, float, float, float],
    line: Sequence[Point],
) -> list[Item]:
    """Return names beside their marks, each where it covers no name, no mark and no line's point.

    Where there is no room, a name stays away: the table beside the plot holds all of them.
    """
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    taken += [(x - 1, y - 1, x + 1, y + 1) for x, y in line]
    items: list[Item] = []
    for name, (x, y) in zip(names, places, strict=True):
        wide = text_width(name)
        offsets = [(sx, y) for y in (-7, 17) for sx in (8, -8 - wide)]  # beside both intervals
        offsets += [(-wide / 2, 4 + up * s) for up in (16, 30) for s in (-1, 1)]
        offsets += [(10, 4), (-10 - wide, 4)]
        for dx, dy in offsets:
            box = (x + dx, y + dy - 11, x + dx + wide, y + dy + 3)
            inside = box[0] >= frame[0] and box[2] <= frame[2] and frame[1] <= box[1]
            if inside and box[3] <= frame[3] and not any(_overlap(box, one) for one in taken):
                taken.append(box)
                items.append(Words((x + dx, y + dy), name, style="halo"))
                break
    return items


def _along(points: Sequence[Point], step: float = 6.0) -> list[Point]:
    """Return points of a line, about `step` pixels apart."""
    found: list[Point] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        count = max(1, int(hypot(x1 - x0, y1 - y0) / step))
        found += [
            (x0 + (x1 - x0) * n / count, y0 + (y1 - y0) * n / count) for n in range(count + 1)
        ]
    return found


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def distinct(count: int) -> bool:
    """Whether so many series can be told apart."""
    return count <= SERIES
