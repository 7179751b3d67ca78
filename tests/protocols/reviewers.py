"""Reviewers, authors and chairs to play a review with."""

from __future__ import annotations

from protocols.asks import Ask
from protocols.messages import find_parts
from protocols.quoting import unquoted
from protocols.replies import Reply
from tests.protocols.examples import cast_of
from tests.protocols.harness import AnswerFn

READERS = ("reviewer", "author", "chair", "librarian", "scorer", "rater")
REFEREES = ("ada", "bob", "cy")
CAST = cast_of(
    readers=READERS,
    librarian=("lee",),
    reviewer=REFEREES,
    author=("amy",),
    chair=("zoe",),
    scorer=("sam",),
    rater=("ray",),
)


def everybody(*closing: str, **special: Reply | str) -> AnswerFn:
    """Write who speaks in which turn, then `closing`; ``expert_turn`` names a special reply."""

    def answer(ask: Ask) -> Reply:
        assert ask.place is not None
        name = f"{ask.seat.expert}_{ask.place.turn}"
        given = special.get(f"{name}_{ask.place.slot}", special.get(name))
        if isinstance(given, Reply):
            return given
        lines = closing if given is None else (given,)
        return Reply("\n".join([f"words-of-{name}_{ask.place.slot}.", *lines]))

    return answer


def heard(ask: Ask, *names: str) -> list[str]:
    """Return the first line of each reply that a prompt quotes, in reading order."""
    parts = [part for part in ask.messages[1].parts if part.origin is not None]
    if names:
        parts = [part for name in names for part in find_parts(ask.messages, name)]
    return [
        unquoted(part.text).splitlines()[0].removeprefix("words-of-").rstrip(".")
        for part in parts
        if part.origin is not None
    ]
