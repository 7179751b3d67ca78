"""Stated confidences: how sure an expert says it is, read into [0, 1] or left unread.

A confidence stands on a line ``Confidence: X``; the last such line of a reply counts, quoted lines
never do. Read are a number on the scale that was asked for (``0.8``), a percentage (``80%``) and a
fraction (``8/10``, ``8 out of 10``). Words such as ``high``, ranges and numbers outside the scale
stay unread: nobody knows which number they mean.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from protocols.messages import Part
from protocols.parsing import Unparsed, marked_text
from protocols.prompts import prompt

TEMPLATE = "confidence"
"""The template file of the request for a confidence."""

Scale = Literal["unit", "ten", "percent"]
"""What a bare number means: from 0 to 1, from 1 to 10, from 0 to 100."""
BOUNDS: dict[Scale, tuple[int, int]] = {"unit": (0, 1), "ten": (1, 10), "percent": (0, 100)}
"""The lowest and the highest number of a scale; the highest is certainty."""

_CONFIDENCE = re.compile(
    r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})"
    r"\s*(?:(?P<percent>%)|(?:/|out\s+of\b)\s*(?P<whole>[0-9]{1,9}))?",
    re.IGNORECASE,
)
_LONGEST = 60


def read_confidence(text: str, *, scale: Scale = "unit") -> float | Unparsed:
    """Return the confidence, from 0 to 1, that the text of a reply states.

    An earlier line is never used in place of an unreadable last one.
    """
    written = marked_text(text, "confidence")
    if written is None:
        return Unparsed("no line starts with 'Confidence:'")
    return parse_confidence(written, scale=scale)


def parse_confidence(written: str, *, scale: Scale = "unit") -> float | Unparsed:
    """Read one confidence, divided in decimals so that ``80%`` and ``0.8`` are the same float.

    Args:
        written: what stands behind the marker.
        scale: what a bare number means. A percentage and a fraction say themselves what they mean.
    """
    if len(written) > _LONGEST:
        return Unparsed("the confidence line is too long to hold a number alone")
    match = _CONFIDENCE.fullmatch(written.strip().strip("*_`").strip().removesuffix("."))
    share = None if match is None else _share(match, scale)
    return Unparsed(f"{written!r} is not a confidence") if share is None else share


def _share(match: re.Match[str], scale: Scale) -> float | None:
    """Return the share of certainty that a match states, None where it lies outside the scale."""
    number = Decimal(match["number"])
    lowest, highest = BOUNDS[scale]
    if match["percent"]:
        lowest, highest = BOUNDS["percent"]
    elif match["whole"]:
        lowest, highest = 0, int(match["whole"])
    if not highest or not lowest <= number <= highest:
        return None
    return float(number / highest)


def confidence_part(scale: Scale = "unit") -> Part:
    """Return the part ``confidence`` of a prompt: the request to state one with an answer."""
    lowest, highest = BOUNDS[scale]
    return prompt(TEMPLATE, "confidence", lowest=lowest, highest=highest)
