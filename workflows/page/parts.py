"""What a page is made of: sections with paragraphs, plots and tables, all plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflows.page.drawing import NARROW, WIDE, Drawing
from workflows.statistics.intervals import Interval

FEW = 6
"""Sentences under tables that are not folded where there are many."""
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    """How many columns are text; the rest are figures."""
    folded: bool = False
    """Whether it stands behind a heading that opens it."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing for screens and one for phones, with what they show in words."""

    name: str
    """Of its file; unique in the page."""
    title: str
    about: str
    """How to read it."""
    wide: Drawing = field(repr=False)
    narrow: Drawing = field(repr=False)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under one heading."""

    id: str
    title: str
    lines: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    after: tuple[str, ...] = ()
    """What is said under the tables."""
    counting: bool = False
    """Whether that says how rows were counted, which a long table folds."""

    @property
    def at_once(self) -> tuple[str, ...]:
        """The sentences under the tables that are read without opening anything."""
        return self.after if len(self.after) <= FEW + 2 else self.after[:FEW]

    @property
    def later(self) -> tuple[str, ...]:
        """The rest of them."""
        return self.after[len(self.at_once) :]


@dataclass(frozen=True, slots=True)
class Head:
    """The top of the page."""

    title: str
    summary: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Speech:
    """What somebody said: pieces of text, each with what kind it is."""

    who: str
    shown: tuple[tuple[str, str], ...]
    """(kind, text); the kinds are text, verified, unverified, unchecked."""
    folded: tuple[tuple[str, str], ...] = ()
    """What stands behind "more"."""
    hidden: int = 0
    """Characters that are left out."""
    more: int = 0
    """Characters that are folded."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What was said at once."""

    heading: str
    speeches: tuple[Speech, ...]


@dataclass(frozen=True, slots=True)
class Transcript:
    """One session, readable."""

    session: int
    name: str
    ending: str
    mark: str
    """right, wrong, half, or nothing where it is none of them."""
    cast: str
    turns: tuple[Turn, ...]
    course: tuple[str, ...]
    left_out: int = 0
    """Turns that are not on the page."""


@dataclass(frozen=True, slots=True)
class Discussed:
    """A question with the sessions about it."""

    question: str
    text: str
    options: tuple[str, ...]
    gold: str
    passage: int
    """Characters of the passage, which is not repeated."""
    transcripts: tuple[Transcript, ...]
    left_out: int = 0
    """Sessions that are not on the page."""


@dataclass(frozen=True, slots=True)
class Discussion:
    """The transcripts of the page and how they were chosen."""

    lines: tuple[str, ...] = ()
    questions: tuple[Discussed, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """How the runs were made, and how to make them again."""

    configurations: tuple[tuple[str, str], ...]
    """(name of the run, YAML)."""
    versions: Table
    commands: tuple[str, ...]
    seeds: str


@dataclass(frozen=True, slots=True)
class PageData:
    """A whole page."""

    head: Head
    sections: tuple[Section, ...]
    discussion: Discussion
    made: Made

    @property
    def plots(self) -> tuple[Plot, ...]:
        """All plots, in their order."""
        return tuple(plot for section in self.sections for plot in section.plots)


def plotted(name: str, title: str, about: str, draw: Callable[..., Drawing], *given: Any) -> Plot:
    """Return a plot in both widths; `draw` takes what is given and the width."""
    return Plot(name, title, about, draw(*given, WIDE), draw(*given, NARROW))


def percentage(share: float | None) -> str:
    """Return a share in per cent with one decimal; a dash for none."""
    return DASH if share is None else f"{100 * share:.1f}"


def span(interval: Interval | None) -> str:
    """Return an interval of shares in per cent; a dash for none."""
    if interval is None:
        return DASH
    return f"{100 * interval.low:.1f} {DASH} {100 * interval.high:.1f}"


def signed(points: float) -> str:
    """Return a difference of shares in points, with its sign."""
    text = f"{100 * points:+.1f}"
    return ("+0.0" if text == "-0.0" else text).replace("-", MINUS)


def signed_span(interval: Interval | None) -> str:
    """Return an interval of differences in points; words for none."""
    if interval is None:
        return "no interval"
    return f"[{signed(interval.low)}, {signed(interval.high)}]"


def p_value(p: float) -> str:
    """Return a p value for people."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def amount(value: float | None) -> str:
    """Return a number with its thousands apart; a dash for none."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def money(value: float | None) -> str:
    """Return US dollars; words where they are not known."""
    if value is None:
        return "not known"
    if value and abs(value) < 0.01:
        return f"${value:.2g}" if value >= 1e-4 else f"${value:.1e}"
    return f"${value:,.2f}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names in a line, the first of them where they are many."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(n: int, unit: str) -> str:
    """Return a number with its unit in the right form."""
    return f"{n:,} {unit}" + ("" if n == 1 else "s")
