"""Sessions in the driver's hands: opened from a job, waiting for replies, and over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.engine import Attempted, Throttled
from orchestrator.journal import AskRecord, JournalRecord, OutcomeRecord, ReplyRecord
from orchestrator.money.ledger import Amount
from orchestrator.sharing import SharedTape
from protocols.asks import Ask
from protocols.canonical import canonical_json, clean_text
from protocols.cast import Cast
from protocols.contract import Protocol, Replies, Session, Turn, session_rng
from protocols.messages import Place
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.replies import Reply, Usage
from protocols.tape import Finished, Frontier, Inherited, Live, Tape, inherit, resume
from protocols.teams import start_session

Price = Callable[[str, Usage], float | None]
"""The list price of an attempt in US dollars by expert and usage; None where it is not known."""
LONGEST_MESSAGE = 500
"""Characters that are kept of what a protocol raised."""


@dataclass(frozen=True, slots=True)
class Branch:
    """What a branch inherits from its parent."""

    tape: Tape
    """The replies that are fed, and those of the next turn that are taken over."""
    turns: int
    """How many turns are fed."""
    prices: Mapping[Place, float | None] = field(default_factory=dict)
    """The list prices of the parent's replies, where they are known from its store."""


@dataclass(frozen=True, slots=True)
class Job:
    """A session to run, with what is recorded of it already."""

    session: int
    """Its id in the store."""
    protocol: Protocol
    question: Question
    cast: Cast
    seed: int = 0
    repeat: int = 0
    tape: Tape = field(default_factory=dict)
    """Its accepted replies so far."""
    attempts: Mapping[Place, int] = field(default_factory=dict)
    """Attempts recorded so far at asks that have no accepted reply."""
    branch: Branch | None = None
    """Set for a branch whose inherited turns are not recorded yet."""
    shared: SharedTape | None = field(default=None, repr=False, compare=False)
    """What it shares with sessions that differ only in the judge."""

    def start(self) -> Session[Outcome]:
        """Return a fresh session."""
        rng = session_rng(self.question, seed=self.seed, repeat=self.repeat)
        return start_session(self.protocol, self.question, self.cast, rng)


class Open:
    """A live session and the replies of its current turn."""

    __slots__ = ("asks", "job", "live", "missing", "replies")

    def __init__(self, job: Job, live: Live[Any]) -> None:
        self.job = job
        self.live = live
        self.asks: Turn = ()
        self.replies: list[Reply | None] = []
        self.missing = 0

    def ask(self, asks: Turn, known: Mapping[int, Reply] | None = None) -> None:
        """Begin to wait for the replies to a turn, of which some may be known."""
        self.asks = asks
        known = known or {}
        self.replies = [known.get(slot) for slot in range(len(asks))]
        self.missing = len(asks) - len(known)

    def pending(self, slots: Iterable[int]) -> list[Pending]:
        """Return what is to be asked at `slots` of the current turn."""
        attempts = self.job.attempts
        return [
            Pending(self, slot, ask, attempts.get(ask.place, 0) if ask.place else 0)
            for slot in slots
            for ask in (self.asks[slot],)
        ]

    def put(self, slot: int, reply: Reply) -> bool:
        """Take a reply; True when the turn is complete now. A second reply is ignored."""
        if self.replies[slot] is not None:
            return False
        place = self.asks[slot].place
        assert place is not None
        self.replies[slot] = reply.at(place)
        self.missing -= 1
        return self.missing == 0

    def take_replies(self) -> Replies:
        """Return the replies of the complete turn."""
        replies = tuple([reply for reply in self.replies if reply is not None])
        self.replies = []
        return replies


class Pending:
    """An ask that waits for its accepted reply."""

    __slots__ = (
        *("ask", "attempt", "expert", "failures", "reserved", "session", "slot"),
        *("spent_s", "throttles"),
    )

    def __init__(self, session: Open, slot: int, ask: Ask, attempt: int) -> None:
        self.session = session
        self.slot = slot
        self.ask = ask
        self.expert = ask.seat.expert
        """Who is asked: the expert that was cast, or one of its fallbacks."""
        self.attempt = attempt
        """Attempts recorded so far."""
        self.failures = 0
        """Attempts by this expert that failed; being throttled is not a failure."""
        self.throttles = 0
        """Attempts by this expert that were throttled."""
        self.spent_s = 0.0
        """Seconds of attempts by this expert, and of the waits that were set between them."""
        self.reserved: Amount | None = None
        """What is set aside for its next attempt, or for the one that runs."""

    @property
    def group(self) -> object:
        """The session, of which one turn is asked at a time."""
        return self.session

    @property
    def due(self) -> float | None:
        """Sessions have no deadline."""
        return None

    def count(self, result: Attempted) -> None:
        """Take note of what an attempt gave."""
        if isinstance(result, Throttled):
            self.throttles += 1
        elif result.failed:
            self.failures += 1
            self.spent_s += result.latency_s

    @property
    def fell_back(self) -> bool:
        """Whether another expert than the one that was cast is asked."""
        return self.expert != self.ask.seat.expert

    def turn_to(self, expert: str | None) -> None:
        """Ask another expert from now on; None: the same."""
        if expert is not None:
            self.expert, self.failures, self.throttles, self.spent_s = expert, 0, 0, 0.0


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that waits for replies, and what is to be recorded of its beginning."""

    session: Open
    pending: list[Pending]
    records: tuple[JournalRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Over:
    """A session that needs no more replies."""

    record: OutcomeRecord
    records: tuple[JournalRecord, ...] = ()


def forked(tape: Tape, turns: int) -> Branch:
    """Return the branch that inherits `turns` turns and asks everything after them."""
    return Branch({place: one for place, one in tape.items() if place.turn < turns}, turns)


def repeated(tape: Tape, turn: int) -> Branch:
    """Return the branch that repeats what failed in `turn` and all that comes after it."""
    kept = {
        place: one
        for place, one in tape.items()
        if place.turn < turn or (place.turn == turn and not _may_be_repeated(one.reply))
    }
    return Branch(kept, turn)


def first_failed_turn(tape: Tape) -> int | None:
    """Return the first turn with a provider failure or timeout that may be repeated, or None."""
    return min(
        (place.turn for place, one in tape.items() if _may_be_repeated(one.reply)), default=None
    )


def _may_be_repeated(reply: Reply) -> bool:
    failure = reply.failure
    return failure is not None and failure.missing and failure.cause != "not_recorded"


def free(expert: str, usage: Usage) -> float | None:
    """The price of experts that cost nothing."""
    return 0.0


def open_session(job: Job, price: Price = free) -> Opened | Over:
    """Start a job's session and feed it all that is recorded.

    A protocol that raises, or that asks otherwise than its tape, is over with a message.
    """
    records: tuple[JournalRecord, ...] = ()
    try:
        state: Frontier[Outcome] | Finished[Outcome]
        if job.branch is not None:
            state, fed = inherit(job.start(), job.branch.tape, job.branch.turns)
            records = _inherited_records(job.session, fed, job.branch.prices, price)
        else:
            state = resume(job.start(), job.tape)
    except Exception as error:  # noqa: BLE001 - a defect of one protocol; siblings live
        return Over(outcome_json(job.session, error), records)
    if isinstance(state, Finished):
        return Over(outcome_json(job.session, state.outcome), records)
    session = Open(job, state.live)
    session.ask(state.asks, state.known)
    return Opened(session, session.pending(state.missing), records)


def outcome_json(session: int, outcome: object) -> OutcomeRecord:
    """Return the record of a session's end: an outcome, a tuple of them, or an exception.

    What is no outcome, or cannot be written as JSON, is a failed session.
    """
    if isinstance(outcome, Exception):
        return _broken(session, f"{type(outcome).__name__}: {outcome}")
    try:
        if isinstance(outcome, Outcome):
            text = outcome.as_json()
        elif isinstance(outcome, tuple) and all(isinstance(one, Outcome) for one in outcome):
            text = canonical_json([one.model_dump(mode="json") for one in outcome])
        else:
            kind = type(outcome).__name__
            return _broken(session, f"the protocol returned {kind}, not an Outcome")
    except Exception as error:  # noqa: BLE001 - a protocol may put anything into its detail
        return outcome_json(session, error)
    return OutcomeRecord(session, "finished", clean_text(text)[0])


def _broken(session: int, message: str) -> OutcomeRecord:
    """Return the record of a session that failed, its message in one line that any store takes."""
    line = " ".join(clean_text(message)[0].split())
    return OutcomeRecord(session, "failed", None, line[:LONGEST_MESSAGE])


def _inherited_records(
    session: int,
    fed: tuple[Inherited, ...],
    prices: Mapping[Place, float | None],
    price: Price,
) -> tuple[JournalRecord, ...]:
    """Return the records of a branch's fed turns: at their list price, paid by the parent."""
    records: list[JournalRecord] = []
    for one in fed:
        place = one.ask.place
        assert place is not None
        parent_key = one.parent_key if one.parent_key != one.ask.key else None
        records.append(AskRecord(session, one.ask, parent_key))
        listed = prices[place] if place in prices else price(one.ask.seat.expert, one.reply.usage)
        records.append(
            ReplyRecord(session, place, 0, True, one.reply, list_price=listed, source="inherited")
        )
    return tuple(records)
