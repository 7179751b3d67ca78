"""Rated answers: the whole pool answers, a judge rates each answer, and the best ones are kept.

The form of the adaptive bar (MAIN-RAG, arXiv 2501.00332) in which a scalar judge is cast: r is its
rating of an answer, from 0 to 1, and kept is r >= mean - n * sigma over what was rated, best
first. An answer that came and got no rating is not kept, as nobody knows which side of the bar it
lies on; where nothing at all was rated, everything that came is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.contract import Session
from protocols.outcome import Outcome
from protocols.parsing import Parsed, Reading, Unparsed, read_answer
from protocols.prompts import headed, prompt
from protocols.question import Question
from protocols.quoting import quoted
from protocols.recruiting import SOLVER, Place, Recruiting, with_counts
from protocols.replies import Reply
from protocols.reviewing import HIGHEST, LOWEST, read_score
from protocols.routing.measured import Task
from protocols.routing.steps import Recruit, Recruitment, rounded, scores_of, taken
from protocols.routing.teams import AdaptiveBar
from protocols.solving import solver_asks, solver_messages

JUDGE = "judge"
RATING_TEMPLATE = "adaptive_bar"


def rated_and_joined(
    protocol: Recruiting, rule: AdaptiveBar, task: Task, cast: Cast
) -> Session[Outcome]:
    """Ask the pool, have its answers rated, and join those above the bar.

    Schedule: ``{1..e} > {J for each answer that came}``. Price: up to twice the pool.
    """
    question = task.question
    seats = [cast.seat(SOLVER, slot) for slot in range(len(cast.role(SOLVER)))]
    replies = yield solver_asks(question, cast, seats)
    came = [slot for slot, reply in enumerate(replies) if not reply.failed]
    verdicts: Sequence[Reply] = ()
    if came:
        verdicts = yield tuple(
            _rating_ask(question, cast, replies[slot], number) for number, slot in enumerate(came)
        )
    readings = [_rating(verdict) for verdict in verdicts]
    ratings = {
        slot: rounded(float(reading.value))
        for slot, reading in zip(came, readings, strict=True)
        if isinstance(reading, Parsed)
    }
    kept = _kept(protocol, rule, cast, came, ratings)
    dropped = [slot for slot in range(len(replies)) if slot not in kept]
    recruitment, places = _team(task, cast, kept, ratings)
    outcome = yield from protocol.joined(
        task, cast, recruitment, places, [replies[slot] for slot in kept]
    )
    left = [replies[slot] for slot in dropped]
    outcome = with_counts(outcome, left, [read_answer(reply, question) for reply in left])
    outcome = with_counts(outcome, verdicts, readings)
    told = {seats[slot].expert: ratings.get(slot) for slot in came}
    return outcome.model_copy(update={"detail": {**outcome.detail, "ratings": told}})


def _kept(
    protocol: Recruiting,
    rule: AdaptiveBar,
    cast: Cast,
    came: Sequence[int],
    ratings: Mapping[int, float],
) -> list[int]:
    """Return the slots whose answers count, in slot order; all where nobody answered."""
    pool = cast.role(SOLVER)
    if not came:
        return list(range(len(pool)))
    if not ratings:
        return list(came)
    bar = rule.bar(list(ratings.values()))
    above = [slot for slot, rating in ratings.items() if rating >= bar]
    above.sort(key=lambda slot: (-ratings[slot], pool[slot].expert, slot))
    return sorted(above[: protocol.size(len(pool))])


def _team(
    task: Task, cast: Cast, kept: Sequence[int], ratings: Mapping[int, float]
) -> tuple[Recruitment, list[Place]]:
    """Return the recruitment of those who are kept; their weight is their rating."""
    pool = [member.expert for member in cast.role(SOLVER)]
    values = [max((ratings.get(s, 0.0) for s, e in enumerate(pool) if e == name), default=0.0)
              for name in task.pool]  # fmt: skip
    scores = scores_of(task.pool, values, why={"by": JUDGE})
    names = {pool[slot] for slot in kept}
    selection = taken(scores, [i for i, name in enumerate(task.pool) if name in names])
    recruits = [Recruit(pool[slot], slot, 1, ratings.get(slot, 0.0), 1.0) for slot in kept]
    places = [Place(cast.seat(SOLVER, recruit.index), recruit, 1) for recruit in recruits]
    return Recruitment(tuple(recruits), selection), places


def _rating_ask(question: Question, cast: Cast, reply: Reply, number: int) -> Ask:
    """Return the ask that has one answer rated; its author is not named."""
    heading = prompt(RATING_TEMPLATE, "heading")
    messages = solver_messages(
        question,
        passage=cast.reads_passage(JUDGE),
        said=(headed(heading, "answer", quoted(reply.text), reply.place),),
        system=prompt(RATING_TEMPLATE, "system"),
        task=prompt(RATING_TEMPLATE, "score"),
    )
    name = JUDGE if number == 0 else f"{JUDGE}_{number}"
    return Ask(cast.seat(JUDGE, name=name), messages, question=question.id)


def _rating(verdict: Reply) -> Reading:
    """Read a rating, from 0 to 1, as a decimal."""
    score = None if verdict.failed else read_score(verdict.text)
    if score is None:
        return Unparsed("no score from 1 to 10")
    return Parsed(repr((score - LOWEST) / (HIGHEST - LOWEST)))
