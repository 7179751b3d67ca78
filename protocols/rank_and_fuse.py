"""Rank and fuse: candidates are compared in pairs, and the best of them become one answer.

Schedule: ``{1..n}, {pairs}, Z``. Price: n + n(n-1)/2 comparisons (twice that with both orders) + 1;
n where nobody said anything. Candidates that said nothing are not compared.

Who sees what. The comparer: the question and two candidates, numbered, not named. The aggregator,
which fuses: the question and the K best candidates, best first.

Ranking. L[i][j] is how much the comparer prefers candidate i, shown first, to j, shown second: the
logit of the probability that it gives to the first, held between those of 0.01 and 0.99, where a
bare choice stands too. The score of i is the mean of row i of L - L^T, its own place (0)
included. With one order of each pair, which is drawn, L[j][i] = -L[i][j] (ours); so it is where one
of two comparisons cannot be read. A pair of which nothing can be read is left out of both rows. Of
equal scores the earlier seat goes first.

Quorum: any content among the candidates. The aggregator's answer decides and nothing stands in for
it. Beside it the detail tells ``scores``, ``ranking``, ``best`` (the answer of the candidate ranked
first) and ``vote`` (the plurality of all candidates).

Source: LLM-Blender (arXiv 2306.02561): PairRanker, the mean of logits over both orders, and
GenFuser over the top 3. Departures: the comparer and the fuser are experts that are cast instead of
models trained for it; the limit of the logits is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import ClassVar, Literal

from pydantic import Field

from protocols.aggregators import AGGREGATE_TEMPLATE, AGGREGATOR, Solution, aggregator_ask
from protocols.asks import Ask
from protocols.ballots import TOLERANCE
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import (
    SOLVER,
    Deliberation,
    context_messages,
    solver_count,
    solver_seats,
)
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.parsing import answer_text
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE

COMPARER = "comparer"
OWN_TEMPLATE = "rank_and_fuse"
LIMIT = 4.59511985013459
"""The logit of 0.99 (ours): surer than that no comparison counts."""
_NUMBERS = ("1", "2")

Pair = tuple[int, int]
"""Two candidates, in the order in which they are shown."""


class RankAndFuse(Protocol):
    """Candidates are ranked by comparisons in pairs; an aggregator fuses the best of them."""

    kind: ClassVar[str] = "rank_and_fuse"
    about: ClassVar[str] = "candidates are compared in pairs and the best are fused into one"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, AGGREGATE_TEMPLATE, OWN_TEMPLATE)

    agents: int | None = Field(None, ge=1)
    """Candidates where one expert fills all seats. Null: one for each expert that is cast."""
    top: int = Field(3, ge=1)
    """K, the candidates that are fused."""
    orders: Literal[1, 2] = 2
    """Whether each pair is compared in one order, drawn at random, or in both."""

    def roles(self) -> tuple[Role, ...]:
        """Return the candidates' authors, the comparer and the aggregator."""
        return (
            Role(SOLVER, "writes a candidate", many=True, reads_passage=True),
            Role(COMPARER, "compares two candidates", reads_passage=True, draws=True),
            Role(AGGREGATOR, "fuses the best candidates", reads_passage=True, draws=True),
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From silent candidates to all comparisons and the fusion."""
        n = solver_count(cast, self.agents)
        return CallBound(n, n + n * (n - 1) // 2 * self.orders + 1)

    def role_calls(self, question: Question, cast: Cast) -> dict[str, CallBound]:
        """Return the bound of each role."""
        n = solver_count(cast, self.agents)
        return {
            SOLVER: CallBound(n, n),
            COMPARER: CallBound(0, n * (n - 1) // 2 * self.orders),
            AGGREGATOR: CallBound(0, 1),
        }

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Write candidates, compare them, fuse the best."""
        talk = Deliberation(question, cast, solver_seats(cast, self.agents))
        ballot = talk.take((yield talk.asks()))
        said = [place for place in range(len(talk.seats)) if talk.said(place) is not None]
        if not said:
            return talk.decided(ballot, None, rule="rank_and_fuse")
        pairs = self._pairs(said, rng)
        preferences: dict[Pair, float] = {}
        unread = 0
        if pairs:
            replies = yield tuple([_comparison(talk, cast, pair) for pair in pairs])
            talk.note(replies)
            for pair, reply in zip(pairs, replies, strict=True):
                value = read_preference(reply)
                if value is not None:
                    preferences[pair] = value
                unread += value is None and not reply.failed
        scores = pair_scores(said, preferences)
        ranking = ranked(scores)
        stands = talk.stands
        best = [stand for place in ranking if (stand := stands[place]) is not None]
        shown = [Solution(stand.reply) for stand in best[: self.top]]
        final = yield from ask_one(aggregator_ask(question, cast, shown))
        outcome = talk.decided(
            ballot,
            final,
            rule="rank_and_fuse",
            scores={talk.seats[place].name: scores[place] for place in said},
            ranking=[talk.seats[place].name for place in ranking],
            best=best[0].answer,
        )
        return outcome.model_copy(update={"unparsed": outcome.unparsed + unread})

    def _pairs(self, places: Sequence[int], rng: Rng) -> list[Pair]:
        """Return the comparisons, in the order in which their candidates are shown."""
        pairs = list(combinations(places, 2))
        if self.orders == 2:
            return [pair for i, j in pairs for pair in ((i, j), (j, i))]
        order = rng.child("orders")
        return [(i, j) if order.integer(2) == 0 else (j, i) for i, j in pairs]


def _comparison(talk: Deliberation, cast: Cast, pair: Pair) -> Ask:
    said: list[Part] = []
    for number, place in enumerate(pair, start=1):
        part = talk.said(place)
        assert part is not None
        said += (prompt(OWN_TEMPLATE, "candidate", number=number), part)
    messages = context_messages(
        talk.question,
        passage=cast.reads_passage(COMPARER),
        system=prompt(OWN_TEMPLATE, "system"),
        said=(*said, prompt(OWN_TEMPLATE, "compare")),
    )
    return Ask(cast.seat(COMPARER), messages, _NUMBERS, question=talk.question.id)


def read_preference(reply: Reply) -> float | None:
    """Return the logit of the first candidate's chance to be the better one, or None.

    A distribution that came with the reply counts; without one the choice on the last answer line,
    at the limit.
    """
    stated = reply.distribution
    if reply.failed:
        return None
    if stated is None:
        written = (answer_text(reply.text) or "").strip("*_`().[] ")
        return {"1": LIMIT, "2": -LIMIT}.get(written)
    fits = len(stated) == len(_NUMBERS) and min(stated) >= 0.0
    if not fits or abs(math.fsum(stated) - 1.0) > 1e-6:
        return None
    if min(stated) <= 0.0:
        return LIMIT if stated[0] > 0.5 else -LIMIT
    return round(max(-LIMIT, min(LIMIT, math.log(stated[0] / stated[1]))), 12)


def pair_scores(places: Sequence[int], preferences: Mapping[Pair, float]) -> dict[int, float]:
    """Return the mean of each candidate's row of L - L^T.

    Args:
        places: the candidates.
        preferences: L, by (shown first, shown second); what is absent could not be read.
    """
    scores = {}
    for i in places:
        terms = [0.0]
        for j in places:
            here, there = preferences.get((i, j)), preferences.get((j, i))
            if i != j and (here is not None or there is not None):
                forth = -(there or 0.0) if here is None else here
                back = -(here or 0.0) if there is None else there
                terms.append(forth - back)
        scores[i] = round(math.fsum(terms) / len(terms), 12)
    return scores


def ranked(scores: Mapping[int, float]) -> list[int]:
    """Return the candidates, highest score first; those that differ by rounding alone by place."""
    return sorted(scores, key=lambda place: (-round(scores[place] / TOLERANCE), place))
