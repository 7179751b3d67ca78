"""Peers to play a deliberation with."""

from __future__ import annotations

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.messages import Part, find_parts
from protocols.quoting import unquoted
from protocols.replies import Reply, failed
from tests.protocols.examples import cast_of
from tests.protocols.harness import AnswerFn, Played, says

THREE = ("ada", "bob", "cy")
TABLE = cast_of(solver=THREE)
LOST = failed("timeout", "SECRET")
REFUSED = failed("refused", "SECRET")


def solvers(n: int) -> Cast:
    return cast_of(solver=tuple(f"x{i}" for i in range(n)))


def answered(ask: Ask, label: str) -> Reply:
    """A reply that nobody else gives, with an answer line."""
    assert ask.place is not None
    return says(f"words-of-{ask.seat.name}-in-{ask.place.turn}.\nAnswer: {label}")


def speaking(**by_seat: str | list[str | Reply]) -> AnswerFn:
    """Each seat says one label after the other in its asks, the last one again in later ones."""
    given = {seat: [said] if isinstance(said, str) else said for seat, said in by_seat.items()}
    asked: dict[str, int] = {}

    def answer(ask: Ask) -> Reply:
        name = ask.seat.name
        lines = given[name]
        said = lines[min(asked.get(name, 0), len(lines) - 1)]
        asked[name] = asked.get(name, 0) + 1
        return said if isinstance(said, Reply) else answered(ask, said)

    return answer


def sure(label: str, confidence: str) -> Reply:
    return says(f"Because.\nConfidence: {confidence}\nAnswer: {label}")


def said_to(ask: Ask, name: str = "answer") -> list[str]:
    """What stands quoted in a prompt under a part's name, in reading order."""
    return [unquoted(part.text) for part in find_parts(ask.messages, name)]


def first_lines(ask: Ask, name: str = "answer") -> list[str]:
    return [text.split("\n")[0] for text in said_to(ask, name)]


def names(ask: Ask) -> list[str]:
    return [part.name for part in ask.messages[1].parts]


def part(ask: Ask, name: str) -> Part:
    (found,) = find_parts(ask.messages, name)
    return found


def schedule(played: Played) -> list[list[str]]:
    return [[ask.seat.name for ask in turn] for turn in played.asks_by_turn]


def path(played: Played) -> list[str | None]:
    """The answer that the protocol would have ended with after every round."""
    return [told["answer"] for told in played.outcome.detail["rounds"]]
