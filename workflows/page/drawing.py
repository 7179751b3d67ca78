"""Drawings as data: lines, marks and texts in pixels, which SVG and PNG are both written from.

Colours are names of styles; the page and the writers say what they look like, in light and dark.
A series is told apart by its shape as well as by its colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import cos, floor, isfinite, log10, pi, sin
from typing import Literal

WIDE, NARROW = 760.0, 320.0
"""Pixels: for a screen, and for a phone that is 360 wide. Neither is ever shown smaller."""
FONT = 12.0
"""Pixels; the only size of text in a drawing."""
LINE = 16.0
"""Pixels from one line of text to the next."""
SERIES = 8
"""How many series can be told apart; those beyond are all drawn alike, in grey."""

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points."""

    points: tuple[Point, ...]
    style: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A small filled shape."""

    at: Point
    shape: int
    """0 circle, 1 square, 2 triangle, 3 diamond, 4 triangle downwards, 5 star, 6 hexagon, 7 bar."""
    style: str
    size: float = 4.5
    """Pixels from its centre."""


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle."""

    at: Point
    """Its corner at the top left."""
    width: float
    height: float
    style: str


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text."""

    at: Point
    """Its anchor, on the base line."""
    text: str
    anchor: Anchor = "start"
    style: str = "ink"


Item = Path | Mark | Box | Words


@dataclass(frozen=True, slots=True)
class Drawing:
    """Items in a frame."""

    width: float
    height: float
    items: tuple[Item, ...]


def text_width(text: str) -> float:
    """Return about how many pixels wide a text is, rather too many than too few."""
    units = 0.0
    for letter in text:
        if letter in "ijl.,:;'|! ()[]":
            units += 0.36
        elif letter in "mwMW%@+\N{MINUS SIGN}=<>→≤" or ord(letter) > 0x2E80:
            units += 1.0
        else:
            units += 0.66 if letter.isupper() or letter.isdigit() else 0.6
    return FONT * units


def fitted(text: str, width: float) -> str:
    """Return a text cut to a width, with an ellipsis where something is missing."""
    if text_width(text) <= width:
        return text
    while text and text_width(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def folded(text: str, width: float) -> list[str]:
    """Return a text in lines of a width; a word that is wider is cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(word, width))
    return lines or [""]


def middled(x: float, y: float, text: str, width: float) -> Words:
    """Return a quiet text in the middle over `x`, moved where it would leave its frame."""
    half = text_width(text) / 2
    return Words((min(max(x, half), max(width - half, half)), y), text, "middle", "quiet")


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round values between two ends, at most `most` (three at least are allowed)."""
    span = high - low
    if not isfinite(span) or span <= 0:
        return [low]
    step = 10.0 ** floor(log10(span / max(most, 3)))
    for factor in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0):
        first = -floor(-low / (factor * step) + 1e-9)
        last = floor(high / (factor * step) + 1e-9)
        if last - first + 1 <= max(most, 3):
            return [place * factor * step for place in range(int(first), int(last) + 1)]
    return [low, high]


def outline(mark: Mark) -> tuple[Point, ...]:
    """Return the corners of a mark; nothing of a circle."""
    x, y = mark.at
    corners, turn, size = (
        (0, 0.0, 1.0),
        (4, pi / 4, 1.2),
        (3, pi / 2, 1.3),
        (4, 0.0, 1.25),
        (3, -pi / 2, 1.3),
        (10, pi / 2, 1.45),
        (6, 0.0, 1.15),
        (4, pi / 4, 1.2),
    )[mark.shape % SERIES]
    reach = [size * mark.size * (0.5 if corners == 10 and n % 2 else 1.0) for n in range(corners)]
    angles = [turn + 2 * pi * n / corners for n in range(corners)]
    flat = 0.45 if mark.shape % SERIES == 7 else 1.0
    points = zip(reach, angles, strict=True)
    return tuple((x + far * cos(angle), y - flat * far * sin(angle)) for far, angle in points)


def svg(
    drawing: Drawing,
    title: str,
    description: str,
    *,
    id: str,
    style: str = "",
    classes: str = "plot",
) -> str:
    """Return a drawing as an element of SVG that screen readers can name.

    Args:
        drawing: what to draw.
        title: its name.
        description: what it shows, in words.
        id: unique in the page.
        style: CSS to put in, for a file of its own.
        classes: of the element.
    """
    width, height = f"{drawing.width:g}", f"{drawing.height:g}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{classes}" role="img" '
        f'aria-labelledby="{id}-t {id}-d" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}"><title id="{id}-t">{_text(title)}</title>'
        f'<desc id="{id}-d">{_text(description)}</desc>'
    )
    if style:
        head += f"<style>{style}</style>"
        head += f'<rect class="ground" width="{width}" height="{height}"/>'
    return head + "".join(map(_element, drawing.items)) + "</svg>"


def _element(item: Item) -> str:
    if isinstance(item, Path):
        return f'<path class="{item.style}" d="{_steps(item.points)}"/>'
    if isinstance(item, Box):
        x, y = item.at
        return (
            f'<rect class="{item.style}" x="{_n(x)}" y="{_n(y)}" width="{_n(item.width)}" '
            f'height="{_n(item.height)}"/>'
        )
    x, y = item.at
    if isinstance(item, Words):
        anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
        text = _text(item.text)
        return f'<text class="{item.style}" x="{_n(x)}" y="{_n(y)}"{anchor}>{text}</text>'
    corners = outline(item)
    if not corners:
        return f'<circle class="{item.style}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(item.size)}"/>'
    return f'<path class="{item.style}" d="{_steps(corners)}z"/>'


def _steps(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(value: float) -> str:
    """Return a coordinate in tenths of a pixel."""
    return f"{round(value, 1) + 0.0:g}"


def _text(text: str) -> str:
    return escape(text, quote=True)
