"""B7: many experts on few GPUs, in the simulator: the planner beside baselines and bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.measuring import Figure, Result, fresh
from orchestrator.planner.plan import Planner, PlanSettings
from orchestrator.simulator.bounds import Bounds, lower_bounds, reference_loads
from orchestrator.simulator.machines import GpuExpert
from orchestrator.simulator.policies import BASELINES
from orchestrator.simulator.simulate import KnownLengths, Policy, Report, World, simulate
from orchestrator.simulator.workloads import EXPERTS, WORKLOADS, Draws, labels, workload

STAGES = {"symbolic_moe": 2, "debate": 3, "mixed": 6}
"""Turns of the longest session."""
PLANNERS = ("cycle", "wave", "cycle, lengths known", "wave, lengths known")
BATCH = 256
NOTES = """\
simulated: 16 experts of equal size (the k-th is drawn with weight 1/sqrt(k)), loads of 10 s
steps of 10 ms + 0.05 ms an ask, batches of 256, all sessions there at the start
lengths are log-normal with mean 400; 0.57, the deviation of their logarithm, is a guess
mixed: Symbolic-MoE, debate, judged debate of 5 speeches each, review of 3 critiques; equal shares
lengths known: the planner is told each reply's length; else it learns quantiles by expert and role,
and nothing in these workloads tells more about a single ask""".splitlines()


@dataclass(frozen=True)
class Case:
    """A workload on a fleet."""

    workload: str
    sessions: int
    slots: int
    policies: tuple[str, ...]


def policy(name: str) -> tuple[Policy, KnownLengths | None]:
    """Return a fresh policy, and its predictor where it is told all lengths."""
    if name in BASELINES:
        return BASELINES[name](), None
    mode, _, known = name.partition(", ")
    lengths = KnownLengths() if known else None
    return Planner(PlanSettings.model_validate({"mode": mode}), lengths=lengths), lengths


def simulated(workload_name: str, sessions: int, slots: int, policies: list[str]) -> dict[str, Any]:
    """Run one case under each policy; JSON figures with the ratio to the bound."""
    traces = workload(workload_name, sessions, draws=Draws())
    world = World.of({label: GpuExpert(batch_limit=BATCH) for label in labels()}, slots=slots)
    bounds = lower_bounds(world, traces)
    found: dict[str, Any] = {}
    for name in policies:
        chosen, lengths = policy(name)
        found[name] = _figures(simulate(chosen, world, traces, lengths=lengths), bounds)
    return {"bounds": bounds.as_json(), "policies": found}


def _figures(report: Report, bounds: Bounds) -> dict[str, Any]:
    json = report.as_json()
    del json["loads_by_expert"]
    return {"over_bound": round(report.makespan_s / bounds.makespan_s, 4), **json}


def cases(*, quick: bool) -> list[Case]:
    """Return the tables of SCHEDULING: all policies at one slot, and at three."""
    few, many = (60, 200) if quick else (3_000, 10_000)
    every = (*BASELINES, *PLANNERS)
    quicker = ("fifo_batch", "barrier", "longest_queue", *PLANNERS)
    return [
        *(Case(name, few, 1, every) for name in WORKLOADS),
        *(Case(name, many, 3, quicker) for name in WORKLOADS),
    ]


def growth(*, quick: bool) -> list[Case]:
    """Return the debate as it grows."""
    sizes = (20, 40) if quick else (100, 1_000, 3_000, 10_000, 30_000)
    return [Case("debate", size, 1, ("cycle, lengths known",)) for size in sizes]


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    """Run every case once: the same seed gives the same figures, but for processor time."""
    figures: list[Figure] = []
    tables: list[dict[str, Any]] = []
    for case in [*cases(quick=quick), *growth(quick=quick)]:
        found = fresh(
            "benchmarks.b7:simulated",
            workload_name=case.workload,
            sessions=case.sessions,
            slots=case.slots,
            policies=list(case.policies),
        )
        tables.append({**found, "workload": case.workload, **_size(case)})
        figures += _over_bound(case, found)
        figures += _targets(case, found)
    yield Result("b7", "many experts, one GPU, simulated", "no store", figures, NOTES, tables)


def _size(case: Case) -> dict[str, int]:
    return {"sessions": case.sessions, "slots": case.slots, "gpus": 1}


def _named(case: Case, words: str) -> str:
    return f"{case.workload}, {case.sessions:,} sessions, {case.slots} slots: {words}"


def _over_bound(case: Case, found: dict[str, Any]) -> Iterator[Figure]:
    for name, one in found["policies"].items():
        target = None
        if name in PLANNERS and one["queue_per_visit"] >= 4 * BATCH:
            target = 1.15
        words = f"{name}, makespan over bound ({one['loads']:,} loads)"
        yield Figure(_named(case, words), "", [one["over_bound"]], target=target)


def _targets(case: Case, found: dict[str, Any]) -> Iterator[Figure]:
    policies = found["policies"]
    planned = {name: one for name, one in policies.items() if name in PLANNERS}
    if "wave" in planned and case.workload != "mixed":
        reference = _reference(case)
        yield Figure(
            _named(case, "wave, loads"),
            "",
            [float(planned["wave"]["loads"])],
            target=reference + 2.0,
        )
    barrier = policies.get("barrier")
    if barrier is None:
        return
    for known in ("", ", lengths known"):
        pair = [planned[f"{mode}{known}"] for mode in ("cycle", "wave")]
        better = min(one["makespan_s"] for one in pair)
        gain = barrier["makespan_s"] / better
        three = case.slots == 3
        words = f"better mode{known}, times faster than group and barrier"
        yield Figure(
            _named(case, words), "", [gain], target=1.2 if three else 1.0, bound="at least"
        )
        if case.workload == "mixed" and three:
            ratio = better / found["bounds"]["makespan_s"]
            words = f"better mode{known}, makespan over bound"
            yield Figure(_named(case, words), "", [ratio], target=1.4)
    shares = [one["planner_share"] for one in planned.values()]
    yield Figure(_named(case, "planner, share of the time"), "", shares, target=0.005)


def _reference(case: Case) -> int:
    """Return E * R - C * (R - 1); Symbolic-MoE needs all experts once and its aggregator again."""
    if case.workload == "symbolic_moe":
        return EXPERTS + 1
    return reference_loads(EXPERTS, STAGES[case.workload], case.slots)
