"""Distributions over an ask's options: from log-probabilities, from draws, or as stated.

Each function returns the distribution together with the mass that was on none of the options,
before the rest was made to sum to 1. None means that nothing of the kind could be read, which is
not the same as an even distribution. The three are not comparable with each other: replies say
which one they carry (``Reply.distribution_source``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocols.beliefs import parse_belief
from protocols.confidence import read_confidence
from protocols.parsing import answer_text, canonical_answer, marked_text
from protocols.question import LABELS

LEAST_MASS = 0.5
"""How much probability the options must have where the token that was drawn is none (ours)."""

_AROUND = " \t\r\n*_`().:\"'\u0120\u2581"
"""What may stand around a label inside its token; the last two are how tokenizers write blanks."""


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token with what could have stood in its place."""

    text: str
    alternatives: tuple[tuple[str, float], ...]
    """(token, natural logarithm of its probability), the token itself among them."""


class Spread(NamedTuple):
    """A distribution over the options, in their order, summing to 1."""

    values: tuple[float, ...]
    outside: float
    """What was on no option."""


def from_tokens(tokens: Sequence[Token], options: Sequence[str]) -> Spread | None:
    """Read the probabilities of the options where the answer stands.

    The answer is the first word behind the last ``Answer:`` at the start of a line, else the first
    word of a reply that is nothing but a label. A token counts for the option that it names,
    whatever its case and whatever blanks, brackets, stars or stops stand around it.
    """
    place = _answer_place(tokens, options)
    if place is None:
        return None
    names = {option.casefold(): index for index, option in enumerate(options)}
    mass = [0.0] * len(options)
    for text, logarithm in tokens[place].alternatives:
        index = names.get(bare(text))
        if index is not None and not math.isnan(logarithm):
            mass[index] += math.exp(min(logarithm, 0.0))
    total = math.fsum(mass)
    drawn = bare(tokens[place].text) in names
    if total <= 0.0 or not (drawn or total >= LEAST_MASS):
        return None
    return Spread(tuple(value / total for value in mass), max(0.0, 1.0 - total))


def from_draws(texts: Sequence[str], options: Sequence[str]) -> Spread | None:
    """Return the share of each option among the answers of several draws.

    A draw whose answer is none of the options is outside.
    """
    names = {option.casefold(): index for index, option in enumerate(options)}
    counts = Counter(names.get(_written(text)) for text in texts)
    answered = len(texts) - counts[None]
    if not answered:
        return None
    shares = tuple(counts[index] / answered for index in range(len(options)))
    return Spread(shares, counts[None] / len(texts))


def from_words(text: str, options: Sequence[str]) -> Spread | None:
    """Read a probability that the text states.

    A line ``Belief: A 0.7, B 0.3`` counts first (clamped as everywhere, see
    :mod:`protocols.beliefs`); then a line ``Confidence: 0.7`` beside an answer, whose rest is
    spread evenly over the other options.
    """
    if tuple(options) == tuple(LABELS[: len(options)]):
        written = marked_text(text, "belief")
        belief = None if written is None else parse_belief(written, len(options))
        if belief is not None:
            return Spread(belief, 0.0)
    confidence = read_confidence(text)
    answer = _written(text)
    names = [option.casefold() for option in options]
    if not isinstance(confidence, float) or answer not in names or len(names) < 2:
        return None
    rest = (1.0 - confidence) / (len(names) - 1)
    return Spread(tuple(confidence if name == answer else rest for name in names), 0.0)


def bare(token: str) -> str:
    """Return what a token names: without what may stand around a label, and in lower case."""
    return token.strip(_AROUND).casefold()


def _written(text: str) -> str:
    """Return the answer of a text as options are compared: a label, else the words themselves."""
    written = answer_text(text)
    if written is None:
        written = text
    return (canonical_answer(written, "choice") or written.strip(_AROUND)).casefold()


def _answer_place(tokens: Sequence[Token], options: Sequence[str]) -> int | None:
    """Return which token the answer begins in."""
    text = "".join([token.text for token in tokens])
    start = _answer_start(text)
    if start is None:
        if _written(text) not in {option.casefold() for option in options}:
            return None
        start = 0
    end = 0
    for place, token in enumerate(tokens):
        end += len(token.text)
        behind = token.text[max(0, len(token.text) - (end - start)) :]
        if end > start and bare(behind):
            return place
    return None


def _answer_start(text: str) -> int | None:
    """Return where the text behind the last answer marker starts."""
    end = len(text)
    for line in reversed(text.splitlines(keepends=True)):
        begin = end - len(line)
        if answer_text(line) is not None:
            return begin + line.index(":") + 1
        end = begin
    return None
