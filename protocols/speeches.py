"""Speeches: what becomes of a speaker's reply before anybody else reads it.

In this order: unfit characters are replaced, hidden thinking is dropped, an over-long speech is
cut, quotations are verified, and the rest is quoted line by line. Whoever reads the speech later,
its speaker included, reads the one part that is made here.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from protocols.canonical import clean_text
from protocols.messages import Part
from protocols.quotes import FUZZY_THRESHOLD, Quote, QuoteMode, verify_quotes
from protocols.quoting import quoted_part
from protocols.replies import Reply

_THINKING = re.compile(r"(<[\s/]*thinking\s*>)", re.IGNORECASE)


Overrun = Literal["cut", "reask", "accept"]


class SpeechRules(NamedTuple):
    """What is allowed in a speech, and how its quotations are checked."""

    max_characters: int | None = None
    """The longest speech; None allows any length."""
    quotes: QuoteMode = "strict"
    """How quotations are compared with the passage."""
    fuzzy_threshold: float = FUZZY_THRESHOLD
    """The least similarity of a fuzzy match, 0 to 100."""
    overrun: Overrun = "cut"
    """What becomes of a longer speech: cut; asked once again and then cut; or accepted."""
    max_quoted: int | None = None
    """The most characters of verified quotations; what does not fit is marked as not verified."""

    @property
    def stated_limit(self) -> int | None:
        """The length that a speaker is told to keep to."""
        return self.max_characters if self.overrun == "reask" else None


class Speech(NamedTuple):
    """A speech as others read it."""

    part: Part
    """The quoted speech, with verified and unverified quotations and the reply as its origin."""
    quotes: tuple[Quote, ...]
    """Its quotations, in reading order."""
    cut: bool
    """Whether it was too long and lost its end."""


def take_speech(
    reply: Reply, passage: str | None, rules: SpeechRules, *, name: str = "speech"
) -> Speech | None:
    """Return the speech that a reply holds; None where it failed or shows nothing.

    Args:
        reply: what the speaker said.
        passage: what it quotes from.
        rules: what is allowed.
        name: the name of the part that quotes it.
    """
    if reply.failed:
        return None
    limit = None if rules.overrun == "accept" else rules.max_characters
    text, cut = cut_to(shown(clean_text(reply.text)[0]), limit)
    if not text:
        return None
    verified = verify_quotes(
        text,
        passage,
        mode=rules.quotes,
        threshold=rules.fuzzy_threshold,
        budget=rules.max_quoted,
    )
    return Speech(quoted_part(name, reply, text=verified.text), verified.quotes, cut)


def runs_over(reply: Reply, rules: SpeechRules) -> bool:
    """Whether a reply holds a speech that is longer than the rules allow."""
    if reply.failed or rules.max_characters is None or len(reply.text) <= rules.max_characters:
        return False
    return len(shown(clean_text(reply.text)[0])) > rules.max_characters


def shown(text: str) -> str:
    """Return `text` without what stands inside ``<thinking>...</thinking>``.

    In doubt it stays hidden: what follows a tag that is never closed, and what precedes a closing
    tag that nothing opened.
    """
    if "<" not in text:
        return text.strip()
    pieces = _THINKING.split(text)
    kept = [pieces[0]]
    depth = 0
    for tag, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if "/" not in tag:
            depth += 1
        elif depth:
            depth -= 1
        else:
            kept.clear()
        if depth == 0:
            kept.append(piece)
    return "".join(kept).strip()


def cut_to(text: str, max_characters: int | None) -> tuple[str, bool]:
    """Return `text` cut to a number of characters, tags included, and whether it was cut.

    A tag that the cut would split is dropped; an open quotation is closed by the verifier.
    """
    if max_characters is None or len(text) <= max_characters:
        return text, False
    text = text[:max_characters]
    opening = text.rfind("<")
    if opening > text.rfind(">"):
        text = text[:opening]
    return text.rstrip(), True
