"""How long a run would take on a fleet: its sessions rehearsed, its experts simulated.

Theory. A sample of the run's sessions is rehearsed with made-up replies (``rehearsal.py``), which
tells who is asked in which turn; the lengths of the replies are drawn. The product's own planner
then runs these sessions on simulated hardware in both of its modes, and the better mode is the
prediction. A run with more sessions than the sample takes longer by the work, or the provider's
time, of the others: loads do not grow while a window of sessions holds all of them.

Rehearsed debates never end early, so the number of asks lies near the most that there can be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import Field

from agents.engines import does_network_io
from agents.roster import Expert
from agents.settings import checked
from orchestrator.planner.modes import Choice, choose_mode
from orchestrator.planner.placement import Node, plan_places
from orchestrator.planner.plan import PlanSettings
from orchestrator.planner.residency import Mode
from orchestrator.simulator.bounds import Bounds, lower_bounds
from orchestrator.simulator.machines import GpuExpert, GpuWorker, HostedExpert
from orchestrator.simulator.simulate import Call, Trace, World
from orchestrator.simulator.workloads import Draws
from orchestrator.spec import RunSpec, Wanted, wanted_sessions
from protocols.asks import Ask
from protocols.chance import Rng
from workflows.forecast.rehearsal import rehearse_session
from workflows.settings.fleets import FleetSpec
from workflows.settings.sections import Section

SAMPLE = 2_000
"""The most sessions that are simulated."""
WINDOW = 10_000
"""Sessions that a run holds live at once."""
LOAD_S_PER_GB = 0.5
"""Seconds to load a gigabyte of weights: 2 GB a second, a disk's pace."""
STEP_S_PER_GB = 0.000625
"""Seconds of a step for each gigabyte of weights, which every step reads: 10 ms at 16 GB."""


class FleetFigures(Section):
    """What a simulated fleet is like; every figure has a default that is stated."""

    gpus: int = Field(1, ge=1)
    """How many GPUs."""
    gpu_gb: float = Field(80.0, gt=0.0)
    """The memory of each."""
    slots: int | None = Field(None, ge=1)
    """How many experts a GPU holds at once, in place of `gpu_gb`."""
    expert_gb: float | None = Field(None, gt=0.0)
    """Suppose that every expert without `gpu_gb` needs so much of a GPU."""
    load_s: float | None = Field(None, ge=0.0)
    """Seconds of a load; None: `load_s_per_gb`."""
    load_s_per_gb: float = Field(LOAD_S_PER_GB, ge=0.0)
    """Seconds of a load for each gigabyte of the expert."""
    step_s: float | None = Field(None, gt=0.0)
    """Seconds of a step; None: `step_s_per_gb`."""
    step_s_per_gb: float = Field(STEP_S_PER_GB, ge=0.0)
    """Seconds of a step for each gigabyte of the expert."""
    step_ask_s: float = Field(0.00005, ge=0.0)
    """Seconds that each running ask adds to a step."""
    batch: int = Field(256, ge=1)
    """The most asks that an expert on a GPU runs at once."""
    tokens: float = Field(400.0, ge=1.0)
    """The mean length of a reply, where none was measured."""
    latency_s: float = Field(0.5, ge=0.0)
    """Seconds until a hosted expert begins to reply."""
    hosted_token_s: float = Field(0.01, ge=0.0)
    """Seconds of each token of a hosted expert."""
    concurrency: int = Field(256, ge=1)
    """The most asks that are open at one hosted expert."""
    requests_per_minute: float | None = Field(None, gt=0.0)
    """The rate of each hosted expert."""
    tokens_per_minute: float | None = Field(None, gt=0.0)
    """The rate of each hosted expert, in tokens of its replies."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """How a run would go on a fleet."""

    choice: Choice
    """The sample in both modes."""
    bounds: Bounds
    """Of the sample."""
    world: World
    sessions: int
    """All sessions of the run."""
    sampled: int
    measured: tuple[str, ...] = ()
    """The protocols whose lengths were measured in an earlier run."""

    @property
    def makespan_s(self) -> float:
        """Predicted seconds of the whole run in the better mode."""
        return self.seconds(self.choice.mode)

    @property
    def bound_s(self) -> float:
        """What no scheduling can beat, for the whole run."""
        return self._grown(self.bounds.makespan_s)

    @property
    def loads(self) -> dict[str, int]:
        """Predicted loads by expert, in the better mode."""
        rounds = max(1, math.ceil(self.sessions / WINDOW))
        return {e: count * rounds for e, count in sorted(self.choice.report.loads.items())}

    def seconds(self, mode: Mode) -> float:
        """Return the predicted seconds of the whole run in a mode."""
        return self._grown(self.choice.reports[mode].makespan_s)

    def _grown(self, seconds: float) -> float:
        """Return what the sample's seconds are for all sessions."""
        if not self.sampled:
            return 0.0
        live = min(self.sessions, WINDOW)
        marginal = max(self.bounds.work_s, self.bounds.hosted_s) / self.sampled
        window = seconds + max(live - self.sampled, 0) * marginal
        return window * self.sessions / live

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        report = self.choice.report
        return {
            "mode": self.choice.mode,
            "makespan_s": round(self.makespan_s, 3),
            "modes": {mode: round(self.seconds(mode), 3) for mode in self.choice.reports},
            "lower_bound_s": round(self.bound_s, 3),
            "lower_bound": self.bounds.which,
            "loads": sum(self.loads.values()),
            "loads_by_expert": self.loads,
            "gpu_idle_share": _rounded(report.share("idle")),
            "gpu_loading_share": _rounded(report.share("loading")),
            "gpus": self.world.gpus,
            "sampled_sessions": self.sampled,
            "sample": {mode: one.as_json() for mode, one in self.choice.reports.items()},
            "sample_bounds": self.bounds.as_json(),
            "measured_lengths": list(self.measured),
        }


def predict(
    spec: RunSpec,
    figures: FleetFigures,
    *,
    sample: int = SAMPLE,
    measured: Mapping[str, float] | None = None,
) -> Prediction:
    """Simulate a sample of a run's sessions and tell how the run would go.

    Args:
        spec: the run.
        figures: the fleet.
        sample: the most sessions to simulate.
        measured: the mean length of replies by protocol, from an earlier run.

    Raises:
        Mistake: a session cannot be played, or an expert fits on no GPU.
    """
    measured = measured or {}
    experts = {expert.label: supposed(expert, figures) for expert in spec.experts}
    wanted = list(islice(wanted_sessions(spec), sample))
    traces = list(sample_traces(wanted, experts, figures, measured))
    asked = {call.seat.expert for trace in traces for turn in trace.turns for call in turn}
    world = simulated_world([e for label, e in experts.items() if label in asked], figures)
    loads = [one.load_s for one in world.on_gpus.values()] or [0.0]
    settings = PlanSettings(load_s=max(loads), tokens=figures.tokens)
    return Prediction(
        choice=choose_mode(world, traces, settings),
        bounds=lower_bounds(world, traces),
        world=world,
        sessions=len(spec.questions) * len(spec.entries) * spec.repeats,
        sampled=len(traces),
        measured=tuple(sorted(name for name in measured if name in _names(wanted))),
    )


def figures_of(fleet: FleetSpec, given: Mapping[str, Any] | None = None) -> FleetFigures:
    """Return what a fleet is like: what is given, else what it says of itself, else defaults.

    Raises:
        Mistake: a figure is out of range.
    """
    figures = {name: value for name, value in (given or {}).items() if value is not None}
    for name, said in (("gpus", fleet.gpus), ("gpu_gb", fleet.gpu_gb)):
        if said is not None:
            figures.setdefault(name, said)
    return checked(FleetFigures, figures, "the simulated fleet")


def run_mode(spec: RunSpec, fleet: FleetSpec, *, sample: int = SAMPLE) -> Mode:
    """Return the mode in which a run is planned: what its fleet says, else the better one.

    Nothing is simulated where no expert needs a GPU, since both modes are the same there.

    Raises:
        Mistake: a session cannot be played, or an expert fits on no GPU.
    """
    if fleet.mode != "auto":
        return fleet.mode
    if all(expert.gpu_gb is None for expert in spec.experts):
        return "cycle"
    return predict(spec, figures_of(fleet), sample=sample).choice.mode


def supposed(expert: Expert, figures: FleetFigures) -> Expert:
    """Return an expert with what is supposed of it: its size, and no special kind of GPU."""
    gigabytes = expert.gpu_gb or figures.expert_gb
    return expert.model_copy(update={"gpu_gb": gigabytes, "accelerator": None})


def simulated_world(experts: Sequence[Expert], figures: FleetFigures) -> World:
    """Return the hardware on which these experts run.

    Raises:
        Mistake: an expert fits on no GPU of the fleet.
    """
    on_gpus = [expert for expert in experts if expert.gpu_gb is not None]
    memory = figures.gpu_gb
    if figures.slots is not None:
        memory = figures.slots * max((expert.gpu_gb or 0.0 for expert in on_gpus), default=1.0)
    places = plan_places([Node("fleet", gpus=figures.gpus, gpu_gb=memory)], on_gpus)
    workers = [
        GpuWorker(name=f"gpu_{i:03}", memory_gb=memory, experts=place.experts, gpus=place.gpus)
        for i, place in enumerate(places)
    ]
    known: dict[str, GpuExpert | HostedExpert] = {}
    for expert in experts:
        loadable = expert.gpu_gb is not None
        known[expert.label] = _on_gpu(expert, figures) if loadable else _hosted(expert, figures)
    return World(experts=known, workers=tuple(workers), window=WINDOW)


def sample_traces(
    wanted: Sequence[Wanted],
    experts: Mapping[str, Expert],
    figures: FleetFigures,
    measured: Mapping[str, float],
) -> Iterator[Trace]:
    """Rehearse sessions and draw the lengths of their replies; seeded by the sessions' keys."""
    for one in wanted:
        played, entry = rehearse_session(one), one.entry
        rng = Rng("estimate", one.key)
        draws = Draws(mean=measured.get(entry.name, figures.tokens))
        yield Trace(
            tuple(
                [
                    tuple([Call(ask.seat, _tokens(ask, experts, draws, rng)) for ask in turn])
                    for turn in played.turns
                ]
            ),
            question=one.question.id,
        )


def _tokens(ask: Ask, experts: Mapping[str, Expert], draws: Draws, rng: Rng) -> int:
    """Return the length of the reply to an ask: what a scripted GPU declares, else a draw."""
    expert = experts[ask.seat.expert]
    if expert.model == "scripted/gpu":
        from agents.scripted import GpuScript, read_script
        from agents.scripted_gpu import reply_tokens

        script = read_script(expert)
        assert isinstance(script, GpuScript)
        return reply_tokens(script, ask)
    tokens = draws.tokens(rng)
    most = ask.seat.sampling.max_tokens
    return tokens if most is None else max(1, min(tokens, most))


def _on_gpu(expert: Expert, figures: FleetFigures) -> GpuExpert:
    size = expert.gpu_gb or 0.0
    load_s, step_s, each_s = figures.load_s, figures.step_s, figures.step_ask_s
    batch = figures.batch
    if expert.model == "scripted/gpu":
        from agents.scripted import GpuScript, read_script

        script = read_script(expert)
        assert isinstance(script, GpuScript)
        load_s = script.load_s if load_s is None else load_s
        step_s, each_s, batch = script.t0_s, script.t1_s, script.batch_limit
    return GpuExpert(
        load_s=size * figures.load_s_per_gb if load_s is None else load_s,
        t0_s=size * figures.step_s_per_gb if step_s is None else step_s,
        t1_s=each_s,
        batch_limit=batch,
        size_gb=size,
    )


def _hosted(expert: Expert, figures: FleetFigures) -> HostedExpert:
    """Return what a hosted expert is like; one that runs in this process answers at once."""
    if not does_network_io(expert):
        return HostedExpert(latency_s=0.0, concurrency=figures.concurrency)
    return HostedExpert(
        latency_s=figures.latency_s,
        token_s=figures.hosted_token_s,
        concurrency=figures.concurrency,
        requests_per_minute=figures.requests_per_minute,
        tokens_per_minute=figures.tokens_per_minute,
    )


def measured_lengths(store: str, name: str) -> dict[str, float]:
    """Return the mean length of the replies of an earlier run, by protocol.

    Empty where there is no such run, or its experts counted no tokens.
    """
    from pathlib import Path

    from orchestrator.store import Store
    from orchestrator.store.address import parse_address

    path = parse_address(store).path
    if path is not None and not Path(path).exists():
        return {}
    with Store.read(store) as opened:
        run = opened.find_run(name)
        totals = {} if run is None or run.id is None else opened.totals(run.id)
    return {
        entry: max(1.0, total["completion_tokens"] / total["attempts"])
        for entry, total in totals.items()
        if total["attempts"] and total["completion_tokens"]
    }


def _names(wanted: Sequence[Wanted]) -> set[str]:
    return {one.entry.name for one in wanted}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
