"""Experts who answer well in every form that is ever asked for, and casts to play with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocols.asks import Ask
from protocols.cast import Asset, Cast
from protocols.messages import find_part
from protocols.question import Question
from protocols.registry import PROTOCOLS
from protocols.replies import Reply, scored
from tests.protocols.examples import PAIR, POOL, cast_of
from tests.protocols.harness import AnswerFn

KINDS = sorted(kind for kind, cls in PROTOCOLS.items() if cls.__module__.startswith("protocols."))
"""The kinds that come with the product, sorted."""
TOPOLOGISTS = {"reflector": ("dee",), "actor": ("eve",)}


def shown_label(ask: Ask, option: str) -> str | None:
    """The label under which an ask shows an option; None where it shows no options.

    Of other options, such as whether a critique is useful, the first.
    """
    part = find_part(ask.messages, "options")
    if part is None:
        return None
    labels = {line[3:]: line[0] for line in part.text.splitlines()}
    return labels.get(option, "A")


def voices(view: Callable[[Ask], str], verdict: str = "open") -> AnswerFn:
    """Everybody answers well, in every form that is ever asked for; `view` gives the option.

    The label is the one that the option has where it is shown, never a letter by heart.
    """

    def answer(ask: Ask) -> Reply:
        option = view(ask)
        if ask.score:
            return scored(-0.5)
        label = shown_label(ask, option)
        if ask.options and label not in ask.options:
            label = ask.options[0]  # of two solutions, say
        edges = find_part(ask.messages, "edges")
        lines = [f"{ask.seat.expert} finds: {option}", "Score: 7", "First: 6", "Second: 6"]
        lines += ["Clarity: 5", "Rigour: 5", "Evidence: 5", "Contribution: 5"]
        lines += ["Logic: 4", "Correctness: 4", "Explanation: 4"]
        lines += ["End: no", "Decision: continue", f"Verdict: {verdict}", "Confidence: 0.85"]
        if edges is not None:
            lines += [f"{line}: robustness 7, coherence 4" for line in edges.text.splitlines()]
        if label is not None:
            lines.append(f"Answer: {label}")
        if ask.options and label is not None:
            rest = 0.25 / (len(ask.options) - 1)
            shares = tuple(0.75 if one == label else rest for one in ask.options)
            return Reply("\n".join(lines), distribution=shares, distribution_source="stated")
        return Reply("\n".join(lines))

    return answer


def by_expert(views: Mapping[str, str]) -> AnswerFn:
    """Everybody keeps to its own option."""
    return voices(lambda ask: views[ask.seat.expert])


def agreeing_on(option: str, verdict: str = "open") -> AnswerFn:
    """Everybody finds this option."""
    return voices(lambda ask: option, verdict)


def divided(question: Question) -> AnswerFn:
    """Neighbours in the pool never find the same."""
    options = question.options

    def view(ask: Ask) -> str:
        expert = ask.seat.expert
        return options[POOL.index(expert) % len(options) if expert in POOL else 0]

    return voices(view)


def drawing(views: Mapping[str, str]) -> AnswerFn:
    """One expert draws these answers, slot by slot."""
    given = list(views.values())

    def view(ask: Ask) -> str:
        assert ask.place is not None
        return given[ask.place.slot]

    return voices(view)


def overseen(*speakers: str, role: str = "debater") -> Cast:
    speaking: dict[str, Any] = {role: speakers or ("ada",)}
    return cast_of(readers=(role,), judge=("cy",), **speaking)


def recorded(rounds: int) -> Cast:
    said: list[Any] = [{"A": f"a{number}", "B": f"b{number}"} for number in range(rounds)]
    asset = Asset(kind="transcripts", content={PAIR.id: {"rounds": said}})
    return cast_of(judge=("cy",), assets={"transcripts": asset})


CONSULTANT = overseen(role="consultant")
