"""Reading replies: ``Parsed | Unparsed``, never a guess, never ``eval``.

An answer stands on a line ``Answer: X``; the last such line of a reply counts. A quoted line
stands behind ``> `` and is never an answer line, so a reply that repeats another expert's words
is not read as that expert. Lines are broken as in :mod:`protocols.quoting`. What cannot be read
stays unread: it has no vote, and the outcome counts it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

from protocols.canonical import clean_text
from protocols.question import LABELS, Question, QuestionKind
from protocols.replies import Reply

MOST_NUMBER_CHARACTERS = 400
"""A longer text is not read as a number (ours)."""
MOST_DIGITS = 150
"""A number with more places before or after its point is not read (ours)."""

_CHOICE = re.compile(
    r"(?:\((?P<bracketed>[A-Za-z])\)|(?P<bare>[A-Za-z])(?=[.):]?(?:\s|$))[.):]?)(?P<rest>.*)",
    re.DOTALL,
)
_ANOTHER = re.compile(r"\s*(?:and\b|or\b|[&/,;|])", re.IGNORECASE)
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?"
)
_EXACT = Context(prec=MOST_NUMBER_CHARACTERS, rounding=ROUND_HALF_EVEN, traps=[])
_QUOTIENT = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[])


@dataclass(frozen=True, slots=True)
class Parsed:
    """An answer was read."""

    value: str
    """The answer in canonical form."""


@dataclass(frozen=True, slots=True)
class Unparsed:
    """No answer could be read."""

    why: str
    """The reason, for people."""


Reading = Parsed | Unparsed


def read_answer(reply: Reply, question: Question) -> Reading:
    """Read the answer that `reply` gives to `question`.

    The last line that starts with ``Answer:`` counts (any case; white space and ``**`` may stand
    before it). An earlier answer line is never used in place of an unreadable last one. To a
    question of kind prose the whole reply is the answer.
    """
    if reply.failure is not None:
        return Unparsed(f"the ask failed: {reply.failure.boundary}")
    if question.kind == "prose":
        prose = canonical_answer(reply.text, "prose")
        return Unparsed("nothing was said") if prose is None else Parsed(prose)
    written = answer_text(reply.text)
    if written is None:
        return Unparsed("no line starts with 'Answer:'")
    if not written:
        return Unparsed("the answer line is empty")
    value = canonical_answer(written, question.kind)
    if value is None:
        return Unparsed(f"{written[:40]!r} is not an answer of kind {question.kind!r}")
    if question.kind == "choice" and question.labels and value not in question.labels:
        return Unparsed(f"{value!r} is not one of the options {', '.join(question.labels)}")
    return Parsed(value)


def answer_text(text: str) -> str | None:
    """Return what stands behind the last ``Answer:`` at the start of a line, or None."""
    return marked_text(text, "Answer")


def marked_text(text: str, marker: str) -> str | None:
    """Return what stands behind the last `marker` and colon at the start of a line, or None."""
    marker = marker.lower()
    for line in reversed(text.splitlines()):
        if ":" in line:
            written = _behind_marker(line, marker)
            if written is not None:
                return written
    return None


def _behind_marker(line: str, marker: str) -> str | None:
    """Return what stands behind ``Answer:`` if `line` starts with it, without ``**`` around it.

    Read are ``Answer: X``, ``Answer: **X**``, ``**Answer: X**``, ``**Answer:** X`` and
    ``**Answer**: X``. By hand, as a pattern for it would go back and forth over long blanks.
    """
    rest = line.strip()
    bold = rest.startswith("**")
    rest = rest.removeprefix("**").lstrip()
    if rest[: len(marker)].lower() != marker:
        return None
    rest = rest[len(marker) :].lstrip()
    if bold and rest.startswith("**"):
        rest, bold = rest[2:].lstrip(), False
    if not rest.startswith(":"):
        return None
    rest = rest[1:].strip()
    if bold and rest.startswith("**"):
        rest, bold = rest[2:].lstrip(), False
    if bold or (rest.startswith("**") and rest.endswith("**")):
        rest = rest.removeprefix("**").removesuffix("**").strip()
    return rest


def canonical_answer(value: str, kind: QuestionKind) -> str | None:
    """Return `value` in the form in which answers of `kind` are compared, or None if it has none.

    Choice: the label as a capital letter. Number: see :func:`parse_number`. Text: white space
    collapsed, case folded. Prose: as written, without white space around it. Gold answers go
    through the same function.
    """
    return _read_once(value, kind) if len(value) <= _SHORT else _canonical(value, kind)


def _canonical(value: str, kind: QuestionKind) -> str | None:
    if kind == "choice":
        return _parse_label(value)
    if kind == "number":
        return parse_number(value)
    if kind == "prose":
        return clean_text(value)[0].strip() or None
    return " ".join(value.split()).casefold() or None


_SHORT = 32
_read_once = lru_cache(maxsize=4096)(_canonical)
# Short answers are few, and each is read in many sessions.


def _parse_label(value: str) -> str | None:
    """Read ``A``, ``(A)``, ``A.``, ``A) text``, ``**A**``; None for anything else, and for two."""
    match = _CHOICE.fullmatch(value.strip().strip("*_`").strip())
    if match is None:
        return None
    punctuated = match["bracketed"] is not None or match.start("rest") > match.end("bare")
    if match["rest"].strip() and not punctuated:
        return None
    if _ANOTHER.match(match["rest"]):
        return None
    label: str = (match["bracketed"] or match["bare"]).upper()
    return label if label in LABELS else None


def parse_number(value: str) -> str | None:
    """Return a number in canonical form: plain decimal digits, no exponent, no trailing zeros.

    ``$``, ``%`` and thousands commas are dropped; ``3/4`` becomes ``0.75`` (28 significant digits
    where a quotient does not end). Infinities, NaN, words beside the number and anything beyond
    :data:`MOST_NUMBER_CHARACTERS` or :data:`MOST_DIGITS` give None.
    """
    if len(value) > MOST_NUMBER_CHARACTERS:
        return None
    top, slash, bottom = value.partition("/")
    number = _decimal(top)
    if slash and number is not None:
        divisor = _decimal(bottom)
        number = _QUOTIENT.divide(number, divisor) if divisor else None
    if number is None or not number.is_finite():
        return None
    number = number.normalize(_EXACT)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if number.adjusted() > MOST_DIGITS or exponent < -MOST_DIGITS:
        return None
    return format(number, "f") if number else "0"


def _decimal(value: str) -> Decimal | None:
    """Read one decimal number, decorated with ``$``, ``%``, ``*`` and thousands commas."""
    text = value.strip().strip("*_`").strip().replace("\N{MINUS SIGN}", "-")
    sign = "-" if text.startswith("-") else ""
    text = text.removeprefix("-").lstrip("$ ").rstrip("%$ ")
    if sign and text.startswith(("-", "+")):
        return None
    text = sign + text
    if _NUMBER.fullmatch(text) is None:
        return None
    return Decimal(text.replace(",", ""))


def option_distribution(reply: Reply, question: Question) -> tuple[float, ...] | None:
    """Return the distribution over the question's options that `reply` gives, or None.

    A distribution that came with the reply counts; without one, a readable answer is certainty.
    A distribution of the wrong length, or one that is not made of probabilities, is not one.
    """
    labels = question.labels
    stated = reply.distribution
    if not labels or reply.failed:
        return None
    if stated is not None:
        return stated if _is_distribution(stated, len(labels)) else None
    reading = read_answer(reply, question)
    if isinstance(reading, Unparsed):
        return None
    return tuple([1.0 if label == reading.value else 0.0 for label in labels])


def _is_distribution(values: tuple[float, ...], length: int) -> bool:
    """Whether `values` are `length` probabilities that sum to 1 (to within 1e-6)."""
    return (
        len(values) == length
        and all(0.0 <= value <= 1.0 for value in values)
        and abs(math.fsum(values) - 1.0) <= 1e-6
    )
