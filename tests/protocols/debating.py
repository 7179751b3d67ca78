"""Debaters and judges to play a debate with."""

from __future__ import annotations

from protocols.asks import Ask
from protocols.messages import find_part, find_parts
from protocols.quoting import unquoted
from protocols.replies import Reply
from tests.protocols.examples import cast_of
from tests.protocols.harness import AnswerFn

CAST = cast_of(readers=("debater",), debater=("ada",), judge=("cy",))
TWO = cast_of(readers=("debater",), debater=("ada", "bob"), judge=("cy",))


def speech_of(ask: Ask) -> str:
    """A speech that nobody else gives: its seat and round."""
    assert ask.place is not None
    return f"words-of-{ask.seat.name}-in-{ask.place.turn + 1}."


def judged_by(judge: AnswerFn, debater: AnswerFn = lambda ask: Reply(speech_of(ask))) -> AnswerFn:
    return lambda ask: judge(ask) if ask.seat.role == "judge" else debater(ask)


def always(*given: float | str) -> AnswerFn:
    """A judge that says the same in both orders: a text, or a distribution over positions."""
    if isinstance(given[0], str):
        return lambda ask: Reply(str(given[0]))
    values = tuple(float(value) for value in given)
    return lambda ask: Reply("Hm.", distribution=values, distribution_source="exact")


def for_option(option: str) -> AnswerFn:
    """A judge that finds one option, wherever it stands."""

    def judge(ask: Ask) -> Reply:
        options = find_part(ask.messages, "options")
        assert options is not None
        label = next(line[0] for line in options.text.split("\n") if line.endswith(option))
        return Reply(f"So.\nAnswer: {label}")

    return judge


def heard(ask: Ask) -> list[str]:
    """The texts of all speeches in a prompt, in reading order."""
    return [unquoted(part.text) for part in find_parts(ask.messages, "speech")]
