"""Self-refine: one expert answers, criticises its own answer and revises it.

Schedule: ``S, (C, S)*``; all by the one solver. Price: 1 + 2r asks for r rounds.

Who sees what. Critique: the question and the last answer. Revision: the question, the last answer
and the critique of it, both quoted.

Quorum. A critique that does not come ends its round: there is nothing to revise by, and the answer
stands. Of a revision whose data is missing (provider, timeout) the same holds. A revision that the
solver fails by its own doing ends the session as failed: no earlier answer stands in for it.

Source: arXiv 2303.17651. Departures: a fixed number of rounds, where the source also stops when
the critique finds no fault (a sentence that would have to be guessed at); no examples in the
prompts; only the last answer and critique are shown, not all earlier ones.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import PEERS, SOLVER, Deliberation, context_messages, said_part
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.prompts import prompt
from protocols.question import Question
from protocols.solving import TEMPLATE

OWN_TEMPLATE = "self_refine"


class SelfRefine(Protocol):
    """One expert answers, then criticises and revises its answer; the last answer counts."""

    kind: ClassVar[str] = "self_refine"
    about: ClassVar[str] = "one expert criticises and revises its own answer"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, PEERS, OWN_TEMPLATE)

    rounds: int = Field(2, ge=1)
    """r, the rounds of critique and revision."""

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the solver."""
        about = "answers, criticises its answer and revises it"
        return (Role(SOLVER, about, reads_passage=True, draws=True),)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """One ask, and two a round."""
        return CallBound(1, 1 + 2 * self.rounds)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Answer, then criticise and revise."""
        talk = Deliberation(question, cast, (cast.seat(SOLVER),))
        ballot = talk.take((yield talk.asks()))
        for _ in range(self.rounds):
            if talk.silent:
                break
            critique = yield from ask_one(_critique_ask(talk, cast))
            talk.note((critique,))
            said = said_part("critique", critique)
            if said is not None:
                talk.hear((yield talk.asks((_revision(talk, said),))))
            ballot = talk.close()
        return talk.outcome(ballot, rule="last")


def _critique_ask(talk: Deliberation, cast: Cast) -> Ask:
    messages = context_messages(
        talk.question,
        passage=cast.reads_passage(SOLVER),
        system=prompt(TEMPLATE, "system"),
        said=(*talk.heard(0, ()), prompt(OWN_TEMPLATE, "critique_task")),
    )
    return Ask(talk.seats[0], messages, question=talk.question.id)


def _revision(talk: Deliberation, critique: Part) -> tuple[Part, ...]:
    heading, task = prompt(OWN_TEMPLATE, "critique_heading"), prompt(OWN_TEMPLATE, "refine")
    return (*talk.heard(0, ()), heading, critique, task)
