"""What the parts of the benchmark share: models, engines, sizes, time left, and what was found."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from agents.engine import Engine
from agents.roster import Expert
from agents.weights import examine
from benchmarks.gpu_experts_models import TINY, Shape, make_models
from benchmarks.gpu_experts_runs import (
    Outcome,
    Pacing,
    Setting,
    Words,
    bounds_of,
    foretell,
    run_now,
)
from benchmarks.measuring import Figure
from orchestrator.simulated import Report
from orchestrator.workloads import Draws, labels
from orchestrator.world import Trace

WITHIN = 0.10
"""How far a makespan may be from what the simulator foretold."""
SCHEDULER = 0.005
"""The share of wall time that the policy may take."""


@dataclass(frozen=True)
class Sizes:
    """How much is run."""

    batch_limit: int
    mean_tokens: float
    spread: float
    prompt: int
    """Words of a question."""
    passage: int
    """Words that many asks share, where prefixes are measured."""
    questions: int = 480
    debates: int = 240
    growth: tuple[int, ...] = (120, 480, 1_920)
    slotted: int = 96
    """Debates where slots are compared."""
    sampled: int = 4
    """Questions that are asked one after the other; the others are extrapolated."""
    slowed_s: float = 0.25
    """By which loads are slowed down, where they are."""
    readers: tuple[int, int] = (6, 32)
    """Passages, and asks about each."""
    same: int = 16
    """Debates of which the texts are compared under every policy."""
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Sizes of batches that are calibrated."""

    @property
    def draws(self) -> Draws:
        return Draws(self.mean_tokens, self.spread)


CPU = Sizes(batch_limit=16, mean_tokens=16.0, spread=0.4, prompt=24, passage=1_000, readers=(3, 12))
CARD = Sizes(
    batch_limit=64,
    mean_tokens=20.0,
    spread=0.4,
    prompt=128,
    passage=1_500,
    slowed_s=1.0,
    sampled=3,
    batches=(1, 8, 32, 64),
)
QUICK = Sizes(
    batch_limit=4,
    mean_tokens=3.0,
    spread=0.2,
    prompt=6,
    passage=24,
    questions=6,
    debates=4,
    growth=(4, 8),
    slotted=4,
    sampled=1,
    slowed_s=0.02,
    readers=(2, 4),
    same=3,
    batches=(1, 2, 4),
)


class Budget:
    """The time that there is."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._began = time.monotonic()

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def left_s(self) -> float:
        return self.minutes * 60.0 - self.spent_s


@dataclass
class Bench:
    """One run of the benchmark."""

    device: torch.device
    shape: Shape
    sizes: Sizes
    folder: Path
    budget: Budget
    cache_gb: float
    engine: Callable[..., Engine] | None = None
    """Makes an engine of an expert; the product's own unless told."""
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    pacing: Pacing | None = None
    cpu_pacing: Pacing | None = None
    """The same in processor time, where the CPU is the device: neighbours disturb it less."""
    common: dict[str, Any] = field(default_factory=dict)
    """What the engines of all runs share: the device's thread and the weights in host memory."""
    _tiny: list[Path] | None = None

    def __post_init__(self) -> None:
        linked = self.shape is not TINY
        self.folders = make_models(self.folder / "models", self.shape, self.device, linked=linked)
        self.model_gb = (
            max(examine(folder).bytes(getattr(torch, self.shape.dtype)) for folder in self.folders)
            / 1e9
        )

    @property
    def size_gb(self) -> float:
        """What a slot is counted for."""
        return self.model_gb * 1.2

    def words(self, **more: int) -> Words:
        return Words(self.shape.words, self.sizes.prompt, **more)

    def setting(
        self, slots: int = 3, *, extra_load_s: float = 0.0, tiny: bool = False, **options: Any
    ) -> Setting:
        """Return all sixteen experts on a worker with so many slots.

        Args:
            slots: how many experts fit at once.
            extra_load_s: how much longer every load takes.
            tiny: whether the models are tiny ones with single precision, each with weights of
                its own.
            options: of the experts, beside the usual ones.
        """
        shape = TINY if tiny else self.shape
        folders = self._tiny_folders() if tiny else self.folders
        options = {
            "device": str(self.device),
            "dtype": shape.dtype,
            "batch_limit": self.sizes.batch_limit,
            "min_tokens": 4_000,  # with the limit of each ask: exactly so many
            "host_cache_gb": self.cache_gb,
        } | options
        experts = [
            Expert(
                label=label,
                model=f"transformers/{folder}",
                gpu_gb=self.size_gb,
                options=options,
            )
            for label, folder in zip(labels(), folders, strict=True)
        ]
        return Setting(
            experts,
            self.factory(extra_load_s),
            self.sizes.batch_limit,
            self.size_gb,
            slots,
            extra_load_s,
            self.pacing,
            lambda: STEPS.seconds,
        )

    def _tiny_folders(self) -> list[Path]:
        if self.shape is TINY:
            return self.folders
        if self._tiny is None:
            self._tiny = make_models(self.folder / "tiny", TINY, self.device, linked=False)
        return self._tiny

    def factory(self, extra_load_s: float) -> Callable[[Expert], Engine]:
        """Return what makes engines that share everything with those of other runs."""
        make = self.engine
        if make is None:
            from agents.transformers_engine import TransformersEngine

            make = TransformersEngine
        common = self.common

        def made(expert: Expert) -> Engine:
            engine = make(expert)
            share, load = engine.share, engine.load

            def share_widely(_: dict[str, Any]) -> None:
                share(common)

            async def load_slowly() -> None:
                await load()
                await asyncio.sleep(extra_load_s)

            vars(engine).update(share=share_widely, load=load_slowly)
            return engine

        return made

    def figure(
        self, name: str, unit: str, value: float, target: float | None = None, **more: Any
    ) -> None:
        self.figures.append(Figure(name, unit, [value], target, **more))

    def measured(
        self, part: str, case: str, policy: str, setting: Setting, traces: Sequence[Trace]
    ) -> Ran | None:
        """Run sessions under a policy, where there is time; note what came of it."""
        report = foretell(policy, setting, traces)
        name = f"{part}: {case}, {policy}" if case else f"{part}: {policy}"
        if report.makespan_s > self.budget.left_s:
            self.notes.append(
                f"{name}: left out, {report.makespan_s:.0f} s foretold and "
                f"{self.budget.left_s:.0f} s left"
            )
            return None
        outcome = run_now(policy, setting, traces, self.words())
        bounds = bounds_of(setting, traces)
        ran = Ran(outcome, report, bounds.loads, bounds.makespan_s)
        planned = policy.startswith("planner")
        self.figure(f"{name}, makespan", "s", outcome.seconds)
        self.figure(f"{name}, off the simulator by", "", ran.off, WITHIN if planned else None)
        self.figure(f"{name}, loads", "", float(outcome.loads))
        on_cpu: float | None = None
        if self.cpu_pacing is not None and not setting.extra_load_s:
            expected = foretell(policy, replace(setting, pacing=self.cpu_pacing), traces)
            on_cpu = expected.makespan_s
            off = abs(outcome.cpu_s / on_cpu - 1.0)
            self.figure(f"{name}, off by, in processor time", "", off, WITHIN if planned else None)
        if planned:
            self.figure(f"{name}, scheduler share", "", outcome.scheduler_share, SCHEDULER)
        self.figure(f"{name}, GPU idle share", "", outcome.idle_share)
        self.rows.append(
            {
                "part": part,
                "case": case,
                "policy": policy,
                "sessions": len(traces),
                "asks": outcome.asks,
                "tokens": outcome.tokens,
                "slots": setting.slots,
                "extra_load_s": setting.extra_load_s,
                "seconds": round(outcome.seconds, 3),
                "foretold_s": round(report.makespan_s, 3),
                "cpu_s": round(outcome.cpu_s, 3),
                "cpu_foretold_s": None if on_cpu is None else round(on_cpu, 3),
                "bound_s": round(bounds.makespan_s, 3),
                "loads": outcome.loads,
                "loads_foretold": report.load_count,
                "loads_bound": bounds.loads,
                "scheduler_share": round(outcome.scheduler_share, 6),
                "idle_share": round(outcome.idle_share, 4),
            }
        )
        return ran


@dataclass(frozen=True)
class Ran:
    """A run beside what was expected of it."""

    outcome: Outcome
    report: Report
    loads_bound: int
    bound_s: float

    @property
    def off(self) -> float:
        """How far the makespan is from the simulator's."""
        return abs(self.outcome.seconds / self.report.makespan_s - 1.0)


class Steps:
    """For how long the engines' turns took, all together."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self) -> None:
        """Time every turn of every batch from now on."""
        from agents.transformers_batch import Batch

        turn = Batch.turn

        def timed(batch: Batch) -> None:
            start = time.perf_counter()
            turn(batch)
            self.seconds += time.perf_counter() - start

        setattr(Batch, "turn", timed)  # noqa: B010 - mypy knows it as a method


STEPS = Steps()


def host_gb() -> float:
    """Return the memory of this machine, in gigabytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
