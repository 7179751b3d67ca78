"""The parts of the benchmark, by letter."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from agents.weights import CHUNK, Placed, WeightCache, examine, free
from agents.worker import Worker
from benchmarks.gpu_experts_bench import Bench
from benchmarks.gpu_experts_models import READER, TINY, make_model
from benchmarks.gpu_experts_runs import Outcome, Pacing, Setting, Words, foretell, run_now
from benchmarks.measuring import Spent, clocks
from orchestrator.bounds import reference_loads
from orchestrator.workloads import EXPERTS, seat, workload
from orchestrator.world import Call, Trace
from protocols.asks import Ask, Model, Sampling, Seat
from protocols.chance import Rng
from protocols.messages import Place

LINK_BYTES = 2**30
LONG = 24
"""Tokens of the longer replies that steps are measured with."""
REPEATS = 5
REFILLS = 8
"""Batches' worth of asks that new asks are measured with."""
PLANNERS = ("planner, wave", "planner, cycle")


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


@dataclass
class Calibration:
    """What was measured, on both clocks."""

    short: dict[int, Spent] = field(default_factory=dict)
    """Replies of one token, by how many ran at once."""
    long: dict[int, Spent] = field(default_factory=dict)
    """Replies of LONG tokens each."""
    loads: list[Spent] = field(default_factory=list)
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
                PLANNERS[1],
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
    found = [run_now(PLANNERS[1], setting, traces, bench.words()) for _ in range(3)]
    return sorted(found, key=lambda one: one.seconds)[1], traces


async def _calibrated(bench: Bench, setting: Setting) -> Calibration:
    worker = Worker(setting.experts, setting.factory, memory_gb=2.5 * bench.size_gb)
    words, seen = bench.words(), Calibration()
    first = setting.experts[0].label
    try:
        await worker.load(first)
        await _timed(worker, first, words, max(bench.sizes.batches), 4)  # what is done only once
        for size in bench.sizes.batches:
            seen.short[size] = await _usual(worker, first, words, size, 1)
            seen.long[size] = await _usual(worker, first, words, size, LONG)
        longer = await _usual(worker, first, bench.words(passage=bench.sizes.passage), 1, 1)
        shorter = await _usual(worker, first, words, 1, 1)
        seen.passage = Spent(longer.wall - shorter.wall, longer.cpu - shorter.cpu)
        for again in range(2):  # the first time brings the weights into host memory
            for expert in setting.experts:
                with clocks() as spent:
                    await worker.load(expert.label, worker.resident)
                if again:
                    seen.loads.append(spent)
        return seen
    finally:
        await worker.close()


async def _usual(worker: Worker, label: str, words: Words, count: int, tokens: int) -> Spent:
    """Return the medians of what :func:`_timed` measures."""
    found = [await _timed(worker, label, words, count, tokens) for _ in range(REPEATS)]
    return Spent(
        statistics.median([one.wall for one in found]),
        statistics.median([one.cpu for one in found]),
    )


async def _timed(worker: Worker, label: str, words: Words, count: int, tokens: int) -> Spent:
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


def swap_ladder(bench: Bench) -> None:
    """(b) What a swap takes, from worst to best."""
    dtype = getattr(torch, bench.shape.dtype)
    folders = bench.folders[:2]
    cold = []
    for folder in folders:
        _forget(folder)
        cold.append(_swap(WeightCache(0.0), folder, dtype, bench.device))
    bench.figure("b: cold, from disk", "ms", statistics.median(cold) * 1e3)
    kinds = (
        {"pageable": False, "pinned": True} if bench.device.type == "cuda" else {"pageable": False}
    )
    for name, pin in kinds.items():
        cache = WeightCache(4 * bench.model_gb, pin=pin)
        for folder in folders:
            _swap(cache, folder, dtype, bench.device)
        warm = [_swap(cache, folder, dtype, bench.device) for folder in folders * 5]
        bench.figure(f"b: from host memory, {name}", "ms", statistics.median(warm) * 1e3)
        cache.clear()
    asyncio.run(_overlapped(bench))


def _swap(cache: WeightCache, folder: Path, dtype: torch.dtype, device: torch.device) -> float:
    start = time.perf_counter()
    placed: Placed = cache.load(folder, dtype, device)
    seconds = time.perf_counter() - start
    free(placed)
    return seconds


def _forget(folder: Path) -> None:
    """Let the system forget what it keeps of a model's files, where it can."""
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened, suppress(OSError, AttributeError):
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def _overlapped(bench: Bench) -> None:
    """Measure loads while another expert generates, what they cost it, and resident experts."""
    setting = bench.setting(slots=2)
    worker = Worker(setting.experts, setting.factory, memory_gb=2.5 * bench.size_gb)
    first, second, third, *_ = [expert.label for expert in setting.experts]
    words, count = bench.words(), max(1, bench.sizes.batch_limit // 2)
    tokens = 4 * LONG
    try:
        for name in (second, third, first):  # into host memory
            await worker.load(name, worker.resident)
        await _timed(worker, first, words, count, 4)
        alone = (await _timed(worker, first, words, count, tokens)).wall
        running = asyncio.create_task(_timed(worker, first, words, count, tokens))
        loads = []
        while not running.done():
            others = [name for name in worker.resident if name != first]
            wanted = third if second in others else second
            loads.append(await worker.load(wanted, others))
        beside = (await running).wall
        start = time.perf_counter()
        await worker.load(first)
        resident = time.perf_counter() - start
    finally:
        await worker.close()
    bench.figure("b: while another generates", "ms", statistics.median(loads) * 1e3)
    bench.figure("b: what a load costs the other", "ms", (beside - alone) / len(loads) * 1e3)
    bench.figure("b: resident", "ms", resident * 1e3)


def policies(bench: Bench) -> None:
    """(c) Sixteen experts, questions with three of them and an aggregator, policy by policy."""
    sizes, setting = bench.sizes, bench.setting()
    traces = workload("symbolic_moe", sizes.questions, draws=sizes.draws)
    seconds: dict[str, float] = {}
    for name in ("fifo_batch", "barrier", *PLANNERS):
        ran = bench.measured("c", f"{sizes.questions} questions", name, setting, traces)
        if ran is not None:
            seconds[name] = ran.outcome.seconds
    sample = traces[: sizes.sampled]
    one = bench.measured("c", f"{len(sample)} of them", "per_session", setting, sample)
    if one is not None:
        seconds["per_session"] = one.outcome.seconds / len(sample) * len(traces)
        bench.figure(
            f"c: per question, EXTRAPOLATED from {len(sample)}, makespan",
            "s",
            seconds["per_session"],
        )
    best = min((seconds[name] for name in PLANNERS if name in seconds), default=None)
    if best is None:
        return
    for name, target in (("barrier", 1.0), ("fifo_batch", None), ("per_session", None)):
        if name in seconds:
            words = {"per_session": "per question (EXTRAPOLATED)"}.get(name, name)
            bench.figure(
                f"c: planner against {words}, times faster",
                "",
                seconds[name] / best,
                target,
                bound="at least",
            )
    _same_texts(bench)


def _same_texts(bench: Bench) -> None:
    """Count texts that differ between policies, with tiny models in single precision."""
    sizes = bench.sizes
    setting = bench.setting(tiny=True)
    traces = workload("debate", sizes.same, draws=sizes.draws, seed=1)
    found = {
        name: run_now(name, setting, traces, Words(512, sizes.prompt)).texts
        for name in ("per_session", "fifo_batch", "barrier", *PLANNERS)
    }
    first = found["per_session"]
    differing = sum(
        text != texts[place] for texts in found.values() for place, text in first.items()
    )
    bench.figure(
        f"c: texts of {len(first)} that differ between policies", "", float(differing), 0.0
    )
    distinct = len(set(first.values()))
    bench.notes.append(f"c: of those {len(first)} texts {distinct} are different ones")


def debates(bench: Bench) -> None:
    """(d) Three rounds over sixteen experts: how often each is loaded."""
    sizes, setting = bench.sizes, bench.setting()
    traces = workload("debate", sizes.debates, draws=sizes.draws)
    bound = reference_loads(EXPERTS, 3, setting.slots)
    case = f"{sizes.debates} debates"
    for name in ("barrier", *PLANNERS):
        ran = bench.measured("d", case, name, setting, traces)
        if ran is not None and name == PLANNERS[0]:
            over = float(ran.outcome.loads - bound)
            bench.figure(f"d: {name}, loads over E*R - C*(R-1) = {bound}", "", over, 2.0)


def growth(bench: Bench) -> None:
    """(e) More and more sessions."""
    setting = bench.setting()
    for count in bench.sizes.growth:
        traces = workload("symbolic_moe", count, draws=bench.sizes.draws)
        ran = bench.measured("e", f"{count:,} sessions", PLANNERS[0], setting, traces)
        if ran is not None:
            ratio = ran.outcome.seconds / ran.bound_s
            bench.figure(f"e: {count:,} sessions, makespan over the lower bound", "", ratio)


def slots(bench: Bench) -> None:
    """(f) Room for one, two and four experts, with loads as they are and slowed down."""
    sizes = bench.sizes
    traces = workload("debate", sizes.slotted, draws=sizes.draws)
    for extra in (0.0, sizes.slowed_s):
        for count in (1, 2, 4):
            setting = bench.setting(count, extra_load_s=extra)
            loads = f"loads {extra:g} s longer" if extra else "real loads"
            case = f"{count} slot{'s' if count > 1 else ''}, {loads}"
            bench.measured("f", case, PLANNERS[0], setting, traces)


def prefixes(bench: Bench) -> None:
    """(g) Long passages that many asks share, computed once or each time."""
    sizes = bench.sizes
    passages, readers = sizes.readers
    expert = bench.setting(1).experts[0]
    if bench.shape is TINY:
        folder = bench.folder / "reader"
        make_model(folder, READER, bench.device, seed=0)
        size_gb = 1.2 * examine(folder).bytes() / 1e9
        expert = expert.model_copy(update={"model": f"transformers/{folder}", "gpu_gb": size_gb})
    label = expert.label
    traces = [
        Trace(((Call(seat("reader", label), 1),),), question=f"q{number}")
        for number in range(passages * readers)
    ]
    words = bench.words(passage=sizes.passage, shared_by=readers)
    seconds, texts = {}, {}
    for reuse in (False, True):
        options = {**expert.options, "prefix_reuse": reuse}
        setting = replace(
            bench.setting(1),
            experts=[expert.model_copy(update={"options": options})],
            size_gb=expert.gpu_gb or 0.0,
        )
        run_now(PLANNERS[1], setting, traces[:2], words)  # what is done only once
        found = [run_now(PLANNERS[1], setting, traces, words) for _ in range(3)]
        seconds[reuse] = min(one.seconds for one in found)
        texts[reuse] = found[0].texts
        name = "on" if reuse else "off"
        bench.figure(f"g: prefix reuse {name}, makespan", "s", seconds[reuse])
    bench.figure(
        "g: prefix reuse, times faster", "", seconds[False] / seconds[True], 1.0, bound="at least"
    )
    differing = sum(texts[True][place] != text for place, text in texts[False].items())
    exact = bench.shape.dtype == "float32"
    name = f"g: texts of {len(traces)} that differ with prefix reuse"
    bench.figure(name, "", float(differing), 0.0 if exact else None)


PARTS: Mapping[str, Callable[[Bench], None]] = {
    "a": calibrate,
    "b": swap_ladder,
    "c": policies,
    "d": debates,
    "e": growth,
    "f": slots,
    "g": prefixes,
}
