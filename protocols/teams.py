"""Teams: a seat that is filled by a protocol with a cast of its own.

A judge may be a panel, a debater a skill-routed team. The cast says so (``cast.Team``) and no
protocol needs to know: an ask to such a seat is answered by a session of the team's protocol
(:func:`staffed`), and what that ends with becomes the seat's reply.

The question that is put to a team is the ask. Its members read the same parts in the same words:
question, options, then behind a heading all that the seat is told, has read and is asked for; the
passage first, if the seat reads it - all of them, or, where the team's cast names ``readers``,
those. What is wanted back follows the ask: one of its options; an answer of the form that it asks
for; else prose, which is the whole of a reply (a speech, a critique).

The reply of a team is the words of its spokesman: the last reply that gave the answer with which
the team's session ended. Where options are wanted it brings the outcome's distribution, or each
option's share of the votes, so a panel that is evenly split is an even distribution. A team whose
session failed is a failed reply; one that came to no answer says nothing. Nothing stands in for it.

One turn of the outer session takes as many turns as its slowest team: teams and experts that are
asked at once stay outstanding together. Seats in a team are called ``judge.solver_1``, and
``judge(2).solver_1`` where the seat is asked a second time in the same turn. Their role is the
outer one, so that whoever asks for the judge's turns finds a panel's.

The outcome's detail tells what every team came to (``teams``), and its failures count the asks
that experts failed. Options that are named by letter in what the seat has read cannot be shown in
another order: a team's protocol that does so is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from protocols.asks import Ask, Sampling, Seat
from protocols.cast import Cast, Team
from protocols.chance import Rng
from protocols.compose import ask_one, together
from protocols.contract import CallBound, Protocol, Replies, Session
from protocols.errors import Mistake
from protocols.messages import Message, Part, find_part
from protocols.outcome import Outcome
from protocols.parsing import Parsed, read_answer
from protocols.prompts import prompt
from protocols.question import Question, QuestionKind
from protocols.replies import Boundary, Failure, Reply, Usage
from protocols.solving import PROSE_TEMPLATE, TEMPLATE
from protocols.tape import Finished, step
from protocols.wording import worded

T = TypeVar("T")

_FIRST = ("passage", "question", "options")


def start_session(protocol: Protocol, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
    """Start a session of any protocol with any cast: in its own words, its teams at work.

    The one way in which sessions are started, wherever they are run, replayed or forked.
    """
    session = worded(protocol.session(question, cast, rng), protocol.prompts)
    return staffed(session, cast, rng) if cast.teams else session


def staffed(session: Session[T], cast: Cast, rng: Rng) -> Session[T]:
    """Return `session` with every ask to a team of `cast` answered by a session of the team."""
    account = _Account()
    replies: Replies | None = None
    asked = 0
    while True:
        asks = step(session, replies)
        if isinstance(asks, Finished):
            return account.told(asks.outcome)
        if not any(ask.seat.model in cast.teams for ask in asks):
            replies = account.plain((yield asks))
            continue
        answering: list[Session[Reply]] = []
        names: list[str] = []
        for ask in asks:
            team = cast.teams.get(ask.seat.model)
            if team is None:
                answering.append(_asked(ask, account))
                continue
            names.append(ask.seat.name)
            again = names.count(ask.seat.name)
            name = f"{ask.seat.name}({again})" if again > 1 else ask.seat.name
            answering.append(_answered(team, ask, name, rng.child("team", asked), account))
            asked += 1
        replies = yield from together(*answering)


def staffed_calls(protocol: Protocol, question: Question, cast: Cast) -> CallBound:
    """Return the fewest and the most asks of a session, those within teams included.

    For a role with a team the bound is as tight as :meth:`Protocol.role_calls` is.
    """
    bound = protocol.calls(question, cast)
    if not cast.teams:
        return bound
    by_role = protocol.role_calls(question, cast)
    fewest, most, dearest = bound.fewest, bound.most, 1
    for role, members in sorted(cast.members.items()):
        prices = [_price(member, question) for member in members if isinstance(member, Team)]
        if prices:
            own = by_role.get(role, CallBound(0, bound.most))
            alone = len(prices) == len(members)
            highest = max(price.most for price in prices)
            fewest += own.fewest * (min(price.fewest for price in prices) - 1 if alone else 0)
            most += own.most * (highest - 1)
            dearest = max(dearest, highest)
    return CallBound(fewest, min(most, bound.most * dearest))


def _price(team: Team, question: Question) -> CallBound:
    """Return the bound of a team's session on whatever a seat may be asked about `question`."""
    asked = [question, Question(id=question.id, text=question.text, kind="prose")]
    fitting = [one for one in asked if team.protocol.check_question(one) is None]
    bounds = [staffed_calls(team.protocol, one, team.cast) for one in fitting or asked[:1]]
    return CallBound(min(one.fewest for one in bounds), max(one.most for one in bounds))


class _Account:
    """What is told of the teams when the outer session is over."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.failures: dict[Boundary, int] = {}

    def plain(self, replies: Replies) -> Replies:
        """Count the failures among replies of experts."""
        for reply in replies:
            if reply.failure is not None:
                self._count(reply.failure.boundary, 1)
        return replies

    def team(self, name: str, team: Team, kind: QuestionKind, outcome: Outcome) -> None:
        """Write down what a team came to. Prose stands in the transcript and is not repeated."""
        for boundary, count in outcome.failures.items():
            self._count(boundary, count)
        left_out = {"failures": True, "detail": True}
        if kind == "prose":
            left_out |= {"answer": True, "votes": True}
        told = outcome.model_dump(mode="json", exclude=left_out, exclude_defaults=True)
        if kind != "prose" and outcome.detail:
            told["detail"] = outcome.detail
        self.entries.append({"seat": name, "team": team.expert, **told})

    def told(self, outcome: T) -> T:
        """Return the outer outcome with what is told of the teams."""
        if not isinstance(outcome, Outcome):
            return outcome
        update = {
            "detail": {**outcome.detail, "teams": self.entries},
            "failures": self.failures,
        }
        return outcome.model_copy(update=update)

    def _count(self, boundary: Boundary, count: int) -> None:
        self.failures[boundary] = self.failures.get(boundary, 0) + count


def _asked(ask: Ask, account: _Account) -> Session[Reply]:
    """Ask an expert."""
    reply = yield from ask_one(ask)
    account.plain((reply,))
    return reply


def _answered(team: Team, ask: Ask, name: str, rng: Rng, account: _Account) -> Session[Reply]:
    """Let a team answer an ask.

    Raises:
        Mistake: its protocol cannot take what it is asked.
    """
    if ask.score:
        raise Mistake(
            f"the team {team.expert!r} cannot say how likely a text is, as {ask.seat.role!r} is "
            "asked to; cast an expert whose engine scores prompts"
        )
    brief = Brief(team, ask, name)
    why = team.protocol.check_question(brief.question)
    if why is not None:
        raise Mistake(f"the team {team.expert!r} cannot sit as {ask.seat.role!r}: {why}")
    settings = ask.seat.sampling
    cast = team.cast if settings == Sampling() else team.cast.sampled(settings)
    session = start_session(team.protocol, brief.question, cast, rng)
    said: list[Replies] = []
    replies: Replies | None = None
    while True:
        asks = step(session, replies)
        if isinstance(asks, Finished):
            account.team(name, team, brief.question.kind, asks.outcome)
            return brief.reply(asks.outcome, said)
        replies = yield tuple([brief.put(inner) for inner in asks])
        said.append(replies)


@dataclass(frozen=True)
class Brief:
    """What a seat is asked, as the question of a team."""

    team: Team
    ask: Ask
    name: str
    """What the seat is called in the names of the team's seats."""

    @cached_property
    def question(self) -> Question:
        """The ask as a question. Its text stands for parts; members read the parts themselves."""
        kind, labels = self._wanted()
        passage = find_part(self.ask.messages, "passage") if self.team.cast.readers else None
        return Question(
            id=self.ask.question or self.ask.seat.name,
            text="\n\n".join(part.text for part in self._parts() if part.name != "passage"),
            kind=kind,
            options=self._options(labels) or labels,
            passage=None if passage is None else passage.text,
        )

    def put(self, inner: Ask) -> Ask:
        """Return an ask of the team's session in the parts of the seat's, at the seat's place."""
        messages = tuple(
            Message(message.speaker, tuple(self._put(message.parts))) for message in inner.messages
        )
        seat = Seat(
            name=f"{self.name}.{inner.seat.name}",
            role=self.ask.seat.role,
            expert=inner.seat.expert,
            model=inner.seat.model,
            sampling=inner.seat.sampling,
        )
        return replace(inner, seat=seat, messages=messages, question=self.ask.question)

    def reply(self, outcome: Outcome, said: Sequence[Replies]) -> Reply:
        """Return what a team's session ended with as the reply of the seat."""
        spokesman = self._spokesman(outcome, said)
        place = said[-1][0].place if spokesman is None else spokesman.place
        usage = _total([reply.usage for replies in said for reply in replies])
        if outcome.boundary is not None:
            message = f"the team {self.team.expert!r} came to nothing: {outcome.boundary}"
            failure = Failure(outcome.boundary, message)
            return Reply(failure=failure, usage=usage, finish="failure", place=place)
        text = "" if spokesman is None else spokesman.text
        if spokesman is None and outcome.answer is not None:
            text = f"Answer: {outcome.answer}"
        shares, source = self._distribution(outcome)
        return Reply(text, None, shares, source, usage, place=place)

    def _wanted(self) -> tuple[QuestionKind, tuple[str, ...]]:
        """Return the kind of answer that the ask wants, and the labels that it chooses from."""
        if self.ask.options:
            return "choice", self.ask.options
        for part in reversed(self.ask.messages[-1].parts):
            source = part.source
            if source is not None and (source.template, source.section) == (TEMPLATE, "task"):
                wanted = dict(source.arguments)
                return wanted["kind"], wanted["labels"]
        return "prose", ()

    def _options(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the texts behind the labels; none where the ask does not list them by label."""
        part = find_part(self.ask.messages, "options")
        lines = [] if part is None else part.text.split("\n")
        if not labels or [line[:3] for line in lines] != [f"{label}. " for label in labels]:
            return ()
        return tuple(line[3:] for line in lines)

    def _parts(self) -> list[Part]:
        """Return all parts of the ask in reading order, what it tells the seat to be before all."""
        return [part for message in self.ask.messages for part in message.parts]

    @cached_property
    def _told(self) -> tuple[list[Part], list[Part]]:
        """The parts that stand for the question: those before the options, and those behind."""
        moved = {"passage"} if self.question.passage is not None else set()
        if self._options(self.question.labels):
            moved.add("options")
        parts = [part for part in self._parts() if part.name not in moved]
        first = [part for name in _FIRST for part in parts if part.name == name]
        rest = [part for part in parts if part.name not in _FIRST]
        charge = [prompt(PROSE_TEMPLATE, name) for name in ("charge", "charge_end")]
        return first, [charge[0], *rest, charge[1]]

    def _put(self, parts: Sequence[Part]) -> list[Part]:
        """Return parts of the team's session, the question's text exchanged for the seat's."""
        stand_in = self.question.text_part
        found: list[Part] = []
        due: list[Part] = []
        for part in parts:
            if part.name == "options" and due:
                if part.text != self.question.options_part.text:
                    raise Mistake(
                        f"the team {self.team.expert!r} shows the options in another order, but "
                        "what its seat reads names them by letter; set orders to 1, and shuffle "
                        "nothing"
                    )
                found += (part, *due)
                due = []
                continue
            found += due
            due = []
            if part == stand_in:
                first, due = self._told
                found += first
            else:
                found.append(part)
        return found + due

    def _spokesman(self, outcome: Outcome, said: Sequence[Replies]) -> Reply | None:
        """Return the last reply that gave the outcome's answer, the first of its turn."""
        if outcome.answer is None:
            return None
        for replies in reversed(said):
            for reply in replies:
                reading = read_answer(reply, self.question)
                if isinstance(reading, Parsed) and reading.value == outcome.answer:
                    return reply
        return None

    def _distribution(self, outcome: Outcome) -> tuple[tuple[float, ...] | None, Any]:
        """Return the distribution over the ask's options, where they are wanted, and its source."""
        labels = self.question.labels if self.ask.options else ()
        total = sum(outcome.votes.get(label, 0.0) for label in labels)
        if labels and outcome.distribution is not None:
            sources = set(outcome.detail.get("distribution_sources", ())) - {None, "answer"}
            return outcome.distribution, sources.pop() if len(sources) == 1 else "samples"
        if total > 0.0:
            return tuple(outcome.votes.get(label, 0.0) / total for label in labels), "samples"
        return None, None


def _total(usages: Sequence[Usage]) -> Usage:
    """Return the tokens of several replies together."""
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.reasoning_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
    )
