"""Numbers of things in sentences."""

from __future__ import annotations


def counted_of(count: int, what: str, many: str = "") -> str:
    """Return how many there are: ``1 question``, ``1,204 questions``.

    Args:
        count: of the things.
        what: one of them.
        many: several of them, where that is not `what` and an s.
    """
    return f"{count:,} {what if count == 1 else many or f'{what}s'}"


def are(count: int) -> str:
    """Return the verb that goes with so many: ``is`` of 1, else ``are``."""
    return "is" if count == 1 else "are"
