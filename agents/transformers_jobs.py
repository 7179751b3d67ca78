"""What an engine is to do for one ask, and where it puts the reply."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agents.distributions import Spread, Token, from_tokens
from agents.hosted_reply import held_to
from agents.transformers_chat import Chat, Unsuitable
from agents.transformers_sampling import Defaults, Draw
from protocols.asks import Ask
from protocols.replies import Boundary, Finish, Reply, Usage, failed, scored

Work = Literal["generate", "probe", "score"]
ANSWER = "\nAnswer:"
"""What is put behind a reply that states no answer, to ask for the distribution there."""
NO_NUMBERS = "the model computes what is no number (nan); use another dtype, or copy it again"


class Mail:
    """Where a device's thread puts what is finished of one stream."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[Job] = deque()
        self._filled = asyncio.Event()

    def put(self, job: Job) -> None:
        """Add a job and wake the reader; called by the device's thread."""
        self._jobs.append(job)
        try:
            self._loop.call_soon_threadsafe(self._filled.set)
        except RuntimeError:
            return  # the event loop is closed: nobody reads

    async def take(self) -> list[Job]:
        """Return all jobs since the last call, at least one."""
        await self._filled.wait()
        self._filled.clear()
        return [self._jobs.popleft() for _ in range(len(self._jobs))]


@dataclass(slots=True, eq=False)
class Job:
    """One ask on its way."""

    index: int
    ask: Ask
    mail: Mail
    work: Work
    prompt: list[int]
    """Of a score: with the tokens to be scored behind it."""
    draw: Draw
    most: int = 0
    """How many tokens the reply may have; of a score, how many are scored."""
    least: int = 0
    stops: tuple[str, ...] = ()
    naming: list[list[int]] | None = None
    """For each option the tokens that name it; None where no distribution is wanted."""
    model: str = ""
    arrived: float = field(default_factory=time.perf_counter)
    shared: int = 0
    """How many tokens its prompt begins with that another waiting one begins with too."""
    tokens: list[int] = field(default_factory=list)
    """What was generated."""
    shares: list[list[float]] = field(default_factory=list)
    """For each of them, the logarithms of the probabilities of all naming tokens, flat."""
    half: Reply | None = None
    """The reply, where its distribution is still to be read."""
    result: Reply | None = None

    @property
    def over(self) -> bool:
        """Whether it has its result."""
        return self.result is not None

    @property
    def columns(self) -> int:
        """How many columns its slot has: all its tokens but the last, which comes next."""
        return len(self.prompt) + len(self.tokens) - 1

    def restart(self) -> None:
        """Forget what was generated."""
        self.tokens.clear()
        self.shares.clear()
        self.draw.restart()

    def finish(self, reply: Reply) -> None:
        """Hand the reply over."""
        self.result = reply
        self.mail.put(self)

    def complete(self, spread: Spread) -> None:
        """Hand over the reply with its distribution, which came late."""
        assert self.half is not None
        self.finish(
            replace(
                self.half,
                distribution=spread.values,
                distribution_source="probe",
                outside_mass=spread.outside,
                latency_s=self.latency_s,
            )
        )

    def fail(self, boundary: Boundary, message: str, cause: str = "") -> None:
        """Hand a failure over."""
        self.finish(failed(boundary, message, cause=cause, latency_s=self.latency_s))

    @property
    def latency_s(self) -> float:
        """Seconds since it arrived."""
        return time.perf_counter() - self.arrived


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all asks of one expert."""

    chat: Chat
    defaults: Defaults
    context: int
    """The longest prompt with its reply, in tokens."""
    least: int
    model: str
    vocabulary: int
    """How many tokens the model knows."""


def job_of(index: int, ask: Ask, mail: Mail, terms: Terms) -> Job:
    """Return the job for an ask; one that can be told not to work has its failure already."""
    job = Job(index, ask, mail, "score" if ask.score else "generate", [], Draw.of(ask, _GREEDY))
    job.model = terms.model
    try:
        if ask.score:
            _prepare_score(job, terms)
        else:
            _prepare(job, terms)
    except Unsuitable as error:
        job.fail("provider", str(error), "bad_request")
    return job


_GREEDY = Defaults()


def _prepare(job: Job, terms: Terms) -> None:
    sampling = job.ask.seat.sampling
    job.prompt = _known(terms.chat.prompt(job.ask.messages), terms)
    room = terms.context - len(job.prompt)
    if room < 1:
        _too_long(job, terms)
        return
    wish = terms.defaults.max_tokens if sampling.max_tokens is None else sampling.max_tokens
    job.most = max(1, min(wish, room))
    job.least = min(terms.least, job.most)
    job.stops = tuple(stop for stop in sampling.stop if stop)
    job.draw = Draw.of(job.ask, terms.defaults)
    if job.ask.options:
        job.naming = terms.chat.naming(job.ask.options, terms.vocabulary)


def _prepare_score(job: Job, terms: Terms) -> None:
    before, last = job.ask.messages[:-1], job.ask.messages[-1:]
    if not before or last[0].speaker != "assistant":
        raise Unsuitable("a score is of what the assistant says last, behind a prompt")
    target = terms.chat.encode(last[0].text)
    if not target:
        raise Unsuitable("there is no text to score")
    job.prompt = _known(terms.chat.prompt(before) + target, terms)
    job.most = len(target)
    if len(job.prompt) > terms.context:
        _too_long(job, terms)


def _known(tokens: list[int], terms: Terms) -> list[int]:
    """Return tokens that the model knows: one that it does not know breaks a device for all."""
    if max(tokens) >= terms.vocabulary:
        raise Unsuitable("its tokenizer writes the prompt with tokens that the model does not know")
    return tokens


def _too_long(job: Job, terms: Terms) -> None:
    job.fail(
        "overlong",
        f"the prompt has {len(job.prompt):,} tokens and the context {terms.context:,}",
        "context",
    )


def stopped(job: Job, chat: Chat) -> bool:
    """Whether one of a job's stops stands at the end of what it has said."""
    longest = max(len(stop.encode()) for stop in job.stops)
    tail = chat.text(job.tokens[-(longest + 8) :])
    return any(stop in tail for stop in job.stops)


def reply_of(job: Job, chat: Chat, ends: Sequence[int], finish: Finish) -> Reply:
    """Return the reply of a job that has generated; cut where a stop begins."""
    said = [token for token in job.tokens if token not in ends]
    text = chat.text(said)
    if len(job.tokens) >= job.least:
        places = [place for stop in job.stops if (place := text.find(stop)) >= 0]
        if places:
            text, finish = text[: min(places)], "stop"
    usage = Usage(len(job.prompt), len(job.tokens))
    mended = False
    if job.ask.schema is not None:
        text, mended, failure = held_to(job.ask.schema, text, finish)
        if failure is not None:
            return Reply(failure=failure, usage=usage, finish="failure", latency_s=job.latency_s)
    spread = spread_of(job, chat, ends) if job.naming is not None else None
    return Reply(
        text,
        distribution=None if spread is None else spread.values,
        distribution_source=None if spread is None else "logprobs",
        usage=usage,
        finish=finish,
        repaired=mended,
        latency_s=job.latency_s,
        model_served=job.model,
        outside_mass=None if spread is None else spread.outside,
    )


def spread_of(job: Job, chat: Chat, ends: Sequence[int]) -> Spread | None:
    """Return the distribution where a reply states its answer; None where it states none."""
    assert job.naming is not None
    labels = [
        label for label, tokens in zip(job.ask.options, job.naming, strict=True) for _ in tokens
    ]
    count = len(job.tokens)
    while count and job.tokens[count - 1] in ends:
        count -= 1
    pieces = chat.pieces(job.tokens[:count])
    return from_tokens(
        [
            Token(piece, tuple(zip(labels, shares, strict=True)))
            for piece, shares in zip(pieces, job.shares[:count], strict=True)
        ],
        job.ask.options,
    )


def score_of(job: Job, total: float) -> Reply:
    """Return the reply to a job that wants a score; `total` is the tokens' summed logarithm."""
    usage = Usage(len(job.prompt), 0)
    return scored(total / job.most, usage=usage, latency_s=job.latency_s)
