"""A comparison as one picture: paired differences over one axis, and accuracy against price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import Mistake
from workflows.comparing.findings import Pair, points, signed_interval
from workflows.comparing.spend import NAMES
from workflows.page.charts import plane
from workflows.page.drawing import WIDE, Box, Drawing, Item, Mark, Words, svg
from workflows.page.drawing import Path as Line
from workflows.page.forest import Axis, ForestRow, forest
from workflows.page.png import write_png
from workflows.page.pricing import spots_of
from workflows.page.render import write
from workflows.page.styles import file_css

if TYPE_CHECKING:
    from workflows.comparing.comparison import Comparison

DRAWN = 24
"""Pairs that are drawn."""
HEAD, GAP, MARGIN = 26.0, 18.0, 10.0
"""Pixels: of a heading, between the two parts, and around them."""


def write_plot(comparison: Comparison, path: Path, unit: str | None = None) -> Path:
    """Draw a comparison into a file; see :meth:`workflows.comparing.comparison.Comparison.plot`.

    Raises:
        Mistake: there is nothing to draw, another ending, or the file cannot be written.
    """
    if path.suffix not in (".svg", ".png"):
        raise Mistake(f"{path}: a plot is written as .svg or .png")
    pairs, title = comparison.pairs(), " and ".join(run.name for run in comparison.runs)
    parts = [_differences(pairs)] if pairs else []
    parts += _prices(comparison, unit)
    if not parts:
        raise Mistake(f"{title}: there is nothing to draw, {comparison.apart()}")
    drawing = stacked(parts)
    if path.suffix == ".svg":
        about = "; ".join(_told(pair) for pair in pairs[:DRAWN]) or "accuracy against price"
        return write(path, svg(drawing, title, about, id="comparison", style=file_css()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(drawing, path)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written ({error.strerror or error})") from None
    return path


def stacked(parts: Sequence[tuple[str, Drawing]]) -> Drawing:
    """Return drawings under each other, each with its heading."""
    items: list[Item] = []
    y = MARGIN
    for heading, part in parts:
        items.append(Words((MARGIN, y + 13), heading))
        y += HEAD
        items += [_moved(item, MARGIN, y) for item in part.items]
        y += part.height + GAP
    width = max(part.width for _, part in parts)
    return Drawing(width + 2 * MARGIN, y - GAP + MARGIN, tuple(items))


def _moved(item: Item, x: float, y: float) -> Item:
    if isinstance(item, Line):
        return replace(item, points=tuple((px + x, py + y) for px, py in item.points))
    assert isinstance(item, Box | Mark | Words)
    return replace(item, at=(item.at[0] + x, item.at[1] + y))


def _differences(pairs: Sequence[Pair]) -> tuple[str, Drawing]:
    rows = [
        ForestRow(
            f"{pair.first} less {pair.second}",
            f"{points(pair.difference.mean)} {signed_interval(*pair.interval_holm)}",
            pair.difference.mean,
            pair.difference.interval if pair.difference.method != "none" else None,
            pair.interval_holm if pair.interval_holm.high - pair.interval_holm.low < 2 else None,
        )
        for pair in pairs[:DRAWN]
    ]
    heading = "Paired differences in points: thick 95 %, thin adjusted by Holm"
    if len(pairs) > DRAWN:
        heading += f" ({DRAWN} of {len(pairs):,} pairs)"
    return heading, forest(rows, Axis("difference in points", points, 0.0), WIDE)


def _prices(comparison: Comparison, unit: str | None) -> list[tuple[str, Drawing]]:
    """Return accuracy against price, where there is a price to show."""
    chosen, placed = comparison.unit(unit), comparison.frontier(unit)
    spots = spots_of(placed, {one.row.name: series % 8 for series, one in enumerate(placed)})
    if not spots:
        return []
    name = f"{NAMES[chosen]} a question"
    show: Callable[[float], str] = _dollars if chosen == "money" else _count
    return [(f"Accuracy against {name}, by itself", plane(spots, name, show, WIDE))]


def _dollars(value: float) -> str:
    return f"${value:,.6g}"


def _count(value: float) -> str:
    return f"{value:,.4g}"


def _told(pair: Pair) -> str:
    return f"{pair.first} less {pair.second} {points(pair.difference.mean)} points"
