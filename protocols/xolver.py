"""Xolver: solvers with a memory of past problems, and a judge that keeps the best they found.

Schedule: ``({1..n}, {judge each})*``. Price: at most 2n asks a round; n where nobody said anything.
It ends early once all n kept solutions give the same answer (ours; the source: convergence).

Who sees what. First round: the question and, where the cast's memory holds any like it, past
problems with their solutions. Later rounds: the question, one's own last answer, and the n best
solutions of all rounds with the judge's score and words, without names. The judge: the question
and one solution. What is written in a round is hidden until the round is over.

Aggregation: the solution with the highest score of all rounds that has a readable answer, not the
last one; equal scores go to the earlier round, then to the earlier seat. What the judge did not
score cannot be chosen: where nothing was scored, the session failed, or is unparsed if the judge
said something that is no score. The outcome tells it as ``best`` (expert, round, score, answer,
text), which is what a memory stores; see ``memory.py``. Beside it stand the vote of the last
answers (``vote``, ``votes``) and the rounds of ``deliberation.py``, whose rules on failures hold
here too.

Source: Xolver (arXiv 2506.14234): episodic memory, a shared memory of the n best solutions, a
judge's scores and feedback. Departures: no planner that invents roles, no tools, no separate
verifier; the source's published code stored the last solution, here the best one is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from protocols.asks import Ask
from protocols.ballots import TOLERANCE, Ballot, session_boundary
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import (
    PEERS,
    SOLVER,
    Deliberation,
    Stand,
    context_messages,
    names_of,
    said_part,
    silence,
    solver_count,
    solver_seats,
)
from protocols.memory import BEST, MEMORY, cast_memory
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.prompts import prompt
from protocols.question import Question
from protocols.quoting import quoted
from protocols.replies import Reply
from protocols.reviewing import read_score
from protocols.solving import TEMPLATE

JUDGE = "judge"
OWN_TEMPLATE = "xolver"
RULE = "best_scored"


class Xolver(Protocol):
    """Solvers improve on the best solutions so far, which a judge scores; the best one counts."""

    kind: ClassVar[str] = "xolver"
    about: ClassVar[str] = "solvers with a memory; a judge keeps the best solution of all rounds"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, PEERS, OWN_TEMPLATE)

    agents: int | None = Field(None, ge=1)
    """Solvers where one expert fills all seats. Null: one seat for each expert that is cast."""
    rounds: int = Field(2, ge=1)
    """Rounds of solving and judging."""
    recall: int = Field(3, ge=0)
    """Past problems that are shown in the first round; with 0 there is no memory."""

    def roles(self) -> tuple[Role, ...]:
        """Return the solvers and the judge."""
        return (
            Role(SOLVER, "solves, and solves again", many=True, reads_passage=True, draws=True),
            Role(JUDGE, "scores each solution", reads_passage=True, draws=True),
        )

    def assets(self) -> tuple[str, ...]:
        """Return the memory, where one is read."""
        return (MEMORY,) if self.recall else ()

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From the first answers alone to a score of every answer of every round."""
        n = solver_count(cast, self.agents)
        return CallBound(n, 2 * n * self.rounds)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Solve and judge, round by round."""
        talk = Deliberation(question, cast, solver_seats(cast, self.agents))
        book = _Book(talk, cast)
        past = self._past(question, cast)
        said = [past] * len(talk.seats) if past else None
        while True:
            replies = yield talk.asks(said)
            ballot = talk.take(replies)
            fresh = book.fresh(replies)
            if fresh:
                book.take(fresh, (yield book.asks(fresh)))
            if talk.silent or book.settled or len(talk.rounds) == self.rounds:
                return book.outcome(ballot)
            said = [book.said(place) for place in range(len(talk.seats))]

    def _past(self, question: Question, cast: Cast) -> list[Part]:
        """Return the past problems that the solvers read first; none where none is alike."""
        entries = cast_memory(cast.assets).recall(question, self.recall) if self.recall else ()
        parts = [prompt(OWN_TEMPLATE, "past")] if entries else []
        for entry in entries:
            parts += (
                prompt(OWN_TEMPLATE, "entry", score=f"{entry.score:g}"),
                Part("problem", quoted(f"{entry.question}\n\n{entry.solution}")),
            )
        return parts


class _Kept(NamedTuple):
    """A solution that was scored."""

    score: float
    round: int
    place: int
    stand: Stand
    solution: Part
    remark: Part | None

    @property
    def rank(self) -> tuple[int, int, int]:
        """What sorts solutions, best first."""
        return (-round(self.score / TOLERANCE), self.round, self.place)


class _Book:
    """The shared memory of a session: what was scored, best first."""

    __slots__ = ("_cast", "_judged", "_unread", "kept", "talk")

    def __init__(self, talk: Deliberation, cast: Cast) -> None:
        self.talk = talk
        self.kept: list[_Kept] = []
        self._cast = cast
        self._judged: list[Reply] = []
        self._unread = 0

    def fresh(self, replies: Sequence[Reply]) -> list[int]:
        """Return the seats that said something in this round."""
        return [
            place
            for place, reply in enumerate(replies)
            if not reply.failed and self.talk.said(place) is not None
        ]

    def asks(self, places: Sequence[int]) -> tuple[Ask, ...]:
        """Return the asks that have the answers of `places` scored."""
        return tuple([self._ask(place) for place in places])

    def _ask(self, place: int) -> Ask:
        question = self.talk.question
        messages = context_messages(
            question,
            passage=self._cast.reads_passage(JUDGE),
            system=prompt(OWN_TEMPLATE, "judge_system"),
            said=(
                prompt(OWN_TEMPLATE, "solution"),
                self.talk.said(place) or silence(),
                prompt(OWN_TEMPLATE, "score"),
            ),
        )
        return Ask(self._cast.seat(JUDGE), messages, question=question.id)

    def take(self, places: Sequence[int], replies: Sequence[Reply]) -> None:
        """Read the scores of `places` and keep what has one, best first."""
        self.talk.note(replies)
        self._judged += replies
        number = len(self.talk.rounds)
        for place, reply in zip(places, replies, strict=True):
            score = None if reply.failed else read_score(reply.text)
            stand, solution = self.talk.stands[place], self.talk.said(place)
            self._unread += score is None and not reply.failed
            if score is not None and stand is not None and solution is not None:
                remark = said_part("judgement", reply)
                self.kept.append(_Kept(score, number, place, stand, solution, remark))
        self.kept.sort(key=lambda kept: kept.rank)

    @property
    def _best(self) -> list[_Kept]:
        """The n best solutions of all rounds."""
        return self.kept[: len(self.talk.seats)]

    @property
    def settled(self) -> bool:
        """Whether all n kept solutions give the same answer."""
        answers = [kept.stand.answer for kept in self._best]
        return (
            len(answers) == len(self.talk.seats) and len(set(answers)) == 1 and None not in answers
        )

    def said(self, place: int) -> list[Part]:
        """Return what a solver reads in a later round."""
        parts = self.talk.heard(place, ())
        for kept in self._best:
            parts += (prompt(OWN_TEMPLATE, "kept", score=f"{kept.score:g}"), kept.solution)
            if kept.remark is not None:
                parts += (prompt(OWN_TEMPLATE, "remark"), kept.remark)
        return [*parts, prompt(OWN_TEMPLATE, "improve")]

    def outcome(self, ballot: Ballot) -> Outcome:
        """Return the best scored answer; nothing stands in for it."""
        talk = self.talk
        readable = [kept for kept in self.kept if kept.stand.answer is not None]
        told: dict[str, Any] = {BEST: self._told(readable[0]) if readable else None}
        told |= {"vote": ballot.answer, "votes": ballot.votes}
        outcome = talk.outcome(ballot, rule=RULE, **told)
        update: dict[str, Any] = {
            "unparsed": outcome.unparsed + self._unread,
            "votes": {},
            "tie_rule": "first",
            "tie_broken": False,
        }
        if readable:
            best = readable[0]
            rivals = {kept.stand.answer for kept in readable if kept.rank[0] == best.rank[0]}
            update |= {
                "status": "answered",
                "boundary": None,
                "answer": best.stand.answer,
                "answered_by": talk.seats[best.place].expert,
                "tie_broken": len(rivals) > 1,
            }
        elif outcome.status != "failed":
            lost = self._judged and all(reply.failed for reply in self._judged)
            boundary = session_boundary(self._judged) if lost else None
            status = "failed" if boundary else "unparsed"
            update |= {"status": status, "boundary": boundary, "answer": None, "answered_by": None}
        return outcome.model_copy(update=update)

    def _told(self, best: _Kept) -> dict[str, Any]:
        return {
            "expert": names_of(self.talk.seats)[best.place],
            "round": best.round,
            "score": best.score,
            "answer": best.stand.answer,
            "text": best.stand.reply.text,
        }
