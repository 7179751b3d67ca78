"""The choices of the cycle-wave rule: what a GPU worker visits next, loads next, and evicts.

See ``residency.py`` for the rule. Everything here reads the board and changes none of it but the
number of the cycle.
"""

from __future__ import annotations

from orchestrator.planner.lanes import ALMOST, Board, Gpu, Lane
from orchestrator.planner.pace import Pace

AHEAD = 1.2
"""Loads that a prefetch is ahead of its need; also the margin of a deadline."""
PATIENCE = 3
"""Cycles that work waits before it overrides the order."""


class Chooser:
    """See the module's theory."""

    def __init__(self, board: Board, pace: Pace, *, replicate: bool) -> None:
        self.board = board
        self.pace = pace
        self._replicate = replicate

    def order(self, gpu: Gpu, now: float) -> list[Lane]:
        """Return what this worker may visit after its current expert, first things first."""
        ranked = [
            (self._rank(gpu, lane), lane)
            for lane in self.board.pending.values()
            if lane is not gpu.current and self._is_free(gpu, lane, now)
        ]
        ranked.sort(key=lambda one: one[0])
        return [lane for _, lane in ranked]

    def next_for(self, gpu: Gpu, now: float) -> list[Lane]:
        """Return the order for a worker without a current expert; may begin a new cycle."""
        order = self.order(gpu, now)
        if order and self.comes_first(order[0]):
            return order
        shared = self._to_share(gpu, now)
        if shared is not None and all(one.queue.tokens <= shared.queue.tokens for one in order):
            return [shared]
        if order:
            self.new_cycle()
        return self.order(gpu, now)

    def comes_first(self, lane: Lane) -> bool:
        """Whether a lane is to be visited before a new cycle begins."""
        return self.board.unvisited(lane) or self.overrides(lane)

    def overrides(self, lane: Lane) -> bool:
        """Whether a deadline is near, or work waited for too many cycles."""
        return lane.queue.critical or self.board.cycle - lane.since > PATIENCE

    def new_cycle(self) -> None:
        """Let every expert be visited again."""
        self.board.cycle += 1
        self.board.version += 1

    def goes_on(self, gpu: Gpu, lane: Lane, now: float) -> bool:
        """Whether a closed visit may take more asks: there are some, and nothing comes before."""
        if not lane.queue or lane.rests_until > now or lane.expert not in gpu.resident:
            return False
        if self.overrides(lane):
            return True
        order = self.order(gpu, now)
        if order and self.comes_first(order[0]):
            return False
        if order:
            self.new_cycle()
        return True

    def target(self, gpu: Gpu, now: float) -> tuple[Lane, float] | None:
        """Return what to load next beside the current expert, and the seconds of other work first.

        A resident expert is visited before one that must be loaded, in its cycle.
        """
        order = self.order(gpu, now)
        wanted = next((lane for lane in order if lane.expert not in gpu.resident), None)
        if wanted is None or wanted.loading:
            return None
        if self.overrides(wanted):
            return wanted, 0.0
        this_cycle = self.board.unvisited(wanted)
        before = [
            self.service(gpu, lane)
            for lane in order
            if lane.expert in gpu.resident and (not this_cycle or self.board.unvisited(lane))
        ]
        if not this_cycle and gpu.current is not None:
            before.append(self.service(gpu, gpu.current))
        return wanted, sum(before)

    def evictions(self, gpu: Gpu, lane: Lane) -> tuple[str, ...] | None:
        """Return what to evict so that there is room for `lane`, farthest visit first.

        None when there would be no room yet.
        """
        missing = gpu.size(lane.expert) - gpu.room()
        if missing <= ALMOST:
            return ()
        chosen: list[str] = []
        for expert in self._farthest(gpu, lane):
            chosen.append(expert)
            missing -= gpu.size(expert)
            if missing <= ALMOST:
                break
        if missing > ALMOST:
            return None
        for expert in tuple(reversed(chosen)):  # the nearest stay where the others are enough
            if missing + gpu.size(expert) <= ALMOST:
                chosen.remove(expert)
                missing += gpu.size(expert)
        return tuple(chosen)

    def service(self, gpu: Gpu, lane: Lane) -> float:
        """Return the seconds that what waits for a lane takes on a worker."""
        waiting = min(len(lane.queue), gpu.limits.get(lane.expert, 1))
        return lane.queue.tokens / self.pace.rate(lane.expert, waiting)

    def rest(self, gpu: Gpu, now: float) -> float:
        """Return the predicted rest of the current visit, in seconds."""
        lane = gpu.current
        if lane is None:
            return 0.0
        expert = lane.expert
        tokens = 0.0
        waiting = 0
        if not gpu.closed:
            tokens = lane.queue.tokens / max(lane.serving, 1)
            waiting = len(lane.queue)
        if gpu.running:
            made = (gpu.running * now - gpu.starts) / self.pace.step_s(expert, gpu.running)
            tokens += max(gpu.tokens - made, 0.0)
        at_once = min(gpu.running + waiting, gpu.limits.get(expert, 1))
        return tokens / self.pace.rate(expert, at_once)

    def margin(self, lane: Lane) -> float:
        """Return how long before its deadline an ask of a lane becomes critical, in seconds."""
        load = 0.0 if lane.homes else self.pace.load_s(lane.expert)
        waiting = max(len(lane.queue), 1)
        limits = [gpu.limits.get(lane.expert, 1) for gpu in self.board.gpus.values()]
        step = self.pace.step_s(lane.expert, min(waiting, max(limits, default=1)))
        return AHEAD * (load + step * lane.queue.tokens / waiting)

    def _rank(self, gpu: Gpu, lane: Lane) -> tuple[bool, bool, int, int, float, str]:
        here = 0 if lane.expert in gpu.resident or gpu.loading == lane.expert else 1
        return (
            *self._class(lane),
            lane.last,
            here,
            -lane.queue.tokens,
            lane.expert,
        )

    def _class(self, lane: Lane) -> tuple[bool, bool]:
        """Return what is less for a lane that goes before others, whatever their order."""
        return not self.overrides(lane), not self.board.unvisited(lane)

    def _is_free(self, gpu: Gpu, lane: Lane, now: float) -> bool:
        """Whether a lane may be visited here and nobody else serves it, or will sooner."""
        expert = lane.expert
        if expert not in gpu.limits or lane.rests_until > now:
            return False
        if lane.serving or lane.loading > (gpu.loading == expert):
            return False
        if expert in gpu.resident or gpu.loading == expert:
            return True
        load = self.pace.load_s(expert)
        return all(self.rest(self.board.gpus[home], now) > load for home in sorted(lane.homes))

    def _to_share(self, gpu: Gpu, now: float) -> Lane | None:
        """Return the expert of other workers with the most work, where another host pays."""
        best: Lane | None = None
        for lane in self.board.pending.values():
            hosts = lane.serving + lane.loading - (gpu.loading == lane.expert)
            if not self._replicate or not hosts or lane.expert not in gpu.limits:
                continue
            if lane.rests_until > now or (best and best.queue.tokens >= lane.queue.tokens):
                continue
            load = 0.0 if lane.expert in gpu.resident else self.pace.load_s(lane.expert)
            rate = self.pace.rate(lane.expert, gpu.limits[lane.expert])
            if lane.queue.tokens / (rate * hosts) > 2.0 * load + 1.0:
                best = lane
        return best

    def _farthest(self, gpu: Gpu, wanted: Lane) -> list[str]:
        """Return the experts that may be evicted for `wanted`, farthest next visit first."""
        board = self.board
        ranked: list[tuple[bool, bool, int, str]] = []
        for expert, last in gpu.resident.items():
            lane = board.lanes[expert]
            if lane is gpu.current:
                continue
            works = bool(lane.queue) or lane.held > 0
            if lane.queue and self._class(lane) <= self._class(wanted):
                continue
            ranked.append((not works, not board.unvisited(lane), last, expert))
        return [expert for _, _, _, expert in sorted(ranked, reverse=True)]
