"""What others said is quoted data (rule 8 of the contract).

A quoted text stands behind ``> `` on every line, so whatever it contains - a closing tag, a turn
marker, a verdict line, an instruction - it cannot end its own quotation or stand where a marker
is looked for: parsers read markers at the start of a line only. Tags that moot itself writes
(``<quote>`` and its verified and unverified forms) are handled in ``quotes.py``.
"""

from __future__ import annotations

from protocols.canonical import clean_text
from protocols.messages import Part
from protocols.replies import Reply

MARK = "> "


def quoted(text: str) -> str:
    """Return `text` with ``> `` before every line, however its lines are broken.

    Line separators of Unicode and carriage returns count as line breaks, since a reader may see
    a new line there. What no store can hold (NUL, half of a surrogate pair) becomes U+FFFD.
    """
    return "\n".join(MARK + line for line in clean_text(text)[0].splitlines()) or MARK


def unquoted(text: str) -> str:
    """Return what :func:`quoted` was given, with every line break written as a newline."""
    return "\n".join(line.removeprefix(MARK) for line in text.split("\n"))


def quoted_part(name: str, reply: Reply, *, text: str | None = None) -> Part:
    """Return the part that quotes `reply` (or `text`, a form of it), with its origin."""
    return Part(name, quoted(reply.text if text is None else text), origin=reply.place)
