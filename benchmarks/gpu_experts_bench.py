"""What the parts of the benchmark share: models, engines, sizes, time left, and what was found."""

from __future__ import annotations

import asyncio
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
from orchestrator.simulator.simulated import Report
from orchestrator.simulator.workloads import Draws, labels, workload
from orchestrator.simulator.world import Trace

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


CPU = Sizes(batch_limit=16, mean_tokens=16.0, spread=0.4, prompt=24, passage=400, readers=(3, 12))
CARD = Sizes(
    batch_limit=64,
    mean_tokens=16.0,
    spread=0.4,
    prompt=128,
    passage=1_500,
    debates=160,
    slotted=64,
    slowed_s=0.5,
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


@dataclass(frozen=True)
class Run:
    """Sessions that are run under a policy."""

    part: str
    case: str
    policy: str
    kind: str
    """Of workload."""
    sessions: int
    slots: int = 3
    extra_load_s: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.part}: {self.case}, {self.policy}"

    @property
    def key(self) -> tuple[object, ...]:
        """What it does, whatever it is for."""
        return self.policy, self.kind, self.sessions, self.slots, self.extra_load_s


class Budget:
    """The time that there is.

    Args:
        minutes: how much.
        began: since when, by the monotonic clock; now unless told.
    """

    def __init__(self, minutes: float, began: float | None = None) -> None:
        self.minutes = minutes
        self._began = time.monotonic() if began is None else began

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
    parts: tuple[str, ...] = ()
    """Those that are wanted."""
    read_s: float = 0.0
    """What the first load of a model took, from disk into host memory and onto the device."""
    passage_s: float = 0.0
    """What a passage adds to a prompt."""
    ran: dict[tuple[object, ...], Ran] = field(default_factory=dict)
    """What was run, by :attr:`Run.key`."""
    keep: Callable[[Bench], object] = lambda _: None
    """Writes down what was found so far."""
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
        self.say(f"models of {self.model_gb:.3g} GB written")
        fits = int(self.cache_gb / self.model_gb)
        if fits < len(self.folders):
            self.notes.append(
                f"host memory holds {fits} of {len(self.folders)} models: others come from disk"
            )

    def say(self, text: str) -> None:
        """Print how far it is."""
        print(f"[{self.budget.spent_s:4.0f} s] {text}", flush=True)

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

    def run_setting(self, run: Run) -> Setting:
        return self.setting(run.slots, extra_load_s=run.extra_load_s)

    def foretold(self, run: Run) -> Report:
        """Return what the simulator expects of a run."""
        traces = workload(run.kind, run.sessions, draws=self.sizes.draws)
        return foretell(run.policy, self.run_setting(run), traces)

    def measured(self, run: Run) -> Ran | None:
        """Run sessions under a policy, where there is time; note what came of it.

        What was run before, for another part, is not run again.
        """
        if run.key in self.ran:
            return self.ran[run.key]
        setting, report = self.run_setting(run), self.foretold(run)
        traces = workload(run.kind, run.sessions, draws=self.sizes.draws)
        left_s = self.budget.left_s
        if report.makespan_s > left_s:
            said = f"left out, {report.makespan_s:.0f} s foretold and {left_s:.0f} s left"
            self.notes.append(f"{run.name}: {said}")
            self.say(self.notes[-1])
            return None
        try:
            outcome = run_now(run.policy, setting, traces, self.words(), left_s)
        except TimeoutError:
            said = f"cut off after {left_s:.0f} s, {report.makespan_s:.0f} s foretold"
            self.notes.append(f"{run.name}: {said}")
            self.say(self.notes[-1])
            return None
        bounds = bounds_of(setting, traces)
        ran = self.ran[run.key] = Ran(outcome, report, bounds.loads, bounds.makespan_s)
        self.say(
            f"{run.name}: {outcome.seconds:.1f} s, {report.makespan_s:.1f} s foretold; "
            f"{outcome.loads} loads"
        )
        self._note(run, setting, traces, ran)
        self.keep(self)
        return ran

    def _note(self, run: Run, setting: Setting, traces: Sequence[Trace], ran: Ran) -> None:
        """Note what came of a run."""
        outcome, name = ran.outcome, run.name
        planned = run.policy.startswith("planner")
        target = WITHIN if planned else None
        self.figure(f"{name}, makespan", "s", outcome.seconds)
        self.figure(f"{name}, off the simulator by", "", ran.off, target)
        self.figure(f"{name}, loads", "", float(outcome.loads))
        on_cpu: float | None = None
        if self.cpu_pacing is not None and not setting.extra_load_s:
            expected = foretell(run.policy, replace(setting, pacing=self.cpu_pacing), traces)
            on_cpu = expected.makespan_s
            off = abs(outcome.cpu_s / on_cpu - 1.0)
            self.figure(f"{name}, off by, in processor time", "", off, target)
        if planned:
            self.figure(f"{name}, scheduler share", "", outcome.scheduler_share, SCHEDULER)
        self.figure(f"{name}, GPU idle share", "", outcome.idle_share)
        self.rows.append(
            {
                "part": run.part,
                "case": run.case,
                "policy": run.policy,
                "sessions": run.sessions,
                "asks": outcome.asks,
                "tokens": outcome.tokens,
                "slots": run.slots,
                "extra_load_s": run.extra_load_s,
                "seconds": round(outcome.seconds, 3),
                "foretold_s": round(ran.report.makespan_s, 3),
                "cpu_s": round(outcome.cpu_s, 3),
                "cpu_foretold_s": None if on_cpu is None else round(on_cpu, 3),
                "bound_s": round(ran.bound_s, 3),
                "loads": outcome.loads,
                "loads_foretold": ran.report.load_count,
                "loads_bound": ran.loads_bound,
                "scheduler_share": round(outcome.scheduler_share, 6),
                "idle_share": round(outcome.idle_share, 4),
            }
        )


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
