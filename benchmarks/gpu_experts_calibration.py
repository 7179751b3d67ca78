"""Part (a) of the benchmark: what the device takes, which is what the simulator is fed with."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from agents.weights import CHUNK
from agents.worker import Worker
from benchmarks.gpu_experts_bench import Bench
from benchmarks.gpu_experts_fit import CYCLE, fit
from benchmarks.gpu_experts_runs import Outcome, Pacing, Setting, Words, foretell, run_now
from benchmarks.measuring import Spent, clocks
from orchestrator.simulator.workloads import seat
from orchestrator.simulator.world import Call, Trace
from protocols.asks import Ask, Model, Sampling, Seat
from protocols.chance import Rng
from protocols.messages import Place

LINK_BYTES = 2**30
LONG = 24
"""Tokens of the longer replies that steps are measured with."""
REPEATS = 5
QUOTED = 1.5
"""How many replies a prompt quotes, about, in the sessions that come later."""
REFILLS = 8
"""Batches' worth of asks that new asks are measured with."""


def calibrate(bench: Bench) -> None:
    """(a) What the device takes: its link, its steps, its prompts, its loads."""
    for pinned in (False, True):
        rate = _link_gb_s(bench.device, pinned=pinned)
        if rate is not None:
            name = "pinned" if pinned else "pageable"
            bench.figure(f"a: host to device, {name}", "GB/s", rate)
    seen = asyncio.run(_calibrated(bench, bench.setting(slots=2)))
    refilled, traces = _refilled(bench)
    bench.pacing = pacing = seen.pacing("wall", bench, traces, refilled.seconds)
    if bench.device.type == "cpu":
        bench.cpu_pacing = seen.pacing("cpu", bench, traces, refilled.cpu_s)
    for size in bench.sizes.batches:
        bench.figure(f"a: step of {size}", "ms", seen.step_s("wall", size) * 1e3)
    rate = bench.sizes.passage / max(seen.passage.wall, 1e-6)
    bench.figure("a: prompts, one at a time", "tokens/s", rate)
    bench.figure("a: load, weights in host memory", "ms", pacing.load_s * 1e3)
    bench.figure("a: step, whatever runs (t0)", "ms", pacing.t0_s * 1e3)
    bench.figure("a: step, for each that runs (t1)", "ms", pacing.t1_s * 1e3)
    bench.figure("a: a new ask (its prompt and all else)", "ms", pacing.admit_s * 1e3)
    bench.read_s = statistics.median([spent.wall for spent in seen.reads])
    bench.figure("a: first load, from disk into host memory too", "ms", bench.read_s * 1e3)
    bench.passage_s = max(seen.passage.wall, 0.0)
    fit(bench)


@dataclass
class Calibration:
    """What was measured, on both clocks."""

    short: dict[int, Spent] = field(default_factory=dict)
    """Replies of one token, by how many ran at once."""
    long: dict[int, Spent] = field(default_factory=dict)
    """Replies of LONG tokens each."""
    loads: list[Spent] = field(default_factory=list)
    reads: list[Spent] = field(default_factory=list)
    """First loads, which bring the weights into host memory."""
    passage: Spent = field(default_factory=Spent)
    """What a passage adds to a prompt."""

    def step_s(self, clock: str, size: int) -> float:
        """Return the seconds of a step of so many."""
        more = getattr(self.long[size], clock) - getattr(self.short[size], clock)
        return float(max(more / (LONG - 1), 1e-6))

    def pacing(self, clock: str, bench: Bench, traces: Sequence[Trace], took_s: float) -> Pacing:
        """Return it as the simulator is fed with it.

        What a new ask costs is what is left over of the time that `traces` took on one expert.
        """
        t0, t1 = fitted({size: self.step_s(clock, size) for size in self.short})
        load_s = statistics.median([getattr(spent, clock) for spent in self.loads])
        foretold = [
            foretell(
                CYCLE,
                replace(_alone(bench), pacing=Pacing(load_s, t0, t1, admit_s)),
                traces,
            ).makespan_s
            for admit_s in (0.0, 1.0)
        ]
        admit_s = (took_s - foretold[0]) / (foretold[1] - foretold[0])
        return Pacing(load_s, t0, t1, max(admit_s, 0.0))


def _alone(bench: Bench) -> Setting:
    """Return a setting with one expert."""
    setting = bench.setting(1)
    return replace(setting, experts=setting.experts[:1])


def _refilled(bench: Bench) -> tuple[Outcome, list[Trace]]:
    """Run many asks of one expert, so that new ones join a batch that runs, as they do later."""
    setting, rng = _alone(bench), Rng("gpu_experts", "refilled")
    asked = seat("solver", setting.experts[0].label)
    count = REFILLS * bench.sizes.batch_limit
    traces = [
        Trace(((Call(asked, bench.sizes.draws.tokens(rng)),),), question=f"q{number}")
        for number in range(count)
    ]
    quoted = int(QUOTED * bench.sizes.mean_tokens)
    words = Words(bench.shape.words, bench.sizes.prompt + quoted)
    found = [run_now(CYCLE, setting, traces, words) for _ in range(3)]
    return sorted(found, key=lambda one: one.seconds)[1], traces


async def _calibrated(bench: Bench, setting: Setting) -> Calibration:
    worker = Worker(setting.experts, setting.factory, memory_gb=2.5 * bench.size_gb)
    words, seen = bench.words(), Calibration()
    first = setting.experts[0].label
    try:
        await worker.load(first)
        await timed(worker, first, words, max(bench.sizes.batches), 4)  # what is done only once
        for size in bench.sizes.batches:
            seen.short[size] = await _usual(worker, first, words, size, 1)
            seen.long[size] = await _usual(worker, first, words, size, LONG)
        longer = await _usual(worker, first, bench.words(passage=bench.sizes.passage), 1, 1)
        shorter = await _usual(worker, first, words, 1, 1)
        seen.passage = Spent(longer.wall - shorter.wall, longer.cpu - shorter.cpu)
        bench.say("steps are measured; now loads")
        for kept in (seen.reads, seen.loads):
            for expert in setting.experts:
                with clocks() as spent:
                    await worker.load(expert.label, worker.resident)
                kept.append(spent)
        return seen
    finally:
        await worker.close()


async def _usual(worker: Worker, label: str, words: Words, count: int, tokens: int) -> Spent:
    """Return the medians of what :func:`_timed` measures."""
    found = [await timed(worker, label, words, count, tokens) for _ in range(REPEATS)]
    return Spent(
        statistics.median([one.wall for one in found]),
        statistics.median([one.cpu for one in found]),
    )


async def timed(worker: Worker, label: str, words: Words, count: int, tokens: int) -> Spent:
    """Return the time in which so many asks of so many tokens are answered together."""
    sampling = Sampling(temperature=0.0, max_tokens=tokens)
    asked = Seat("solver", "solver", label, Model(label), sampling)
    asks = [
        Ask(asked, words.messages(1_000 * tokens + i, ()), place=Place(0, i)) for i in range(count)
    ]
    with clocks() as spent:
        async for results in worker.stream(label, asks):
            for _, result in results:
                if getattr(result, "failure", None) is not None:
                    raise RuntimeError(f"{label} failed: {result}")
    return spent


def fitted(values: Mapping[int, float]) -> tuple[float, float]:
    """Return a and b of a + b * x, both at least 0, by least squares."""
    if len(values) == 1:
        return next(iter(values.values())), 0.0
    mean_x, mean_y = statistics.mean(values), statistics.mean(values.values())
    spread = sum((x - mean_x) ** 2 for x in values)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in values.items()) / spread
    slope = max(slope, 0.0)
    start = mean_y - slope * mean_x
    if start < 0.0:
        return 0.0, sum(x * y for x, y in values.items()) / sum(x * x for x in values)
    return start, slope


def _link_gb_s(device: torch.device, *, pinned: bool) -> float | None:
    """Return the rate of copies to a device; None where there is no link, or nothing to pin."""
    if device.type != "cuda":
        return None
    host = torch.empty(LINK_BYTES, dtype=torch.uint8, pin_memory=pinned)
    there = torch.empty(LINK_BYTES, dtype=torch.uint8, device=device)
    best = 0.0
    for _ in range(3):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        for at in range(0, LINK_BYTES, CHUNK):
            there[at : at + CHUNK].copy_(host[at : at + CHUNK], non_blocking=True)
        torch.cuda.synchronize(device)
        best = max(best, LINK_BYTES / (time.perf_counter() - start) / 1e9)
    return best
