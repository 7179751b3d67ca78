"""Deliberation: the answers of peers who answer, hear each other and answer again.

One place for all protocols of the family. The first turn is asked through ``solving.py``, so
their first answers have the same keys wherever the cast is the same. After every turn of answers
each seat has a stand:

* an answer that can be read is its vote, and others read the reply;
* content without a readable answer has no vote, but others read it;
* a failure of its own doing (refused, overlong, malformed) leaves it without a vote and silent;
* missing data (provider, timeout) leaves it out of the round: the stand that it had before, if
  any, stays. The failure is counted either way, and the seat is asked again in the next round.

Any readable answer is a quorum for the vote, and any content for going on; a session fails only
where nobody has either.

The outcome's detail holds ``first_plurality``, the plain vote of the first answers that a
deliberation has to beat, and ``rounds``: for the first answers and for every round after them the
``answers`` by expert and the ``answer`` that the protocol would end with there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from protocols.asks import Ask, Seat
from protocols.ballots import Ballot, Vote, failure_counts, tally, vote_outcome
from protocols.canonical import clean_text
from protocols.cast import Cast
from protocols.errors import Mistake
from protocols.messages import Message, Part
from protocols.outcome import Outcome
from protocols.parsing import Parsed, Reading, read_answer
from protocols.profile import cast_profile
from protocols.prompts import prompt
from protocols.question import Question
from protocols.quoting import quoted_part
from protocols.replies import Reply
from protocols.solving import solver_messages

SOLVER = "solver"
PEERS = "peers"
"""The template file of what every deliberation says about what was said before."""


class Stand(NamedTuple):
    """Where a seat stands: the reply that counts, and how its answer was read."""

    reply: Reply
    reading: Reading

    @property
    def answer(self) -> str | None:
        """The answer in canonical form; None where nothing could be read."""
        return self.reading.value if isinstance(self.reading, Parsed) else None

    @property
    def missing(self) -> bool:
        """Whether there is no data, rather than something wrong."""
        return self.reply.failure is not None and self.reply.failure.missing


class Deliberation:
    """The seats of a session with their stands, and the account of what happened."""

    __slots__ = (
        "_lost",
        "_names",
        "_parts",
        "_passage",
        "_precedence",
        "_unparsed",
        "first",
        "question",
        "rounds",
        "seats",
        "stands",
    )

    def __init__(self, question: Question, cast: Cast, seats: Sequence[Seat]) -> None:
        profile = cast_profile(cast.assets)
        self.question = question
        self.seats = tuple(seats)
        self.stands: list[Stand | None] = [None] * len(self.seats)
        """One for each seat; None before its first reply."""
        self.rounds: list[dict[str, Any]] = []
        """What is told of the first answers and of every round after them."""
        self.first: Ballot | None = None
        """The plain plurality of the first answers."""
        self._parts: list[Part | None] = [None] * len(self.seats)
        self._names = names_of(self.seats)
        self._passage = cast.reads_passage(self.seats[0].role)
        self._precedence = None if profile is None else profile.ranking()
        self._lost: list[Reply] = []
        self._unparsed = 0

    def asks(self, said: Sequence[Sequence[Part]] | None = None) -> tuple[Ask, ...]:
        """Return one ask for an answer from every seat.

        Args:
            said: for every seat the parts that stand before the task; None puts the question
                alone, the same to all, as the first answers are asked.
        """
        question, passage = self.question, self._passage
        if said is None:
            alike = solver_messages(question, passage=passage)
            return tuple([Ask(seat, alike, question=question.id) for seat in self.seats])
        places = range(len(self.seats))
        return tuple([self.ask(place, parts) for place, parts in zip(places, said, strict=True)])

    def ask(self, place: int, said: Sequence[Part]) -> Ask:
        """Return an ask for an answer from one seat; `said` stands before the task."""
        messages = solver_messages(self.question, passage=self._passage, said=said)
        return Ask(self.seats[place], messages, question=self.question.id)

    def take(self, replies: Iterable[Reply]) -> Ballot:
        """Take one round of answers by plain vote: :meth:`hear`, then :meth:`close`."""
        self.hear(replies)
        return self.close()

    def hear(self, replies: Iterable[Reply], places: Iterable[int] | None = None) -> None:
        """Take one reply from every seat; see the module's docstring for what becomes of it.

        Args:
            replies: in the order of the seats.
            places: which seats were asked; all where None.
        """
        asked = range(len(self.seats)) if places is None else places
        for place, given in zip(asked, replies, strict=True):
            reply = cleaned(given)
            if reply.failure is not None:
                self._lost.append(reply)
                if reply.failure.missing and self.stands[place] is not None:
                    continue
            reading = read_answer(reply, self.question)
            if reply.failure is None and not isinstance(reading, Parsed):
                self._unparsed += 1
            self.stands[place] = Stand(reply, reading)
            self._parts[place] = None

    def note(self, replies: Iterable[Reply]) -> None:
        """Count the failures among replies that hold no answers: reviews, summaries..."""
        self._lost += [reply for reply in replies if reply.failure is not None]

    def close(self, weights: Sequence[float] | None = None, **told: Any) -> Ballot:
        """End a round: count the answers that stand and write down what there is.

        Args:
            weights: one for each seat; every vote counts 1 without them.
            told: what else is told of the round.
        """
        ballot = self._ballot(weights)
        if self.first is None:
            self.first = ballot if weights is None else self._ballot(None)
        self.rounds.append({"answers": self.answers(), "answer": ballot.answer, **told})
        return ballot

    def answers(self) -> dict[str, str | None]:
        """Return what every expert answers now: None where nothing can be read, absent if missing.

        An expert that sits twice has its later places under their seats' names.
        """
        return {
            name: stand.answer
            for name, stand in zip(self._names, self.stands, strict=True)
            if stand is not None and not stand.missing
        }

    @property
    def silent(self) -> bool:
        """Whether nobody has said anything that others could read."""
        return all(self.said(place) is None for place in range(len(self.seats)))

    def said(self, place: int) -> Part | None:
        """Return the quoted reply of a seat; None where it is silent. Made once a reply."""
        part = self._parts[place]
        if part is None:
            stand = self.stands[place]
            if stand is None:
                return None
            part = self._parts[place] = said_part("answer", stand.reply)
        return part

    def heard(self, place: int, others: Iterable[int]) -> list[Part]:
        """Return what a seat reads: its own last answer, then those of `others`, quoted."""
        theirs = prompt(PEERS, "theirs")
        parts = [prompt(PEERS, "heard"), prompt(PEERS, "yours"), self.said(place) or silence()]
        for other in others:
            parts += (theirs, self.said(other) or silence())
        return parts

    def decided(self, ballot: Ballot, final: Reply | None, *, rule: str, **told: Any) -> Outcome:
        """Return the outcome where one reply decides that was written with the answers in view.

        Nothing stands in for it: where it failed the session failed, and where it cannot be read
        the outcome is unparsed. The vote of the answers that stand is told beside it (``vote`` and
        ``votes``).

        Args:
            ballot: the vote.
            final: what decides; None where nobody was asked, as there was nothing to decide on.
            rule: the rule's name.
            told: what else is told.
        """
        if final is not None:
            self.note((final,))
        outcome = self.outcome(ballot, rule=rule, vote=ballot.answer, votes=ballot.votes, **told)
        nothing: dict[str, Any] = {
            "votes": {},
            "answered_by": None,
            "tie_rule": "none",
            "tie_broken": False,
        }
        if final is None:
            status = outcome.status if outcome.status == "failed" else "unparsed"
            return outcome.model_copy(update={**nothing, "status": status, "answer": None})
        reading = read_answer(cleaned(final), self.question)
        answer = reading.value if isinstance(reading, Parsed) else None
        failure = final.failure
        decided: dict[str, Any] = {
            "status": "failed" if failure else "unparsed" if answer is None else "answered",
            "answer": answer,
            "boundary": failure.boundary if failure else None,
            "unparsed": outcome.unparsed + int(failure is None and answer is None),
        }
        return outcome.model_copy(update=nothing | decided)

    def outcome(self, ballot: Ballot, *, rule: str, **told: Any) -> Outcome:
        """Return the outcome: the vote of the answers that stand at the end."""
        stands = [stand for stand in self.stands if stand is not None]
        assert self.first is not None
        assert len(stands) == len(self.seats)
        detail: dict[str, Any] = {
            "first_plurality": self.first.answer,
            "rounds": self.rounds,
            **told,
        }
        outcome = vote_outcome(
            [stand.reply for stand in stands],
            [stand.reading for stand in stands],
            ballot,
            rule=rule,
            answered_by=self.seats[0].expert if len(self.seats) == 1 else None,
            detail=detail,
        )
        return outcome.model_copy(
            update={"unparsed": self._unparsed, "failures": failure_counts(self._lost)}
        )

    def _ballot(self, weights: Sequence[float] | None) -> Ballot:
        return tally(
            [
                Vote(
                    stand.reading.value,
                    1.0 if weights is None else weights[place],
                    self.seats[place].expert,
                    place,
                )
                for place, stand in enumerate(self.stands)
                if stand is not None and isinstance(stand.reading, Parsed)
            ],
            precedence=self._precedence,
        )


def solver_seats(cast: Cast, agents: int | None) -> tuple[Seat, ...]:
    """Return the solvers' seats: one for each expert, or `agents` seats of the only one.

    Raises:
        Mistake: `agents` differs from the number of the several experts that are cast.
    """
    return tuple([cast.seat(SOLVER, place) for place in range(solver_count(cast, agents))])


def solver_count(cast: Cast, agents: int | None) -> int:
    """Return how many seats :func:`solver_seats` gives.

    Raises:
        Mistake: see there.
    """
    experts = len(cast.role(SOLVER))
    if agents is None or agents == experts:
        return experts
    if experts != 1:
        raise Mistake(
            f"agents is {agents}, but {experts} experts are cast as {SOLVER!r}; leave agents out, "
            "or cast one expert to fill all seats"
        )
    return agents


def names_of(seats: Sequence[Seat]) -> tuple[str, ...]:
    """Return the name of every seat in a table: its expert, or the seat where that one has more."""
    names: list[str] = []
    for seat in seats:
        names.append(seat.name if seat.expert in names else seat.expert)
    return tuple(names)


def context_messages(
    question: Question, *, passage: bool, system: Part, said: Sequence[Part]
) -> tuple[Message, ...]:
    """Return a prompt that asks for something else than an answer: a review, a summary...

    Args:
        question: what it is about.
        passage: whether the passage is shown; pass ``cast.reads_passage(role)``.
        system: the system part.
        said: what stands behind the question and its options, the task at its end.
    """
    parts = [question.passage_part] if passage and question.passage else []
    parts.append(question.text_part)
    if question.options:
        parts.append(question.options_part)
    parts += said
    return (Message("system", (system,)), Message("user", tuple(parts)))


def said_part(name: str, reply: Reply) -> Part | None:
    """Return the part that quotes a reply; None where it failed or is blank."""
    if reply.failure is not None or not reply.text or reply.text.isspace():
        return None
    return quoted_part(name, reply, text=clean_text(reply.text)[0])


def silence() -> Part:
    """Return the part that stands where somebody said nothing."""
    return prompt(PEERS, "silence")


def cleaned(reply: Reply) -> Reply:
    """Return `reply` without NUL and lone surrogates, which cannot be quoted or stored."""
    text, repaired = clean_text(reply.text)
    return replace(reply, text=text, repaired=True) if repaired else reply
