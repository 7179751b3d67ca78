"""The parts of the benchmark, by letter."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from agents.weights import Placed, WeightCache, examine, free
from agents.worker import Worker
from benchmarks.gpu_experts_bench import Bench
from benchmarks.gpu_experts_calibration import LONG, calibrate, timed
from benchmarks.gpu_experts_fit import CYCLE, PLANNERS, WAVE
from benchmarks.gpu_experts_fit import debates as debate_runs
from benchmarks.gpu_experts_fit import growth as growth_runs
from benchmarks.gpu_experts_fit import questions as question_runs
from benchmarks.gpu_experts_fit import slots as slot_runs
from benchmarks.gpu_experts_models import READER, TINY, make_model
from benchmarks.gpu_experts_runs import Words, run_now
from orchestrator.simulator.bounds import reference_loads
from orchestrator.simulator.workloads import EXPERTS, seat, workload
from orchestrator.simulator.world import Call, Trace


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
        await timed(worker, first, words, count, 4)
        alone = (await timed(worker, first, words, count, tokens)).wall
        running = asyncio.create_task(timed(worker, first, words, count, tokens))
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
    seconds: dict[str, float] = {}
    for run in question_runs(bench.sizes):
        ran = bench.measured(run)
        if ran is not None:
            scale = bench.sizes.questions / run.sessions
            seconds[run.policy] = ran.outcome.seconds * scale
    if "per_session" in seconds:
        bench.figure(
            f"c: per question, EXTRAPOLATED from {bench.sizes.sampled}, makespan",
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
    bench.say("comparing texts under every policy")
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
    for run in debate_runs(bench.sizes):
        ran = bench.measured(run)
        if ran is not None and run.policy == WAVE:
            bound = reference_loads(EXPERTS, 3, run.slots)
            over = float(ran.outcome.loads - bound)
            bench.figure(f"d: {WAVE}, loads over E*R - C*(R-1) = {bound}", "", over, 2.0)


def growth(bench: Bench) -> None:
    """(e) More and more sessions."""
    for run in growth_runs(bench.sizes):
        ran = bench.measured(run)
        if ran is not None:
            ratio = ran.outcome.seconds / ran.bound_s
            bench.figure(f"e: {run.case}, makespan over the lower bound", "", ratio)


def slots(bench: Bench) -> None:
    """(f) Room for one, two and four experts, with loads as they are and slowed down."""
    for run in slot_runs(bench.sizes):
        bench.measured(run)


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
        run_now(CYCLE, setting, traces[:2], words)  # what is done only once
        found = [run_now(CYCLE, setting, traces, words) for _ in range(3)]
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
