"""What came of a simulation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.simulator.machines import Times, Visit


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a simulation; times in simulated seconds but for `policy_cpu_s`."""

    makespan_s: float
    sessions: int
    asks: int
    tokens: int
    loads: Mapping[str, int]
    """By expert."""
    times: Mapping[str, Times]
    """By GPU worker."""
    visits: tuple[Visit, ...]
    session_s: tuple[float, ...]
    """How long each session took, in order of length."""
    throttled: int
    """Requests that a hosted expert turned away."""
    plans: int
    """How often the policy was asked."""
    operations: int
    """Asks that arrived, were dispatched and were answered: what a policy does its work for."""
    policy_cpu_s: float
    """Processor seconds of the policy itself."""

    @property
    def calls(self) -> Counter[str]:
        """Asks that GPUs served, by expert."""
        counts: Counter[str] = Counter()
        for visit in self.visits:
            counts[visit.expert] += visit.asks
        return counts

    @property
    def load_count(self) -> int:
        """All loads."""
        return sum(self.loads.values())

    @property
    def hit_rate(self) -> float | None:
        """The share of visits that found their expert resident; None without visits."""
        if not self.visits:
            return None
        return sum(not visit.loaded for visit in self.visits) / len(self.visits)

    @property
    def queue_per_visit(self) -> float | None:
        """The median number of asks that a visit served; None without visits."""
        counts = sorted(visit.asks for visit in self.visits)
        return _quantile(counts, 0.5) if counts else None

    def share(self, what: str) -> float | None:
        """Return the share of all workers' time that was ``busy``, ``loading`` or ``idle``."""
        whole = sum(t.busy + t.loading + t.idle for t in self.times.values())
        return sum(getattr(t, what) for t in self.times.values()) / whole if whole else None

    @property
    def planner_share(self) -> float:
        """The policy's processor seconds over the seconds that the run took."""
        return self.policy_cpu_s / self.makespan_s if self.makespan_s else 0.0

    def session_quantile(self, share: float) -> float:
        """Return the time within which `share` of the sessions were over."""
        return _quantile(self.session_s, share) if self.session_s else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return {
            "makespan_s": round(self.makespan_s, 3),
            "sessions": self.sessions,
            "asks": self.asks,
            "tokens": self.tokens,
            "loads": self.load_count,
            "loads_by_expert": dict(sorted(self.loads.items())),
            "visits": len(self.visits),
            "hit_rate": _rounded(self.hit_rate),
            "queue_per_visit": _rounded(self.queue_per_visit),
            "gpu_busy_share": _rounded(self.share("busy")),
            "gpu_loading_share": _rounded(self.share("loading")),
            "gpu_idle_share": _rounded(self.share("idle")),
            "session_p50_s": round(self.session_quantile(0.5), 3),
            "session_p95_s": round(self.session_quantile(0.95), 3),
            "throttled": self.throttled,
            "planner_cpu_s": round(self.policy_cpu_s, 4),
            "planner_share": round(self.planner_share, 6),
            "planner_us_per_operation": round(self.policy_cpu_s / max(self.operations, 1) * 1e6, 3),
        }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of the values do not exceed."""
    return ordered[min(max(-int(-share * len(ordered) // 1) - 1, 0), len(ordered) - 1)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
