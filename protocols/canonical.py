"""Canonical JSON, digests and clean text: what identity is made of.

Canonical JSON here means: keys sorted, no white space, UTF-8 without escapes, and no NaN or
infinity. Two values with the same canonical JSON are the same value to moot, in every process,
on every machine and under every hash seed.
"""

from __future__ import annotations

import hashlib
import json
import re
from json.encoder import encode_basestring
from typing import Any

_UNFIT = re.compile("[\x00\ud800-\udfff]")

_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


def canonical_json(value: Any) -> str:
    """Return `value` as canonical JSON.

    Raises:
        ValueError: `value` holds NaN or an infinity.
        TypeError: `value` holds something that JSON has no form for.
    """
    return _encode(value)


def json_string(text: str) -> str:
    """Return a text as canonical JSON; for canonical JSON that is assembled by hand, for speed."""
    return encode_basestring(text)


def sha256(text: str) -> bytes:
    """Return the 32 bytes of SHA-256 over `text` in UTF-8."""
    return hashlib.sha256(text.encode()).digest()


def sha256_hex(text: str) -> str:
    """Return SHA-256 over `text` in UTF-8 as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def clean_text(text: str) -> tuple[str, bool]:
    """Replace NUL and lone surrogates by U+FFFD; say whether anything was replaced.

    Neither can be stored in PostgreSQL or encoded in UTF-8, so text is cleaned once, where it
    enters moot, and the flag is recorded beside it.
    """
    if text.isascii() and "\x00" not in text:  # most texts, at a tenth of the search's price
        return text, False
    if _UNFIT.search(text) is None:
        return text, False
    return _UNFIT.sub("\ufffd", text), True
