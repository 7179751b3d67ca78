"""Quotes: what a speaker says the passage says, checked before anybody else reads it.

Theory. A speaker marks a quotation as ``<quote>...</quote>``. The verifier rewrites each to
``<v_quote>...</v_quote>`` when the passage holds it and to ``<u_quote>...</u_quote>`` when it does
not, so that one who cannot read the passage knows which words can be trusted. Both sides of the
comparison are reduced to their words: case, punctuation, quotation marks, white space and line
breaks do not matter, words and their order do.

* ``strict``: the words stand in the passage in a row, whole words only.
* ``fuzzy``: the best matching whole words of the passage are similar enough (rapidfuzz's ratio,
  which counts insertions and deletions, in 0 to 100). A strict match is a fuzzy one.
* ``span``: the speaker names words by number, ``<quote>12-17</quote>`` for the words 12 to 17 of
  the passage, both included, and the verifier writes the words themselves: verified by
  construction. :func:`numbered` is the passage as such a speaker reads it.

A quotation without a word is never verified. Whatever tags a speaker writes - verified or
unverified forms, any case and spacing, nested, never closed - are read as plain ``<quote>`` tags
first, so a verified mark cannot be forged: an opening tag inside a quotation ends it and starts
the next, a quotation that is still open ends with the speech, and a closing tag that closes
nothing is an empty quotation. Look-alikes of the letters are not recognised; they are no tags.

The time taken grows linearly with the speech, whatever it holds.

Source: Khan et al. 2402.06782, section 3 and appendix (verified and unverified tags); Michael et
al. 2311.08702 (quotes from the story, their share of the passage).
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

QuoteMode = Literal["strict", "fuzzy", "span"]
FUZZY_THRESHOLD = 90.0
LONGEST_FUZZY_QUOTE = 500
"""Characters; a longer quotation must match strictly, as the search slows down with its square
(ours)."""

_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[\u0300-\u036f{_INVISIBLE}])*")
_DROP_INVISIBLE = {ord(character): None for character in _INVISIBLE}
_TAG = re.compile("([<\uff1c\ufe64][^<>\uff1c\ufe64\uff1e\ufe65]*[>\uff1e\ufe65])")
_TOKEN = re.compile(r"\S+")
_RANGE = re.compile(r"\s*([0-9]{1,9})\s*(?:-|\u2013)\s*([0-9]{1,9})\s*")
NUMBERED_EVERY = 10
"""Words of a passage from one number to the next (ours)."""
_NO_BRACKETS = str.maketrans("<\uff1c\ufe64>\uff1e\ufe65", "((()))")
_OPEN, _CLOSE = "<quote>", "</quote>"
_TAG_NAMES = ("quote", "vquote", "uquote")


class Quote(NamedTuple):
    """One quotation of a speech."""

    text: str
    """The words as the speaker wrote them."""
    verified: bool
    """Whether the passage holds them."""
    start: int | None
    """Where they start in the passage, in characters from 0; None where not verified."""
    end: int | None
    """Where they end in the passage, exclusive; None where not verified."""


class VerifiedSpeech(NamedTuple):
    """A speech whose quotations are marked as verified or not."""

    text: str
    """The speech with ``v_quote`` and ``u_quote`` tags that nobody but the verifier wrote."""
    quotes: tuple[Quote, ...] = ()
    """Its quotations in reading order."""

    @property
    def verified(self) -> int:
        """How many quotations are verified."""
        return sum(quote.verified for quote in self.quotes)

    @property
    def unverified(self) -> int:
        """How many quotations are not verified."""
        return len(self.quotes) - self.verified

    @property
    def verified_characters(self) -> int:
        """How many characters of the passage the verified quotations cover, each counted once."""
        return covered_characters(self.quotes)


class _Passage(NamedTuple):
    """The words of a passage, and where each stands."""

    normal: str
    """The normalised words with a space before, between and after."""
    normal_starts: tuple[int, ...]
    """Where each word starts in `normal`."""
    spans: tuple[tuple[int, int], ...]
    """Where each word stands in the passage."""


def normalised(text: str) -> str:
    """Return the words of `text`: lower case, composed, one space between; "" without a word."""
    return " ".join(map(_normal_word, _WORD.findall(text)))


def verify_quotes(
    speech: str,
    passage: str | None,
    *,
    mode: QuoteMode = "strict",
    threshold: float = FUZZY_THRESHOLD,
    budget: int | None = None,
) -> VerifiedSpeech:
    """Check every quotation of a speech against a passage and mark it.

    With a budget, quotations are verified in reading order as long as their characters, as they
    are written, fit into it together: one that does not fit is marked as not verified and uses up
    nothing.

    Args:
        speech: what was said, with ``<quote>`` tags.
        passage: what is quoted from; without one nothing can be verified.
        mode: strict, fuzzy or span.
        threshold: the least similarity of a fuzzy match, 0 to 100.
        budget: the most characters of verified quotations; None allows any number.
    """
    if "<" not in speech and "\uff1c" not in speech and "\ufe64" not in speech:
        return VerifiedSpeech(speech)
    output: list[str] = []
    quotes: list[Quote] = []
    found: dict[str, Quote] = {}
    left = math.inf if budget is None else budget
    for is_quote, text in _sections(_TAG.split(speech)):
        if not is_quote:
            output.append(text)
            continue
        quote = found.get(text)
        if quote is None:
            quote = found[text] = locate(text, passage, mode=mode, threshold=threshold)
        if quote.verified and len(quote.text) > left:
            quote = Quote(text, False, None, None)
        if quote.verified:
            left -= len(quote.text)
        quotes.append(quote)
        letter = "v" if quote.verified else "u"
        output.append(f"<{letter}_quote>{quote.text}</{letter}_quote>")
    return VerifiedSpeech("".join(output), tuple(quotes))


def locate(
    text: str,
    passage: str | None,
    *,
    mode: QuoteMode = "strict",
    threshold: float = FUZZY_THRESHOLD,
) -> Quote:
    """Look for a quotation in a passage; see :func:`verify_quotes` for the arguments."""
    if mode == "span":
        return _named_span(text, passage)
    words = normalised(text)
    if not words or not passage:
        return Quote(text, False, None, None)
    index = _indexed(passage)
    at = index.normal.find(f" {words} ")
    if at >= 0:
        return _at(text, index, at + 1, at + 1 + len(words))
    if mode == "fuzzy" and len(words) <= min(len(index.normal), LONGEST_FUZZY_QUOTE):
        return _locate_fuzzily(text, words, index, threshold)
    return Quote(text, False, None, None)


def covered_characters(quotes: Iterable[Quote]) -> int:
    """Return how many characters of the passage the verified `quotes` cover together."""
    spans = union((q.start or 0, q.end or 0) for q in quotes if q.verified)
    return sum(end - start for start, end in spans)


def quoted_share(quotes: Iterable[Quote], passage: str) -> float:
    """Return the share of the passage's characters that the verified `quotes` cover, 0 to 1."""
    return covered_characters(quotes) / len(passage) if passage else 0.0


def union(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return what half-open spans cover together: sorted, apart from each other, none empty."""
    apart: list[tuple[int, int]] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(apart[-1][1], end))
        else:
            apart.append((start, end))
    return tuple(apart)


def span_quote(passage: str, start: int, end: int) -> Quote:
    """Return the quotation of the passage's tokens `start` to `end`, exclusive, from 0.

    Tokens are what stands between white space. A span that is empty, runs over the passage's end
    or holds no word is not verified.
    """
    tokens = _tokens(passage)
    if not 0 <= start < end <= len(tokens):
        return Quote("", False, None, None)
    first, last = tokens[start][0], tokens[end - 1][1]
    words = passage[first:last]
    if not normalised(words):
        return Quote(words, False, None, None)
    return Quote(words, True, first, last)


@lru_cache(maxsize=256)
def numbered(passage: str) -> str:
    """Return `passage` with ``[n]`` before every tenth token n, for speakers that name spans."""
    pieces: list[str] = []
    end = 0
    for number, (start, stop) in enumerate(_tokens(passage)):
        mark = "" if number % NUMBERED_EVERY else f"[{number}] "
        pieces += [passage[end:start], mark, passage[start:stop]]
        end = stop
    return "".join(pieces)


def verified_texts(text: str) -> list[str]:
    """Return the verified quotations of a text that :func:`verify_quotes` wrote."""
    return [piece.partition("</v_quote>")[0] for piece in text.split("<v_quote>")[1:]]


@lru_cache(maxsize=256)
def _tokens(passage: str) -> tuple[tuple[int, int], ...]:
    return tuple([match.span() for match in _TOKEN.finditer(passage)])


def _named_span(text: str, passage: str | None) -> Quote:
    """Read ``first-last`` as the words of the passage with these numbers, both included."""
    named = _RANGE.fullmatch(text)
    if named is None or not passage:
        return Quote(text, False, None, None)
    quote = span_quote(passage, int(named[1]), int(named[2]) + 1)
    if not quote.verified:
        return Quote(text, False, None, None)
    # The words of a passage may look like tags of the verifier, which only it may write.
    return quote._replace(text=quote.text.translate(_NO_BRACKETS))


def _sections(pieces: list[str]) -> list[tuple[bool, str]]:
    """Return (whether it is a quotation, text) for a speech split at everything like a tag."""
    sections: list[tuple[bool, str]] = []
    inside = False
    collected: list[str] = []
    for index, piece in enumerate(pieces):
        tag = _tag(piece) if index % 2 else ""
        if not tag:
            collected.append(piece)
            continue
        text = "".join(collected)
        collected = []
        if not (inside and tag == _OPEN and not text.strip()):
            sections.append((inside, text))
        if tag == _CLOSE and not inside:
            # Deleting the tag could join what stands around it to a new one.
            sections.append((True, ""))
        inside = tag == _OPEN
    sections.append((inside, "".join(collected)))
    return sections


def _tag(piece: str) -> str:
    """Return ``<quote>`` or ``</quote>`` for any form of these tags, "" for other markup."""
    if piece in (_OPEN, _CLOSE):
        return piece
    plain = unicodedata.normalize("NFKC", piece[1:-1]).casefold()
    if not "".join(filter(str.isalnum, plain)).startswith(_TAG_NAMES):
        return ""
    before_name = re.split(r"[^\W_]", plain, maxsplit=1)[0]
    return _CLOSE if "/" in before_name or plain.endswith("/") else _OPEN


def _normal_word(word: str) -> str:
    if word.isascii():
        return word.lower()
    return unicodedata.normalize("NFKC", word.translate(_DROP_INVISIBLE)).casefold()


@lru_cache(maxsize=256)
def _indexed(passage: str) -> _Passage:
    """Return the words of a passage; kept, as the same few passages serve many speeches."""
    words: list[str] = []
    starts: list[int] = []
    spans: list[tuple[int, int]] = []
    length = 1
    for match in _WORD.finditer(passage):
        word = _normal_word(match.group())
        words.append(word)
        starts.append(length)
        spans.append(match.span())
        length += len(word) + 1
    return _Passage(f" {' '.join(words)} ", tuple(starts), tuple(spans))


def _at(text: str, index: _Passage, start: int, end: int) -> Quote:
    """Return the verified quotation for a stretch of the normalised passage."""
    first = bisect_right(index.normal_starts, start) - 1
    last = bisect_left(index.normal_starts, end) - 1
    return Quote(text, True, index.spans[first][0], index.spans[last][1])


def _locate_fuzzily(text: str, words: str, index: _Passage, threshold: float) -> Quote:
    """Look for the whole words of a passage that are most like `words`.

    The best stretch of characters may cut words at its ends ("cat" stands in "concatenate"), so
    the words that it touches are compared, with and without those at its ends.
    """
    from rapidfuzz import fuzz

    near = fuzz.partial_ratio_alignment(words, index.normal, score_cutoff=threshold)
    starts = index.normal_starts
    if near is None or not starts:
        return Quote(text, False, None, None)
    first = max(bisect_right(starts, near.dest_start) - 1, 0)
    last = max(bisect_left(starts, near.dest_end) - 1, first)
    stretches = [
        (starts[i], (starts[j + 1] if j + 1 < len(starts) else len(index.normal)) - 1)
        for i in (first, first + 1)
        for j in (last, last - 1)
        if i <= j
    ]
    start, end = max(stretches, key=lambda ends: fuzz.ratio(words, index.normal[slice(*ends)]))
    if fuzz.ratio(words, index.normal[start:end]) < threshold:
        return Quote(text, False, None, None)
    return _at(text, index, start, end)
