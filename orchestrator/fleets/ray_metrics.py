"""Meters on a Ray cluster: what its Prometheus endpoints show of a run, by expert.

Ray exports what a process of the cluster records, under names that begin with ``ray_``. Counters
are told what was added since the reading before, gauges what is so now; at the end gauges are set
to 0, as Prometheus would go on to show their last value. In a process that has joined no cluster
nothing is recorded, and Ray is not even imported.
"""

from __future__ import annotations

import sys
from typing import Any

from orchestrator.metrics import ExpertMeters, Reading, Sink

_LOAD_BOUNDARIES_S = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]

_COUNTERS = {
    "batches": ("moot_batches", "batches dispatched"),
    "asks": ("moot_asks", "asks dispatched"),
    "loads": ("moot_loads", "loads of an expert"),
    "loads_failed": ("moot_loads_failed", "loads that failed"),
    "replies": ("moot_replies", "attempts that came back"),
    "throttled": ("moot_throttled", "attempts that were turned away by a limit"),
    "failures": ("moot_failures", "attempts that failed"),
    "prompt_tokens": ("moot_prompt_tokens", "prompt tokens"),
    "completion_tokens": ("moot_completion_tokens", "completion tokens"),
    "spend": ("moot_spend_dollars", "US dollars spent, as far as prices are known"),
}


class RaySink(Sink):
    """Tells Ray's metrics, once this process has joined a cluster.

    Args:
        run: the run's name.
        driver: which of the run's drivers this is.
    """

    def __init__(self, run: str, driver: str = "") -> None:
        self._tags = {"run": run, "driver": driver}
        self._metrics: _Metrics | None = None

    def take(self, reading: Reading) -> None:
        """Record what is new in a reading."""
        if self._metrics is None and _joined():
            self._metrics = _Metrics(self._tags)
        if self._metrics is not None:
            self._metrics.take(reading)

    def close(self) -> None:
        """Set every gauge to 0."""
        if self._metrics is not None and _joined():
            self._metrics.clear()


def _joined() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


class _Metrics:
    """The metrics themselves; they exist only in a process of a cluster."""

    def __init__(self, common: dict[str, str]) -> None:
        from ray.util.metrics import Counter, Gauge, Histogram

        def tagged(metric: Any) -> Any:
            return metric.set_default_tags(common)

        keys = (*common, "expert")
        self._counters = {
            field: tagged(Counter(name, words, tag_keys=keys))
            for field, (name, words) in _COUNTERS.items()
        }
        self._queue = tagged(Gauge("moot_queue_length", "asks that wait", tag_keys=keys))
        self._batch = tagged(
            Gauge("moot_batch_size", "mean size of the latest batches", tag_keys=keys)
        )
        self._load = tagged(
            Histogram("moot_load_seconds", "time of a load", _LOAD_BOUNDARIES_S, tag_keys=keys)
        )
        self._flight = tagged(Gauge("moot_in_flight", "asks that run", tag_keys=tuple(common)))
        self._resident = tagged(
            Gauge("moot_resident", "1 where an expert is loaded", tag_keys=(*keys, "worker"))
        )
        self._told: dict[str, ExpertMeters] = {}
        self._shown: set[tuple[str, str]] = set()
        """(worker, expert) whose gauge of residence is 1."""

    def take(self, reading: Reading) -> None:
        """Record what is new."""
        self._flight.set(reading.in_flight)
        for label, meters in reading.experts.items():
            told = self._told.get(label)
            if meters != told:
                self._tell(label, meters, told or ExpertMeters())
        for label, seconds in reading.load_times:
            self._load.observe(seconds, tags={"expert": label})
        self._told = reading.experts
        self._show({(w, label) for w, labels in reading.resident.items() for label in labels})

    def clear(self) -> None:
        """Set every gauge to 0."""
        self._flight.set(0)
        for label in self._told:
            self._queue.set(0, tags={"expert": label})
            self._batch.set(0, tags={"expert": label})
        self._show(set())

    def _tell(self, label: str, meters: ExpertMeters, told: ExpertMeters) -> None:
        """Record one expert's meters, which have changed."""
        tags = {"expert": label}
        self._queue.set(meters.queue, tags=tags)
        batches = meters.batches - told.batches
        if batches:
            self._batch.set((meters.asks - told.asks) / batches, tags=tags)
        for field, counter in self._counters.items():
            added = getattr(meters, field) - getattr(told, field)
            if added > 0:
                counter.inc(added, tags=tags)

    def _show(self, resident: set[tuple[str, str]]) -> None:
        """Set the gauges of what is resident now, and of what no longer is."""
        for value, places in ((0, self._shown - resident), (1, resident - self._shown)):
            for worker, label in places:
                self._resident.set(value, tags={"expert": label, "worker": worker})
        self._shown = resident
