"""Diverse debate: few agents that start from different answers and state how sure they are.

Schedule: ``{1..N}``, K of N are kept, ``({1..K})*`` for r rounds. Price: N + K·r asks; N where
fewer than two of the first answers are readable, as there is then nobody to discuss with.

Who sees what. First: the question alone. In a round each of the K sees its own last answer and
then those of the others, without names, each with its author's confidence. What is said in a
round is hidden until the round is over.

The K are chosen by :func:`protocols.diversity.most_diverse` among the readable first answers and
stay the debate's agents. In the first round an answer's confidence is the one that it states; as
nobody asked for one then, it is else the share of the readable first answers that agree with it,
the confidence that self-consistency gives, and is told as such (ours; so the first asks stay those
of every other deliberation). Later it is the stated one, or none.

Aggregation: plurality over the K, or a vote weighted by the stated confidences, where an answer
without a readable confidence keeps the least weight (:data:`LEAST_WEIGHT`). Failures, unreadable
answers and the quorum are as in ``deliberation.py``.

Source: arXiv 2601.19921 (diversity-aware start, confidence-modulated rounds). Departures: TF-IDF
for embeddings; confidences are stated, not calibrated, as calibration needs labelled data; the
numbers of candidates, agents and rounds are parameters with values of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from protocols.ballots import Ballot, count_unparsed
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.confidence import TEMPLATE as CONFIDENCE_TEMPLATE
from protocols.confidence import confidence_part, read_confidence
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import (
    PEERS,
    SOLVER,
    Deliberation,
    Stand,
    silence,
    solver_count,
    solver_seats,
)
from protocols.diversity import distances, mean_distance, most_diverse
from protocols.errors import Mistake
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE, solver_asks

OWN_TEMPLATE = "diverse_debate"
LEAST_WEIGHT = 0.01
"""The least weight of a vote (ours): a stated 0 would be no vote at all."""
RULES = {"plurality": "plurality", "confidence": "confidence_weighted"}


class Sure(NamedTuple):
    """How sure an agent is of its answer."""

    value: float
    """From 0 to 1."""
    source: Literal["stated", "agreement"]
    """Whether it says so, or so many of the first answers agree with it."""


class DiverseDebate(Protocol):
    """Of N first answers the K most diverse are debated, with stated confidence; then a vote."""

    kind: ClassVar[str] = "diverse_debate"
    about: ClassVar[str] = "the most diverse of many first answers are debated with confidence"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, PEERS, CONFIDENCE_TEMPLATE, OWN_TEMPLATE)

    candidates: int | None = Field(None, ge=2)
    """N, the first answers, of which one expert can give several. Null: one for each expert."""
    agents: int = Field(3, ge=2)
    """K, the answers that are kept, each with the agent that gave it."""
    rounds: int = Field(2, ge=1)
    """r, the rounds of discussion."""
    vote: Literal["plurality", "confidence"] = "plurality"
    """How the last answers are joined: counted, or weighted by stated confidence."""

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the solvers."""
        about = "answers first; the most diverse discuss"
        return (Role(SOLVER, about, many=True, reads_passage=True, draws=True),)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From the first answers alone to K asks more in every round."""
        n = self._count(cast)
        return CallBound(n, n + self.agents * self.rounds)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Answer, choose, discuss, vote."""
        seats = solver_seats(cast, self._count(cast))
        replies = yield solver_asks(question, cast, seats)
        pool = Deliberation(question, cast, seats)
        first = pool.take(replies)
        stands = [stand for stand in pool.stands if stand is not None]
        told: dict[str, Any] = {"first_plurality": first.answer, "first_answers": pool.answers()}
        chosen, sure = self._chosen(stands, told)
        if not chosen:
            return pool.outcome(first, rule=RULES[self.vote], **told)
        debate = Deliberation(question, cast, [seats[place] for place in chosen])
        debate.note(replies)
        ballot = self._take(debate, [replies[place] for place in chosen], sure)
        while len(chosen) > 1 and len(debate.rounds) <= self.rounds:
            replies = yield debate.asks(_said(debate, sure))
            sure = [_after(reply, one) for reply, one in zip(replies, sure, strict=True)]
            ballot = self._take(debate, replies, sure)
        outcome = debate.outcome(ballot, rule=RULES[self.vote], **told)
        unread = count_unparsed([s.reply for s in stands], [s.reading for s in stands])
        return outcome.model_copy(update={"unparsed": outcome.unparsed + unread})

    def _count(self, cast: Cast) -> int:
        """Return the number of first answers.

        Raises:
            Mistake: there are fewer than agents.
        """
        n = solver_count(cast, self.candidates)
        if n < self.agents:
            raise Mistake(
                f"{self.agents} agents cannot be chosen from {n} first answers; raise "
                "'candidates', lower 'agents' or cast more experts as 'solver'"
            )
        return n

    def _chosen(
        self, stands: Sequence[Stand], told: dict[str, Any]
    ) -> tuple[list[int], list[Sure | None]]:
        """Return the most diverse of the readable answers and how sure they are; tell of both."""
        places = [place for place, stand in enumerate(stands) if stand.answer is not None]
        answers = [stand.answer for stand in stands if stand.answer is not None]
        apart = distances(answers, [stands[place].reply.text for place in places])
        picked = most_diverse(apart, self.agents)
        told |= {
            "chosen": [places[i] for i in picked],
            "distance_of_all": mean_distance(apart, range(len(answers))),
            "distance_of_chosen": mean_distance(apart, picked),
        }
        sure: list[Sure | None] = []
        for i in picked:
            share = round(answers.count(answers[i]) / len(answers), 9)
            sure.append(_stated(stands[places[i]].reply) or Sure(share, "agreement"))
        return [places[i] for i in picked], sure

    def _take(
        self, debate: Deliberation, replies: Sequence[Reply], sure: Sequence[Sure | None]
    ) -> Ballot:
        """Take the answers of a round and count them."""
        debate.hear(replies)
        weights = [LEAST_WEIGHT if one is None else max(LEAST_WEIGHT, one.value) for one in sure]
        weighted = self.vote == "confidence"
        return debate.close(
            weights if weighted else None,
            confidences=[None if one is None else one.value for one in sure],
            confidence_sources=[None if one is None else one.source for one in sure],
        )


def _stated(reply: Reply) -> Sure | None:
    """Return the confidence that a reply states."""
    stated = read_confidence(reply.text, scale="unit")
    return Sure(stated, "stated") if isinstance(stated, float) else None


def _after(reply: Reply, before: Sure | None) -> Sure | None:
    """Return how sure an agent is after a round: where data is missing, as sure as before."""
    missing = reply.failure is not None and reply.failure.missing
    return before if missing else _stated(reply)


def _heading(section: str, sure: Sure | None) -> Part:
    """Return the line before a solution, with its author's confidence."""
    if sure is None:
        return prompt(OWN_TEMPLATE, section, confidence="", stated=True)
    shown = format(sure.value, ".2f")
    return prompt(OWN_TEMPLATE, section, confidence=shown, stated=sure.source == "stated")


def _said(debate: Deliberation, sure: Sequence[Sure | None]) -> list[list[Part]]:
    """Return what each agent reads: its own answer, then the others', each with a confidence."""
    said = [debate.said(place) or silence() for place in range(len(sure))]
    theirs = [_heading("theirs", one) for one in sure]
    closing = (prompt(OWN_TEMPLATE, "revise"), confidence_part("unit"))
    each = []
    for place, one in enumerate(sure):
        parts = [prompt(OWN_TEMPLATE, "heard"), _heading("yours", one), said[place]]
        for other, part in enumerate(said):
            if other != place:
                parts += (theirs[other], part)
        each.append([*parts, *closing])
    return each
