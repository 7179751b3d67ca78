"""One engine's work on a device: rows join, take a token a step, and leave (continuous batching).

A turn is one of two things: some waiting prompts are read together, or every row that runs gets
one more token. Reading goes first, once enough places are free for it to be worth a turn. Where a
waiting prompt begins like others that wait (the same passage, the same question), it is read alone
and what it has in common with them is kept; they then begin behind it.

Out of memory: what is not needed is freed; then the later half of the rows goes back to wait, from
the beginning, and no more than the other half run from then on; a row that does not fit alone
fails. Replies do not depend on any of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import torch

from agents.distributions import Spread
from agents.transformers_cache import Slots
from agents.transformers_jobs import (
    ANSWER,
    NO_NUMBERS,
    Job,
    Terms,
    reply_of,
    score_of,
    stopped,
)
from agents.transformers_model import (
    LEAST_REUSE,
    Model,
    Prefix,
    Prefixes,
    common,
    no_memory,
    shared_lengths,
)
from agents.transformers_sampling import choose
from protocols.replies import Finish

READ_TOKENS = 4096
"""Tokens, padding included, that are read together; a longer prompt is read alone."""
READ_ROWS = 64
_SEEN = 128
"""How far into the queue companions are looked for."""
_Shares = list[tuple[list[int], torch.Tensor]]
"""Some rows, and for each of them a value for each token that names an option."""


class Batch:
    """The rows of one engine.

    Args:
        model: what generates.
        terms: what holds for all asks.
        limit: the most rows that run.
        reuse: whether common prefixes are read once.
    """

    def __init__(self, model: Model, terms: Terms, limit: int, *, reuse: bool) -> None:
        self.limit = limit
        """How many may run now: fewer than asked for after memory ran out, until all is done."""
        self.reused_tokens = 0
        """Tokens of prompts that were not read again."""
        self.steps = 0
        self._model = model
        self._terms = terms
        self._reuse = reuse
        self._most = limit
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._reading: list[Job] = []
        self._slots = Slots(model.layers)
        self._prefixes = Prefixes()
        self._read_rows = READ_ROWS
        self._closed = ""

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting or self._running)

    def add(self, jobs: Sequence[Job]) -> None:
        """Let jobs wait, in the order in which they came."""
        if self._closed:  # it was unloaded after these were made
            for job in jobs:
                if not job.over:
                    job.fail("provider", self._closed)
            return
        if not self.busy:
            self.limit, self._read_rows = self._most, READ_ROWS
        self._waiting.extend(job for job in jobs if not job.over)
        if self._reuse:
            lengths = shared_lengths([job.prompt for job in self._waiting])
            for job, length in zip(self._waiting, lengths, strict=True):
                job.shared = min(length, len(job.prompt) - 1)

    def drop(self, jobs: Sequence[Job]) -> None:
        """Forget jobs that nobody waits for."""
        unwanted = {id(job) for job in jobs}
        self._waiting = [job for job in self._waiting if id(job) not in unwanted]
        for place in reversed(range(len(self._running))):
            if id(self._running[place]) in unwanted:
                self._leave(place)

    def close(self, message: str) -> None:
        """Fail all jobs, and those that are added after, and free the memory."""
        self._closed = message
        self.fail(message)
        self._slots.drop()
        self._prefixes.clear()

    def turn(self) -> None:
        """Do a turn; whatever goes wrong ends in replies."""
        full, broken = False, ""
        try:
            group = self._next_group()
            if group:
                self._read(group)
            elif self._running:
                self._step()
        except Exception as error:  # noqa: BLE001 - a broken model must not stop its neighbours
            full = no_memory(error)  # handled below, where no traceback holds tensors any more
            broken = "" if full else f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if full:
            self._relieve()
        if broken:
            self.fail(broken)
        self._reading = []

    def _next_group(self) -> list[Job]:
        """Take what is to be read now off the queue; nothing where that is not worth a turn."""
        free = self.limit - len(self._running)
        if self._running and free < min(max(1, self.limit // 8), len(self._waiting)):
            return []
        head = next((job for job in self._waiting if free > 0 or job.work != "generate"), None)
        if head is None:
            return []
        group = [head] if self._leads(head) else self._companions(head, free)
        taken = {id(job) for job in group}
        self._waiting = [job for job in self._waiting if id(job) not in taken]
        return group

    def _leads(self, job: Job) -> bool:
        """Whether what it has in common with others that wait is still to be read."""
        if not self._reuse or job.shared < LEAST_REUSE:
            return False
        return job.shared >= self._prefixes.best(job.prompt)[1] + LEAST_REUSE

    def _companions(self, head: Job, free: int) -> list[Job]:
        """Return `head` and those that wait and can be read with it."""
        prefix, used = self._prefixes.best(head.prompt) if self._reuse else (None, 0)
        most = self._read_rows if head.work != "generate" else min(free, self._read_rows)
        wide, group = len(head.prompt) - used, [head]
        for job in self._waiting[:_SEEN]:
            if len(group) >= most:
                break
            if job is head or job.work != head.work or not self._fits(job, prefix, used):
                continue
            wide = max(wide, len(job.prompt) - used)
            if wide * (len(group) + 1) > READ_TOKENS:
                break
            group.append(job)
        return group

    def _fits(self, job: Job, prefix: Prefix | None, used: int) -> bool:
        """Whether a job can be read behind that prefix, and should not rather lead or wait."""
        if not self._reuse:
            return True
        if self._leads(job) or self._prefixes.best(job.prompt)[1] > used + LEAST_REUSE:
            return False
        return prefix is None or (
            len(job.prompt) > used and common(prefix.tokens, job.prompt) >= used
        )

    def _read(self, group: list[Job]) -> None:
        self._reading = group
        prefix, used = self._prefixes.best(group[0].prompt) if self._reuse else (None, 0)
        if group[0].work == "score":
            self._score(group, prefix, used)
            return
        filled = self._model.read([job.prompt for job in group], prefix, used)
        self.reused_tokens += used * len(group)
        if self._leads(group[0]):
            self._prefixes.keep(group[0].prompt[: group[0].shared], filled, 0)
        if group[0].work == "probe":
            for row, found in _values(self._shares(group, filled.last)).items():
                self._answer_probe(group[row], found)
            return
        good = filled.last.logsumexp(-1).isfinite().tolist()
        rows = [row for row, finite in enumerate(good) if finite]
        logits = filled.last if all(good) else filled.last[rows]
        ended = self._take([group[row] for row in rows], logits) if rows else []
        for row, job in enumerate(group):
            if not good[row]:
                job.fail("provider", NO_NUMBERS)
            elif job not in ended:
                longest = max((one.columns for one in self._running), default=0)
                self._slots.join(len(self._running), filled.joined(row), longest)
                self._running.append(job)

    def _score(self, group: list[Job], prefix: Prefix | None, used: int) -> None:
        """Sum the logarithms of the probabilities of each job's last tokens."""
        used = min([used, *[len(job.prompt) - job.most - 1 for job in group]])
        prefix, used = (prefix, used) if used >= LEAST_REUSE else (None, 0)
        prompts = [job.prompt[:-1] for job in group]  # the last token is predicted, not read
        wide = max(map(len, prompts)) - used
        sums = torch.zeros(len(group), dtype=torch.float64, device=self._model.device)

        def consume(logits: torch.Tensor, start: int) -> None:
            count = logits.shape[1]
            for row, job in enumerate(group):
                first = max(start, wide - job.most)
                if first >= start + count:
                    continue
                wanted = job.prompt[first - wide + len(job.prompt) :][: start + count - first]
                places = torch.tensor(wanted, dtype=torch.int64, device=logits.device)
                own = logits[row, first - start :].float()
                found = own.gather(-1, places[:, None])[:, 0] - own.logsumexp(-1)
                sums[row] += found.double().sum()

        keep = max(job.most for job in group)
        filled = self._model.read(prompts, prefix, used, keep, consume)
        self.reused_tokens += used * len(group)
        if self._leads(group[0]):
            self._prefixes.keep(prompts[0][: group[0].shared], filled, 0)
        for job, total in zip(group, sums.tolist(), strict=True):
            if math.isfinite(total):
                job.finish(score_of(job, total))
            else:
                job.fail("provider", NO_NUMBERS)

    def _step(self) -> None:
        """Give every row that runs its next token."""
        running, slots, model = self._running, self._slots, self._model
        tokens = slots.aim(
            [job.columns for job in running], [job.tokens[-1] for job in running], model.device
        )
        places = slots.places[:, None]
        columns = torch.arange(slots.columns, dtype=torch.int64, device=model.device)
        apart = places[:, :, None] - columns[None, None]
        masks = model.attention.masks(apart >= 0, lambda: apart, model.module.dtype)
        logits = model.forward(tokens, places, masks, slots.cache, 1)
        ended = self._take(running, logits[:, -1].float())
        self.steps += 1
        for place in reversed(range(len(running))):
            if running[place] in ended:
                self._leave(place)

    def _take(self, jobs: Sequence[Job], logits: torch.Tensor) -> list[Job]:
        """Draw a token for each job; return those that are complete.

        Args:
            jobs: one a row.
            logits: rows x vocabulary, float32.
        """
        ends = self._terms.defaults.ends
        shares = self._shares(jobs, logits)
        early = [row for row, job in enumerate(jobs) if len(job.tokens) < job.least]
        if early and ends:
            rows = torch.tensor(early, dtype=torch.int64, device=logits.device)[:, None]
            barred = torch.tensor(ends, dtype=torch.int64, device=logits.device)[None]
            logits[rows, barred] = float("-inf")
        drawn = choose(logits, [job.draw for job in jobs]).tolist()  # here the device is waited for
        named = _values(shares)
        ended = []
        for row, (job, token) in enumerate(zip(jobs, drawn, strict=True)):
            job.tokens.append(token)
            job.draw.went_on()
            if job.naming is not None:
                job.shares.append(named[row])
            finish = self._finish_of(job, token)
            if finish is not None:
                ended.append(job)
                self._end(job, finish)
        return ended

    def _finish_of(self, job: Job, token: int) -> Finish | None:
        """Return why a job ends with this token; None where it goes on."""
        if token in self._terms.defaults.ends:
            return "stop"
        if job.stops and len(job.tokens) >= job.least and stopped(job, self._terms.chat):
            return "stop"
        return "length" if len(job.tokens) >= job.most else None

    def _shares(self, jobs: Sequence[Job], logits: torch.Tensor) -> _Shares:
        """Return the logarithms of the probabilities of what names the jobs' options."""
        together: dict[tuple[int, ...], list[int]] = {}
        for row, job in enumerate(jobs):
            if job.naming is not None:
                together.setdefault(tuple(chain(*job.naming)), []).append(row)
        found: _Shares = []
        for names, rows in together.items():
            picked = logits[torch.tensor(rows, dtype=torch.int64, device=logits.device)]
            columns = torch.tensor(names, dtype=torch.int64, device=logits.device)
            found.append((rows, picked[:, columns] - picked.logsumexp(-1, keepdim=True)))
        return found

    def _end(self, job: Job, finish: Finish) -> None:
        """Finish a job, or let it wait for its distribution."""
        reply = reply_of(job, self._terms.chat, self._terms.defaults.ends, finish)
        if job.naming is None or reply.distribution is not None or reply.failed:
            job.finish(reply)
            return
        probe = [*job.prompt, *self._terms.chat.encode(reply.text + ANSWER)]
        if len(probe) > self._terms.context:
            job.finish(reply)
            return
        job.work, job.half, job.prompt, job.shared = "probe", reply, probe, 0
        self._waiting.insert(0, job)

    def _answer_probe(self, job: Job, shares: Sequence[float]) -> None:
        """Read the distribution behind what was put there to ask for it."""
        assert job.naming is not None
        assert job.half is not None
        each = iter(shares)
        mass = [sum(math.exp(next(each)) for _ in tokens) for tokens in job.naming]
        total = sum(mass)
        if total > 0.0:
            job.complete(Spread(tuple(value / total for value in mass), max(0.0, 1.0 - total)))
        else:
            job.finish(job.half)

    def _leave(self, place: int) -> None:
        """Take a row out; the last one takes its slot."""
        last = len(self._running) - 1
        if place != last:
            self._slots.move(last, place, self._running[last].columns)
            self._running[place] = self._running[last]
        self._running.pop()

    def _relieve(self) -> None:
        """Let go of what did not fit."""
        reading = [job for job in self._reading if not job.over and job not in self._running]
        reading = [job for job in reading if job not in self._waiting]
        if self._prefixes:
            self._prefixes.clear()
            self._back(reading)
        elif len(reading) > 1:
            self._read_rows = max(1, len(reading) // 2)
            self._back(reading)
        elif reading and self._running:
            self.limit = len(self._running)
            self._back(reading)
        elif reading or len(self._running) == 1:
            for job in reading or [self._running.pop()]:
                if job.half is None:
                    job.fail("provider", "the device's memory does not hold it", "out_of_memory")
                else:
                    job.finish(job.half)
        elif self._running:
            self.limit = len(self._running) // 2
            self._back(self._running[self.limit :])
            del self._running[self.limit :]
        try:
            self._slots.shrink(len(self._running))
        except torch.OutOfMemoryError:  # it copies what stays
            running, self._running = self._running, []
            self.limit = max(1, min(self.limit, len(running) // 2))
            self._back(running)
            self._slots.drop()
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _back(self, jobs: Sequence[Job]) -> None:
        """Let jobs wait again, before all others."""
        for job in jobs:
            job.restart()
        self._waiting[:0] = jobs

    def fail(self, message: str) -> None:
        """Fail all jobs."""
        for job in (*self._reading, *self._running, *self._waiting):
            if not job.over:
                job.fail("provider", message)
        self._reading, self._running, self._waiting = [], [], []


def _values(shares: _Shares) -> dict[int, list[float]]:
    """Bring what was computed of rows from the device, by row."""
    return {
        row: values
        for rows, found in shares
        for row, values in zip(rows, found.tolist(), strict=True)
    }
