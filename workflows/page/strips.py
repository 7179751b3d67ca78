"""Rows with several marks on one axis of shares: accuracies of protocols by topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workflows.page.charts import legend_of, percent
from workflows.page.drawing import (
    Box,
    Drawing,
    Item,
    Mark,
    Path,
    Words,
    fitted,
    middled,
    text_width,
)
from workflows.page.forest import PHONE


@dataclass(frozen=True, slots=True)
class Strip:
    """One row."""

    name: str
    values: tuple[float | None, ...]
    """By series, in the legend's order."""


def strips(rows: Sequence[Strip], legend: Sequence[tuple[str, int]], width: float) -> Drawing:
    """Return rows with a mark for each series between 0 and 100 %.

    Marks of one row that would cover each other stand side by side in height.
    """
    phone = width < PHONE
    items, top = legend_of(legend, width)
    names = 8.0 if phone else min(260.0, max(text_width(row.name) for row in rows) + 14)
    left, right = names + (10 if phone else 0), width - 22.0
    height = 44.0 if phone else 30.0
    bottom = top + height * len(rows)
    back: list[Item] = []
    for number, row in enumerate(rows):
        y = top + height * number
        if number % 2:
            back.append(Box((0, y), width, height, "band"))
        at = (2.0, y + 14) if phone else (2.0, y + height / 2 + 4)
        items.append(Words(at, fitted(row.name, width - 4 if phone else names - 10)))
        items += _marks(row, legend, (left, right), y + height - 15)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + value * (right - left)
        back.append(Path(((x, top), (x, bottom)), "grid"))
        items.append(middled(x, bottom + 15, percent(value), width))
    back.append(Path(((left, bottom), (right, bottom)), "rule"))
    return Drawing(width, bottom + 22, (*back, *items))


def _marks(
    row: Strip, legend: Sequence[tuple[str, int]], ends: tuple[float, float], y: float
) -> list[Item]:
    placed: list[tuple[float, float]] = []
    items: list[Item] = []
    for value, (_, series) in zip(row.values, legend, strict=True):
        if value is None:
            continue
        x = ends[0] + value * (ends[1] - ends[0])
        near = [up for other, up in placed if abs(other - x) < 9]
        up = next(
            step for step in (0, -7, 7, -12, 12, -3, 3, -9, 9) if step not in near or len(near) > 8
        )
        placed.append((x, up))
        items.append(Mark((x, y + up), series, f"mark s{series}", 4.0))
    return items
