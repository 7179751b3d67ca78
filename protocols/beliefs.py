"""Beliefs and decisions that somebody states in the text of a reply.

A belief stands on a line ``Belief: A 0.7`` (``Belief: A 70%, B 30%``), a decision on a line
``Decision: end`` or ``Decision: continue``. As with answers the last such line counts, quoted
lines never do, and what cannot be read stays unread.
"""

from __future__ import annotations

import math
import re
from typing import Literal

from protocols.question import LABELS, Question
from protocols.replies import Reply

Decision = Literal["end", "continue"]

LEAST, MOST = 0.01, 0.99
"""Where stated probabilities are clamped (2311.08702)."""
_MOST_LINE = 400
_PAIR = re.compile(r"\(?([A-Za-z])\)?\s*[:=]?\s*([0-9]{0,3}(?:\.[0-9]{1,12})?)\s*(%?)")
_BETWEEN = re.compile(r"\s*(?:[,;/]|and\b)?\s*")


def marked_text(text: str, marker: str) -> str | None:
    """Return what stands behind the last ``marker:`` at the start of a line, or None.

    Any case; white space and ``**`` may stand around the marker and what follows it.
    """
    for line in reversed(text.splitlines()):
        rest = line[:_MOST_LINE].strip().removeprefix("**").lstrip()
        if rest[: len(marker)].casefold() != marker.casefold():
            continue
        rest = rest[len(marker) :].lstrip("* ")
        if rest.startswith(":"):
            return rest[1:].strip("* \t")
    return None


def read_decision(reply: Reply) -> Decision | None:
    """Return the decision that a reply states, or None."""
    stated = None if reply.failed else marked_text(reply.text, "decision")
    word = "" if stated is None else stated.rstrip(".! ").casefold()
    return "end" if word == "end" else "continue" if word == "continue" else None


def read_consent(reply: Reply, marker: str = "end") -> bool | None:
    """Return whether a reply states ``End: yes`` or ``End: no``, or None."""
    stated = None if reply.failed else marked_text(reply.text, marker)
    word = "" if stated is None else stated.rstrip(".! ").casefold()
    return True if word == "yes" else False if word == "no" else None


def read_belief(reply: Reply, question: Question) -> tuple[float, ...] | None:
    """Return the clamped distribution over the question's options that a reply gives, or None.

    A distribution that came with the reply counts; without one, the belief line.
    """
    labels = question.labels
    if not labels or reply.failed:
        return None
    if reply.distribution is not None:
        stated = reply.distribution
        fits = len(stated) == len(labels) and all(0.0 <= value <= 1.0 for value in stated)
        return clamped(stated) if fits and abs(math.fsum(stated) - 1.0) <= 1e-6 else None
    written = marked_text(reply.text, "belief")
    return None if written is None else parse_belief(written, len(labels))


def parse_belief(written: str, options: int) -> tuple[float, ...] | None:
    """Read ``A 0.7``, ``A: 70%, B: 30%``...; None unless it is a distribution over the options.

    One option may be left out: it has what the others leave. Sums within 0.02 of 1 are rounding,
    and are made 1.
    """
    stated: dict[int, float] = {}
    at = 0
    while at < len(written):
        pair = _PAIR.match(written, at)
        if pair is None or not pair[2]:
            return None
        place = LABELS.index(pair[1].upper())
        value = float(pair[2]) / (100.0 if pair[3] else 1.0)
        if place >= options or place in stated or value > 1.0:
            return None
        stated[place] = value
        between = _BETWEEN.match(written, pair.end())
        at = pair.end() if between is None else between.end()
    rest = 1.0 - math.fsum(stated.values())
    if len(stated) == options - 1 and rest >= -1e-9:
        missing = next(place for place in range(options) if place not in stated)
        stated[missing] = max(rest, 0.0)
    if len(stated) != options or abs(math.fsum(stated.values()) - 1.0) > 0.02:
        return None
    total = math.fsum(stated.values())
    return clamped([stated[place] / total for place in range(options)])


def clamped(values: tuple[float, ...] | list[float]) -> tuple[float, ...]:
    """Return a distribution with every probability in [0.01, 0.99], as it is where it is so."""
    if all(LEAST <= value <= MOST for value in values):
        return tuple(values)
    inside = [min(max(value, LEAST), MOST) for value in values]
    if len(inside) == 2:
        return (inside[0], round(1.0 - inside[0], 12))
    total = math.fsum(inside)
    return tuple(value / total for value in inside)
