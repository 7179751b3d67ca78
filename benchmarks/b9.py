"""B9: what a planner's operation costs: an ask that arrives, one that is dispatched, a result."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator, Sequence

from benchmarks.measuring import Figure, Result, clocks, fresh
from orchestrator.fleets.fleet import Dispatch, Load, Loaded, Results, WorkerJoined
from orchestrator.planner.plan import AsksArrived, Planner
from orchestrator.tuning import quiet_garbage_collector
from protocols.asks import Ask, Model, Seat
from protocols.chance import Rng
from protocols.messages import Place
from protocols.replies import Reply, Usage

EXPERTS = tuple([f"expert_{number:02}" for number in range(16)])
TURN = 3
"""Asks of a turn."""
LIMIT = 256
ARRIVE = 60
"""Turns that arrive between two calls of `plan`."""
FINISH = 64
"""Results that come at once."""


class Waiting:
    """An ask in a planner's queue."""

    __slots__ = ("ask", "due", "expert", "group")

    def __init__(self, ask: Ask, group: int) -> None:
        self.ask = ask
        self.expert = ask.seat.expert
        self.group = group
        self.due: float | None = None


def turns(count: int) -> list[list[Waiting]]:
    """Return turns of three asks of different experts in two roles."""
    rng = Rng("b9")
    seats = {
        (role, expert): Seat(role, role, expert, Model(f"simulated/{expert}"))
        for role in ("speaker", "judge")
        for expert in EXPERTS
    }
    made = []
    for group in range(count):
        role = "judge" if group % 4 == 0 else "speaker"
        experts = rng.sample(EXPERTS, TURN)
        asks = [
            Ask(seats[role, expert], (), question=f"q{group // 2}", place=Place(0, slot))
            for slot, expert in enumerate(experts)
        ]
        made.append([Waiting(ask, group) for ask in asks])
    return made


def joined(gpus: bool) -> list[WorkerJoined]:
    """Return the workers: one for hosted experts, or two GPUs with room for three of 16 experts."""
    limits = dict.fromkeys(EXPERTS, LIMIT)
    if not gpus:
        return [WorkerJoined("api", limits)]
    sizes = dict.fromkeys(EXPERTS, 16.0)
    return [WorkerJoined(f"gpu_{number}", limits, 48.0, sizes) for number in range(2)]


def operations(asks: int, gpus: bool) -> dict[str, float]:
    """Let asks arrive, be dispatched and finish; return microseconds for each of these steps."""
    coming = deque(turns(asks // TURN))
    whole = len(coming) * TURN
    planner = Planner()
    for event in joined(gpus):
        planner.apply(event, 0.0)
    gc.collect()
    with quiet_garbage_collector(), clocks() as spent:
        _drive(planner, coming)
    assert planner.waiting == planner.in_flight == 0
    return spent.per(3 * whole)


def _drive(planner: Planner, coming: deque[list[Waiting]]) -> None:
    running: deque[tuple[int, int, int]] = deque()
    reply = Reply(usage=Usage(completion_tokens=400))
    now = 0.0
    while coming or planner.waiting or planner.in_flight:
        now += 0.05
        for _ in range(min(ARRIVE, len(coming))):
            planner.apply(AsksArrived(coming.popleft()), now)
        loads = _start(planner, running, now)
        for load in loads:
            now += 1.0
            planner.apply(Loaded(load.worker, load.expert, 1.0), now)
        if running:
            batch, begin, end = running.popleft()
            stop = min(end, begin + FINISH)
            done = Results(batch, tuple([(index, reply) for index in range(begin, stop)]))
            planner.apply(done, now)
            if stop < end:
                running.append((batch, stop, end))


def _start(planner: Planner, running: deque[tuple[int, int, int]], now: float) -> Sequence[Load]:
    """Note what is dispatched; return what is to be loaded."""
    loads = []
    for action in planner.plan(now)[0]:
        if isinstance(action, Dispatch):
            running.append((action.batch, 0, len(action.asks)))
        elif isinstance(action, Load):
            loads.append(action)
    return loads


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    asks = 3_000 if quick else 333_334
    figures = []
    for gpus, words in ((False, "hosted experts"), (True, "16 experts on two GPUs")):
        found = [fresh("benchmarks.b9:operations", asks=asks, gpus=gpus) for _ in range(runs)]
        for clock, name in (("wall", "wall clock"), ("cpu", "processor time")):
            costs = [run[clock] for run in found]
            figures.append(Figure(f"an operation, {words} ({name})", "us", costs, target=10.0))
    yield Result(
        "b9",
        f"the planner: {3 * (asks // TURN) * TURN:,} operations",
        "no store",
        figures,
        [
            "an operation: an ask arrives, is dispatched, or has its result; a third each",
            f"turns of {TURN} asks, {ARRIVE} turns between two plans, results {FINISH} at a time",
            "with the garbage collector tuned as the driver tunes it",
        ],
    )
