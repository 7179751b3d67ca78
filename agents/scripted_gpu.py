"""``scripted/gpu``: an expert that takes the time of a model on a GPU, and none of its work.

Theory. A GPU generates in *steps*: with b asks running a step takes ``t0_s + t1_s * b`` seconds and
gives each of them one token (continuous batching: an ask joins at the next step and leaves when its
reply is complete; what is beyond ``batch_limit`` waits). Models that generate side by side on one
GPU take turns, so a round of one step each costs the sum of their steps.

The schedule is kept on an absolute clock (:class:`Card`): between two events, which are
completions and admissions, every step lasts the same, so one timer per event is enough, and waking
up late delays what is told but not what comes after. Lengths are drawn from the ask's key; with
``sampling.max_tokens`` they are cut there. ``usage.completion_tokens`` is the length, whatever the
text: a simulated expert says something short that protocols can parse.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import math
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any

from agents.engine import Attempted
from agents.roster import Expert
from agents.scripted import GpuScript, ScriptedEngine, read_script
from protocols.asks import Ask
from protocols.replies import Reply, Usage, failed

_NORMAL = NormalDist()


def reply_tokens(script: GpuScript, ask: Ask) -> int:
    """Return how many tokens the reply to `ask` has: log-normal by the ask's key, at least 1."""
    length = script.mean_tokens
    if script.sigma > 0.0:
        digest = hashlib.sha256(f"{script.seed}|{ask.key}|tokens".encode()).digest()
        share = (int.from_bytes(digest[:6], "big") + 0.5) / (1 << 48)
        spread = script.sigma * _NORMAL.inv_cdf(share) - script.sigma**2 / 2
        length *= math.exp(spread)
    most = ask.seat.sampling.max_tokens
    tokens = max(1, round(length))
    return tokens if most is None else max(1, min(tokens, most))


class Mail:
    """Where the card puts what is finished of one stream."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.filled = asyncio.Event()

    def put(self, job: Job) -> None:
        """Add a job and wake the reader."""
        self.jobs.append(job)
        self.filled.set()

    def take(self) -> list[Job]:
        """Return all jobs since the last call."""
        jobs, self.jobs = self.jobs, []
        self.filled.clear()
        return jobs


@dataclass(slots=True, eq=False)
class Job:
    """One ask on a card."""

    index: int
    tokens: int
    arrived: float
    """On the clock of the event loop, in seconds, as all times here."""
    mail: Mail
    finished: float | None = None
    """When its last token came; None where it never did."""
    over: bool = False
    """Finished, dropped or no longer wanted."""


@dataclass(slots=True, eq=False)
class Line:
    """One engine's asks on a card."""

    batch_limit: int
    t0_s: float
    t1_s: float
    waiting: deque[Job] = field(default_factory=deque)
    running: list[tuple[int, int, Job]] = field(default_factory=list)
    """A heap of (round of the last token, number, job); jobs that are over may linger in it."""
    size: int = 0
    """Jobs that run and are not over."""

    @property
    def step_s(self) -> float:
        """Seconds of its step; 0 where nothing runs."""
        return self.t0_s + self.t1_s * self.size if self.size else 0.0

    def next_end(self) -> int | None:
        """Return the round in which the next job is complete; None where nothing runs."""
        while self.running and self.running[0][2].over:
            heapq.heappop(self.running)
        return self.running[0][0] if self.running else None

    def next_arrival(self) -> float | None:
        """Return when the job arrived that may join next; None where none may."""
        while self.waiting and self.waiting[0].over:
            self.waiting.popleft()
        if not self.waiting or self.size >= self.batch_limit:
            return None
        return self.waiting[0].arrived


class Card:
    """One GPU's time, shared by the engines on it."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._round = 0
        """Rounds that were over at `_at`."""
        self._at = 0.0
        """When the last event was: the end of a round."""
        self._numbers = 0
        self._timer: asyncio.TimerHandle | None = None

    def join(self, line: Line) -> None:
        """Take in an engine."""
        self._lines.append(line)

    def add(self, line: Line, jobs: Sequence[Job]) -> None:
        """Let jobs wait for their place in `line`, in the order in which they came."""
        line.waiting.extend(jobs)
        self._advance()

    def drop(self, line: Line, jobs: Sequence[Job] | None = None) -> None:
        """End jobs of a line that are not finished, all unless told; their readers hear of it."""
        self._advance()
        self._catch_up()
        if jobs is None:
            jobs = [*(job for _, _, job in line.running), *line.waiting]
        running = {id(job) for _, _, job in line.running}
        for job in jobs:
            if not job.over:
                job.over = True
                line.size -= id(job) in running
                job.mail.put(job)
        self._advance()

    def _round_s(self) -> float:
        return sum(line.step_s for line in self._lines)

    def _catch_up(self) -> None:
        """Move to the end of the last round; nothing has happened since the last event."""
        round_s = self._round_s()
        if round_s > 0.0:
            rounds = int((asyncio.get_running_loop().time() - self._at) / round_s)
            if rounds > 0:
                self._round += rounds
                self._at += rounds * round_s

    def _advance(self) -> None:
        """Let everything happen that is due by now, and set the timer for what comes next."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = loop.time()
        while (due := self._next_event()) is not None:
            rounds, at = due
            if at > now:
                self._timer = loop.call_at(at, self._advance)
                return
            self._round, self._at = self._round + rounds, at
            for line in self._lines:
                self._finish(line)
                self._admit(line)

    def _next_event(self) -> tuple[int, float] | None:
        """Return the rounds until the next completion or admission, and its time."""
        round_s = self._round_s()
        arrivals = [a for line in self._lines if (a := line.next_arrival()) is not None]
        if round_s == 0.0:
            return (0, max(self._at, min(arrivals))) if arrivals else None
        ends = [end for line in self._lines if (end := line.next_end()) is not None]
        rounds = min(ends) - self._round
        if arrivals:
            joins = math.ceil((min(arrivals) - self._at) / round_s)
            rounds = min(rounds, max(joins, 1))
        return rounds, self._at + rounds * round_s

    def _finish(self, line: Line) -> None:
        while (end := line.next_end()) is not None and end <= self._round:
            job = heapq.heappop(line.running)[2]
            job.over, job.finished = True, self._at
            line.size -= 1
            job.mail.put(job)

    def _admit(self, line: Line) -> None:
        while (arrived := line.next_arrival()) is not None and arrived <= self._at:
            job = line.waiting.popleft()
            self._numbers += 1
            heapq.heappush(line.running, (self._round + job.tokens, self._numbers, job))
            line.size += 1


class ScriptedGpuEngine(ScriptedEngine):
    """Says what its script says, when a GPU would have said it."""

    def __init__(self, expert: Expert) -> None:
        super().__init__(expert)
        script = read_script(expert)
        assert isinstance(script, GpuScript)
        self._gpu = script
        self._line = Line(script.batch_limit, script.t0_s, script.t1_s)
        self._own: Card | None = None

    @property
    def _card(self) -> Card:
        if self._own is None:
            self.share({})
        assert self._own is not None
        return self._own

    def share(self, common: dict[str, Any]) -> None:
        """Share the worker's card with its other engines."""
        card = common.setdefault("scripted card", Card())
        card.join(self._line)
        self._own = card

    async def load(self) -> None:
        """Take `load_s`."""
        await asyncio.sleep(self._gpu.load_s)

    async def unload(self) -> None:
        """End what runs; its asks fail."""
        self._card.drop(self._line)

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        """Yield what the script says, each reply when its last token would be there."""
        mail, now = Mail(), asyncio.get_running_loop().time()
        jobs = [Job(i, reply_tokens(self._gpu, ask), now, mail) for i, ask in enumerate(asks)]
        self._card.add(self._line, jobs)
        missing = len(jobs)
        try:
            while missing:
                await mail.filled.wait()
                for job in mail.take():
                    missing -= 1
                    yield job.index, self._result(asks[job.index], job)
        finally:
            if missing:
                self._card.drop(self._line, jobs)

    def say(self, ask: Ask) -> Attempted:
        """Return what an attempt gives, in no time: for whoever keeps a clock of his own."""
        result = self._attempt(ask)
        if not isinstance(result, Reply) or result.failed:
            return result
        usage = Usage(result.usage.prompt_tokens, reply_tokens(self._gpu, ask))
        return replace(result, usage=usage)

    def _result(self, ask: Ask, job: Job) -> Attempted:
        if job.finished is None:
            return failed("provider", "the model was unloaded while it generated")
        result = self.say(ask)
        if isinstance(result, Reply):
            result = replace(result, latency_s=job.finished - job.arrived)
        return result
