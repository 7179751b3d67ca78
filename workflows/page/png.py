"""Drawings as PNG, drawn by matplotlib in the colours of the light page."""

from __future__ import annotations

from pathlib import Path as File

from protocols.errors import Mistake
from workflows.page.drawing import FONT, Box, Drawing, Item, Mark, Path, Words, outline
from workflows.page.styles import LIGHT

DOTS = 2
"""Dots of the picture for a pixel of the drawing."""
_POINTS = 72.0 / 100.0
"""Points in a pixel, at the 100 pixels an inch that figures are made at."""


def write_png(drawing: Drawing, path: File) -> None:
    """Write a drawing into a file.

    Raises:
        Mistake: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise Mistake(
            "PNG files need matplotlib: pip install 'moot[plots]'; SVG files need nothing"
        ) from None
    figure = Figure(figsize=(drawing.width / 100, drawing.height / 100), dpi=100 * DOTS)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, drawing.width)
    axes.set_ylim(drawing.height, 0)
    axes.set_axis_off()
    figure.set_facecolor(LIGHT["paper"])
    for item in drawing.items:
        _draw(axes, item)
    figure.savefig(path, format="png", metadata={"Software": None})


def _draw(axes: object, item: Item) -> None:
    from matplotlib.axes import Axes
    from matplotlib.patches import Circle, Polygon, Rectangle

    assert isinstance(axes, Axes)
    colour, thick, dashes = look(item.style)
    if isinstance(item, Path):
        xs, ys = [x for x, _ in item.points], [y for _, y in item.points]
        style = (0, (4, 3)) if dashes else "-"
        axes.plot(xs, ys, color=colour, linewidth=thick * _POINTS, linestyle=style)
    elif isinstance(item, Box):
        axes.add_patch(Rectangle(item.at, item.width, item.height, color=colour, linewidth=0))
    elif isinstance(item, Words):
        where = {"start": "left", "middle": "center", "end": "right"}[item.anchor]
        axes.text(
            *item.at,
            item.text.replace("$", r"\$"),
            color=colour,
            ha=where,
            va="baseline",
            fontsize=FONT * _POINTS * 0.94,
        )
    elif isinstance(item, Mark):
        corners = outline(item)
        shape = Polygon(corners) if corners else Circle(item.at, item.size)
        shape.set(facecolor=colour, edgecolor=LIGHT["paper"], linewidth=_POINTS)
        axes.add_patch(shape)


def look(style: str) -> tuple[str, float, bool]:
    """Return the colour, the width in pixels and whether it is dashed, of a style's names."""
    names = style.split()
    colour = next((LIGHT[name] for name in reversed(names) if name in LIGHT), LIGHT["ink"])
    thick = next((w for name, w in (("thick", 4.0), ("line", 1.8)) if name in names), 1.0)
    return colour, thick, "dashed" in names
