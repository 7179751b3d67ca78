"""Lower bounds on the makespan: what no policy can beat on a simulated world.

=======  ====================================================================================
work     Every token takes its expert's GPU time in a full batch, and the GPUs share the work.
setup    Every expert that is used is loaded at least once, and more often where the turns of its
         sessions leave no other way (:func:`fewest_loads`). With room for one expert on each GPU
         loads and work exclude one another; otherwise they overlap, and only the first load of a
         GPU cannot.
path     The longest session alone: its turns follow one another, and every expert of a turn must
         generate its longest reply in a batch of one.
hosted   A provider's rates, and its concurrency times its latency.
=======  ====================================================================================

A bound holds for every policy; whether one can reach it is another matter.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.simulator.machines import GpuExpert, HostedExpert
from orchestrator.simulator.world import Call, Trace, World

Stages = tuple[frozenset[str], ...]
"""The experts on GPUs that a session needs in each of its turns."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lower bounds in seconds."""

    work_s: float
    """GPU time of all tokens, shared by the GPUs."""
    setup_s: float
    """With the loads that cannot be avoided; at least `work_s` where anything runs on GPUs."""
    path_s: float
    hosted_s: float
    loads: int
    """The fewest loads that :func:`fewest_loads` can show to be needed."""

    @property
    def makespan_s(self) -> float:
        """The greatest of them."""
        return max(self.work_s, self.setup_s, self.path_s, self.hosted_s)

    @property
    def which(self) -> str:
        """The name of the greatest: ``work``, ``setup``, ``path`` or ``hosted``."""
        named = {
            "work": self.work_s,
            "setup": self.setup_s,
            "path": self.path_s,
            "hosted": self.hosted_s,
        }
        return max(named, key=lambda name: named[name])

    def as_json(self) -> dict[str, Any]:
        """Return the bounds as a JSON object."""
        return {
            "makespan_s": round(self.makespan_s, 3),
            "which": self.which,
            "work_s": round(self.work_s, 3),
            "setup_s": round(self.setup_s, 3),
            "path_s": round(self.path_s, 3),
            "hosted_s": round(self.hosted_s, 3),
            "loads": self.loads,
        }


def reference_loads(experts: int, stages: int, slots: int) -> int:
    """Return E * R - C * (R - 1): loads of `experts` needed in each of `stages` with C `slots`.

    Each stage loads every expert once, but for those that are resident since the stage before.
    """
    return experts * stages - min(slots, experts) * (stages - 1)


def lower_bounds(world: World, traces: Sequence[Trace]) -> Bounds:
    """Return the bounds of a workload on a world."""
    calls, tokens, longest = _counted(traces)
    on_gpus = {e: f for e, f in world.on_gpus.items() if calls[e]}
    workers = len(world.workers)
    slots, single = _slots(world, on_gpus)
    loads, loads_s = fewest_loads(traces, on_gpus, slots)
    work = sum(tokens[e] * f.token_s for e, f in on_gpus.items()) / max(workers, 1)
    first = min((f.load_s for f in on_gpus.values()), default=0.0)
    share = loads_s / max(workers, 1)
    hosted = (
        _hosted(f, calls[e], tokens[e], longest[e]) for e, f in world.hosted.items() if calls[e]
    )
    alone = single and workers == 1
    return Bounds(
        work_s=work,
        setup_s=work + share if single else max(first + work, share),
        path_s=_longest_path(world, traces, first, workers, alone=alone),
        hosted_s=max(hosted, default=0.0),
        loads=loads,
    )


def fewest_loads(
    traces: Iterable[Trace], experts: dict[str, GpuExpert], slots: int
) -> tuple[int, float]:
    """Return a number of loads that every policy needs, and their seconds.

    A session needs each expert of its first turn, and at each later turn those that did not stay:
    at most `slots` did, one of them an expert of the turn before, whose last reply released this
    one. Sessions with no expert in common need their loads one beside the other, so a set of such
    sessions is picked, those with most loads an expert first; experts in none count once.
    """
    needs = {_stages(trace, experts) for trace in traces}
    found = [(_session_loads(stages, slots), stages) for stages in needs]
    ranked = sorted(
        ((loads, sorted(frozenset().union(*stages))) for loads, stages in found if stages),
        key=lambda one: (-one[0] / len(one[1]), one[1]),
    )
    left = set().union(*(names for _, names in ranked)) if ranked else set()
    loads, seconds = len(left), sum(experts[label].load_s for label in left)
    for needed, names in ranked:
        extra = needed - len(names)
        if extra > 0 and left.issuperset(names):
            left.difference_update(names)
            loads += extra
            seconds += extra * min(experts[label].load_s for label in names)
    return loads, seconds


def _session_loads(stages: Stages, slots: int) -> int:
    """Return the fewest loads of one session."""
    loads = 0
    before: frozenset[str] = frozenset()
    for stage in stages:
        stayed = 0
        if before:
            stayed = slots if stage & before else slots - 1
        loads += max(0, len(stage) - stayed)
        before = stage
    return max(loads, len(frozenset().union(*stages)) if stages else 0)


def _stages(trace: Trace, experts: dict[str, GpuExpert]) -> Stages:
    """Return what a session needs on GPUs in each turn; turns without are left out."""
    turns = (
        frozenset([c.seat.expert for c in turn if c.seat.expert in experts]) for turn in trace.turns
    )
    return tuple([turn for turn in turns if turn])


def _slots(world: World, experts: dict[str, GpuExpert]) -> tuple[int, bool]:
    """Return how many experts fit on all workers at once, and whether only one fits on each."""
    sizes = sorted(f.size_gb for f in experts.values())
    if not sizes:
        return 0, False
    fits = [max(1, math.floor(w.memory_gb / sizes[0] + 1e-9)) for w in world.workers]
    least = sizes[0] + (sizes[1] if len(sizes) > 1 else sizes[0])
    return sum(fits), all(w.memory_gb + 1e-9 < least for w in world.workers)


def _counted(traces: Iterable[Trace]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return calls, tokens and longest reply by expert."""
    calls: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    longest: Counter[str] = Counter()
    for trace in traces:
        for turn in trace.turns:
            for call in turn:
                expert = call.seat.expert
                calls[expert] += 1
                tokens[expert] += call.tokens
                longest[expert] = max(longest[expert], call.tokens)
    return calls, tokens, longest


def _longest_path(
    world: World, traces: Iterable[Trace], first: float, workers: int, *, alone: bool
) -> float:
    """Return the end of the session that would end last if each ran alone.

    `first` are the seconds of the shortest load. `alone`: there is one GPU, with room for one
    expert, so that nothing overlaps.
    """
    on_gpus = world.on_gpus
    known: dict[Stages, int] = {}
    longest = 0.0
    for trace in traces:
        turns = [_turn_s(world, turn, workers) for turn in trace.turns]
        early = trace.arrives == 0.0  # later on, what it needs first may be loaded already
        if early and turns and turns[0][1]:
            turns[0] = (turns[0][0], turns[0][1] + first)
        path = sum(max(turn) for turn in turns)
        if alone:
            stages = _stages(trace, on_gpus)
            if stages not in known:
                known[stages] = _session_loads(stages, 1)
            # the first load is in the first turn already, or may come before it
            loads = max(known[stages] - 1, 0)
            path = max(path, loads * first + sum(on_gpu for _, on_gpu in turns))
        longest = max(longest, trace.arrives + path)
    return longest


def _turn_s(world: World, turn: Iterable[Call], workers: int) -> tuple[float, float]:
    """Return the seconds of a turn alone, on providers and on GPUs.

    Its longest hosted ask; its slowest expert on GPUs, or all of them where they share the GPUs.
    """
    rounds: dict[str, float] = {}
    slowest = 0.0
    for call in turn:
        figures = world.experts[call.seat.expert]
        if isinstance(figures, HostedExpert):
            slowest = max(slowest, figures.latency_s + figures.token_s * call.tokens)
        else:
            seconds = call.tokens * figures.step_s(1)
            rounds[call.seat.expert] = max(rounds.get(call.seat.expert, 0.0), seconds)
    if not rounds:
        return slowest, 0.0
    return slowest, max(*rounds.values(), sum(rounds.values()) / max(workers, 1))


def _hosted(figures: HostedExpert, calls: int, tokens: int, longest: int) -> float:
    """Return the seconds that a provider takes for so many calls and tokens at least."""
    seconds = [math.ceil(calls / figures.concurrency) * figures.latency_s]
    if figures.requests_per_minute is not None:
        rate = figures.requests_per_minute / 60.0
        seconds.append((calls - max(rate * figures.burst_s, 1.0)) / rate)
    if figures.tokens_per_minute is not None:  # the last request may leave a debt
        rate = figures.tokens_per_minute / 60.0
        seconds.append((tokens - longest - max(rate * figures.burst_s, 1.0)) / rate)
    return max(seconds)
