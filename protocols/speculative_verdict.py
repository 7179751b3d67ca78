"""Speculative verdict: drafts that the drafters themselves find equally likely go to one judge.

Schedule: ``{1..n}, {scores}, V``. Price: n drafts, n·d scores for d distinct answers, 1 verdict: at
most n + n² + 1 asks. Nothing is scored where no more than `keep` drafts can be read, or where all
agree, as there is nothing to choose then; n where nothing can be read.

Who sees what. A drafter: the question alone; to score, the same prompt with an answer line behind
it, which is not continued but weighed (``Ask.score``). The aggregator, which gives the verdict:
the question and the selected drafts in seat order, numbered, not named.

Selection. PPL_B(a) is the perplexity of the answer line of answer a under drafter B, whose
logarithm is minus the mean log-likelihood of its tokens. The consensus score of draft A is ::

    s(A) = sum over the other drafters B of |ln PPL_B(a_A) - ln PPL_B(a_B)|

and the `keep` drafts with the lowest score are selected; equal ones by seat. Where B's scores did
not come, the sum runs over the others and is scaled up by their share (ours); a draft without any
term cannot be selected.

Quorum: one draft that can be read and, where scores are needed, one that has a score. There is no
vote in place of scores: where none came, the session failed, or is unparsed if replies came that
were no scores. The verdict decides and nothing stands in for it; the plurality of the drafts is
told beside it (``vote``).

Source: Small Drafts, Big Verdict (2025), consensus expert selection with 3 of 5 drafts.
Departures: the answer line in canonical form is scored instead of the answer as it was written, so
that equal answers are scored once; text instead of images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from protocols.aggregators import AGGREGATE_TEMPLATE, AGGREGATOR, Solution, aggregator_ask
from protocols.asks import Ask
from protocols.ballots import TOLERANCE, Ballot, session_boundary
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import SOLVER, Deliberation, names_of, solver_count, solver_seats
from protocols.messages import Message, Part
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE, solver_messages

RULE = "speculative_verdict"

Likelihoods = Mapping[int, Mapping[str, float]]
"""Reader -> answer -> mean log-likelihood."""


class SpeculativeVerdict(Protocol):
    """The drafts that agree best by likelihood go to the verdict model, whose answer counts."""

    kind: ClassVar[str] = "speculative_verdict"
    about: ClassVar[str] = "the drafts that all drafters find likely go to one verdict model"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, AGGREGATE_TEMPLATE)

    agents: int | None = Field(None, ge=1)
    """Drafters where one expert fills all seats. Null: one seat for each expert that is cast."""
    keep: int = Field(3, ge=1)
    """The drafts that go to the verdict model."""

    def roles(self) -> tuple[Role, ...]:
        """Return the drafters, who score as well, and the aggregator."""
        about = "drafts, and says how likely it finds the others' answers"
        return (
            Role(SOLVER, about, many=True, reads_passage=True, draws=True, scores=True),
            Role(AGGREGATOR, "gives the verdict", reads_passage=True, draws=True),
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From silent drafters to a score of every answer by everybody, and the verdict."""
        n = solver_count(cast, self.agents)
        return CallBound(n, n + n * n + 1)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Draft, score, select, give the verdict."""
        talk = Deliberation(question, cast, solver_seats(cast, self.agents))
        ballot = talk.take((yield talk.asks()))
        drafts = _drafts(talk)
        told: dict[str, object] = {}
        unread = 0
        selected = list(drafts)[: self.keep]
        if len(drafts) > self.keep and len(set(drafts.values())) > 1:
            asks = _score_asks(talk, cast, drafts)
            replies = yield tuple([ask for _, _, ask in asks])
            talk.note(replies)
            likelihoods: dict[int, dict[str, float]] = {place: {} for place in drafts}
            for (place, answer, _), reply in zip(asks, replies, strict=True):
                if reply.score is not None:
                    likelihoods[place][answer] = reply.score
                unread += reply.score is None and not reply.failed
            scores = consensus_scores(drafts, likelihoods)
            selected = select_drafts(scores, self.keep)
            names = names_of(talk.seats)
            told["consensus"] = {names[place]: scores[place] for place in drafts}
            told["selected"] = [names[place] for place in selected]
            if not selected:
                return _unscored(talk, ballot, replies, told, unread=unread)
        final = None
        if selected:
            stands = [stand for place in selected if (stand := talk.stands[place]) is not None]
            shown = [Solution(stand.reply) for stand in stands]
            final = yield from ask_one(aggregator_ask(question, cast, shown))
        outcome = talk.decided(ballot, final, rule=RULE, **told)
        return outcome.model_copy(update={"unparsed": outcome.unparsed + unread})


def _drafts(talk: Deliberation) -> dict[int, str]:
    """Return the answers that can be read, by seat."""
    answers = {place: stand.answer for place, stand in enumerate(talk.stands) if stand is not None}
    return {place: answer for place, answer in answers.items() if answer is not None}


def _score_asks(
    talk: Deliberation, cast: Cast, drafts: Mapping[int, str]
) -> list[tuple[int, str, Ask]]:
    """Return the asks that let every drafter weigh every distinct answer."""
    question = talk.question
    messages = solver_messages(question, passage=cast.reads_passage(SOLVER))
    lines = {
        answer: (*messages, Message("assistant", (Part("scored", f"Answer: {answer}"),)))
        for answer in dict.fromkeys(drafts.values())
    }
    return [
        (place, answer, Ask(talk.seats[place], said, question=question.id, score=True))
        for place in drafts
        for answer, said in lines.items()
    ]


def consensus_scores(
    drafts: Mapping[int, str], likelihoods: Likelihoods
) -> dict[int, float | None]:
    """Return the consensus score of every draft, None where it has no term.

    Args:
        drafts: seat -> its answer.
        likelihoods: seat -> answer -> mean log-likelihood of the answer under that drafter.
    """
    scores: dict[int, float | None] = {}
    for place, answer in drafts.items():
        terms = []
        for reader, own in drafts.items():
            known = likelihoods.get(reader, {})
            if reader != place and answer in known and own in known:
                terms.append(abs(known[own] - known[answer]))
        scale = (len(drafts) - 1) / len(terms) if terms else 0.0
        scores[place] = round(math.fsum(terms) * scale, 12) if terms else None
    return scores


def select_drafts(scores: Mapping[int, float | None], keep: int) -> list[int]:
    """Return the places of the `keep` lowest scores, in seat order; equal ones by seat."""
    known = [
        (round(score / TOLERANCE), place) for place, score in scores.items() if score is not None
    ]
    return sorted(place for _, place in sorted(known)[:keep])


def _unscored(
    talk: Deliberation,
    ballot: Ballot,
    replies: Sequence[Reply],
    told: Mapping[str, object],
    *,
    unread: int,
) -> Outcome:
    """Return the outcome where scores are needed and none came."""
    outcome = talk.decided(ballot, None, rule=RULE, **told)
    boundary = session_boundary(replies) if all(reply.failed for reply in replies) else None
    status = "failed" if boundary else "unparsed"
    update = {"status": status, "boundary": boundary, "unparsed": outcome.unparsed + unread}
    return outcome.model_copy(update=update)
