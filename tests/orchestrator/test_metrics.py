"""Meters: they count what happened, about once a second, and stop nothing."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from agents.roster import Expert
from benchmarks.rehearsal import Rehearsal
from orchestrator.driver import Driver
from orchestrator.fleets.fleet import Loaded, LoadFailed, Results, WorkerJoined, WorkerLost
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.fleets.ray_metrics import RaySink
from orchestrator.journal import MemoryJournal
from orchestrator.metrics import MemorySink, Meters, Reading, Sink
from protocols.errors import Mistake
from protocols.replies import Reply, Usage, failed


@dataclass
class Seen:
    """What a planner would show."""

    in_flight: int = 0
    queues: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def queue_lengths(self) -> Mapping[str, int]:
        return self.queues

    def resident(self) -> Mapping[str, tuple[str, ...]]:
        return self.loaded


class Broken(Sink):
    """A sink that raises."""

    def __init__(self) -> None:
        self.calls = 0

    def take(self, reading: Reading) -> None:
        self.calls += 1
        raise OSError("no\nroom")


def last(sink: MemorySink) -> Reading:
    assert sink.last is not None
    return sink.last


def some_work(meters: Meters) -> None:
    meters.on_dispatch("a", 10)
    meters.on_dispatch("a", 30)
    meters.on_dispatch("b", 1)
    for _ in range(3):
        meters.on_reply("a", Reply("x", usage=Usage(100, 20)), 0.25)
    meters.on_reply("a", failed("provider", "slow down", cause="throttled"), None)
    meters.on_reply("a", failed("timeout", "nothing came"), None)
    meters.on_event(Loaded("gpu-0", "a", 2.0))
    meters.on_event(Loaded("gpu-1", "a", 3.0))
    meters.on_event(LoadFailed("gpu-0", "b", "no memory"))
    meters.on_event(WorkerLost("gpu-1", "gone"))
    meters.on_event(WorkerJoined("gpu-2", {}))
    meters.on_event(Results(1, ()))


def test_everything_is_counted_by_expert() -> None:
    sink = MemorySink()
    meters = Meters([sink])
    some_work(meters)
    planner = Seen(41, {"a": 7, "c": 5}, {"gpu-0": ("a",)})
    meters.flush(planner, 100.0)
    reading = last(sink)
    a, b, c = reading.experts.values()
    assert list(reading.experts) == ["a", "b", "c"]
    assert (a.batches, a.asks, a.largest_batch, a.queue) == (2, 40, 30, 7)
    assert (a.replies, a.throttled, a.failures) == (5, 1, 1)
    assert (a.prompt_tokens, a.completion_tokens, a.spend) == (300, 60, 0.75)
    assert (a.loads, a.load_s, b.loads_failed, b.loads) == (2, 5.0, 1, 0)
    assert (c.queue, c.asks) == (5, 0)
    assert (reading.in_flight, reading.workers_lost, reading.loads) == (41, 1, 2)
    assert reading.resident == {"gpu-0": ("a",)}
    assert reading.load_times == (("a", 2.0), ("a", 3.0))


def test_a_reading_does_not_change_after_it_was_taken() -> None:
    sink, planner = MemorySink(), Seen(queues={"a": 1})
    meters = Meters([sink])
    meters.flush(planner, 0.0)
    before = last(sink)
    planner.queues["a"] = 9
    some_work(meters)
    meters.flush(planner, 5.0)
    assert (before.experts["a"].queue, before.experts["a"].asks) == (1, 0)
    assert (last(sink).experts["a"].queue, last(sink).elapsed_s) == (9, 5.0)
    planner.queues.clear()
    meters.flush(planner, 10.0)
    assert last(sink).experts["a"].queue == 0
    assert last(sink).load_times == ()


def test_readings_are_a_second_apart_and_the_last_one_always_comes() -> None:
    sink, planner = MemorySink(), Seen()
    meters = Meters([sink])
    for now in (10.0, 10.5, 10.99, 11.0, 11.5, 12.1, 12.2):
        meters.flush(planner, now)
    meters.close(planner, 12.3)
    meters.flush(planner, 99.0)
    assert [reading.at for reading in sink.readings] == [10.0, 11.0, 12.1, 12.3]


def test_old_readings_go() -> None:
    sink = MemorySink(keep=2)
    meters = Meters([sink])
    for now in range(5):
        meters.flush(Seen(), float(now))
    assert [reading.at for reading in sink.readings] == [3.0, 4.0]
    assert MemorySink().last is None


def test_a_sink_that_fails_is_put_away_and_the_others_go_on() -> None:
    broken, sink = Broken(), MemorySink()
    meters = Meters([broken, sink])
    for now in range(3):
        meters.flush(Seen(), float(now))
    assert broken.calls == 1
    assert len(sink.readings) == 3
    assert meters.broken == ["Broken: no room"]


def test_a_reading_is_json() -> None:
    sink = MemorySink()
    meters = Meters([sink])
    some_work(meters)
    meters.flush(Seen(3, {"c": 1}, {"gpu-0": ("a", "c")}), 100.0)
    found = json.loads(json.dumps(last(sink).as_json()))
    assert found["resident"] == {"gpu-0": ["a", "c"]}
    assert found["experts"]["a"]["completion_tokens"] == 60
    assert found["elapsed_s"] == 0.0


def test_without_sinks_nothing_is_read() -> None:
    class Unread(Seen):
        def queue_lengths(self) -> Mapping[str, int]:
            raise AssertionError("read")

    Meters().flush(Unread(), 0.0)


class Recorded:
    """Stands where Ray keeps a metric's values: all that was recorded, by name and tags."""

    values: ClassVar[dict[tuple[str, ...], list[float]]] = {}

    def __init__(self, name: str, *_: Any, tag_keys: tuple[str, ...] = (), **__: Any) -> None:
        self.name, self.tag_keys = name, tag_keys
        self.defaults: dict[str, str] = {}

    def set_default_tags(self, tags: dict[str, str]) -> Recorded:
        self.defaults = tags
        return self

    def record(self, value: float, tags: dict[str, str] | None = None) -> None:
        tags = {**self.defaults, **(tags or {})}
        assert set(tags) == set(self.tag_keys)
        key = (self.name, *(tags[name] for name in self.tag_keys[2:]))
        Recorded.values.setdefault(key, []).append(value)

    set = inc = observe = record


def test_ray_is_told_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorded, "values", {})
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(f"ray.util.metrics.{kind}", Recorded)
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    meters = Meters([RaySink("run", "shard-1")])
    planner = Seen(4, {"a": 7}, {"gpu-0": ("a",)})
    some_work(meters)
    meters.flush(planner, 0.0)
    meters.on_dispatch("a", 60)
    planner.queues, planner.loaded = {"b": 2}, {"gpu-0": ("b",)}
    meters.flush(planner, 1.0)
    meters.close(planner, 1.5)
    found = Recorded.values
    assert meters.broken == []
    assert found["moot_asks", "a"] == [40, 60]
    assert found["moot_loads", "a"] == [2]
    assert ("moot_loads", "b") not in found
    assert found["moot_spend_dollars", "a"] == [0.75]
    assert found["moot_queue_length", "a"] == [7, 0, 0]
    assert found["moot_queue_length", "b"][-2:] == [2, 0]
    assert found["moot_batch_size", "a"] == [20.0, 60.0, 0]
    assert found["moot_load_seconds", "a"] == [2.0, 3.0]
    assert found["moot_resident", "a", "gpu-0"] == [1, 0]
    assert found["moot_resident", "b", "gpu-0"] == [1, 0]
    assert found["moot_in_flight",] == [4, 4, 4, 0]


def test_without_a_cluster_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.util.metrics.Gauge", None)  # making one would raise
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    meters = Meters([RaySink("run")])
    for ray in (True, False):
        if not ray:
            monkeypatch.delitem(sys.modules, "ray")
        some_work(meters)
        meters.flush(Seen(1), float(ray))
    meters.close(Seen(), 9.0)
    assert meters.broken == []


async def test_a_driver_feeds_the_meters() -> None:
    sink = MemorySink()
    rehearsal = Rehearsal(2, 6, load_s=0.01, tokens=2.0)
    fleet = LocalFleet(gpus=1, gpu_gb=rehearsal.gpu_gb)
    experts = rehearsal.roster()
    meters = Meters([sink, Broken()], every_s=0.0)
    driver = Driver(fleet, MemoryJournal(), experts, price=lambda e, u: 0.5, meters=meters)
    ended = await driver.run(rehearsal.jobs(), total=6)
    found = last(sink)
    asks = ended.progress.asks_done
    assert sum(one.asks for one in found.experts.values()) == asks == 18
    assert sum(one.replies for one in found.experts.values()) == asks
    assert sum(one.spend for one in found.experts.values()) == asks * 0.5
    assert sum(one.completion_tokens for one in found.experts.values()) >= asks
    assert found.loads == sum(driver.planner.loads.values()) >= 2
    assert all(one.load_s >= 0.01 for one in found.experts.values())
    assert (found.in_flight, [one.queue for one in found.experts.values()]) == (0, [0, 0])
    assert max(reading.in_flight for reading in sink.readings) > 0
    assert any(reading.resident == {"gpu-0": ("e0",)} for reading in sink.readings)
    assert meters.broken == ["Broken: no room"]


async def test_a_driver_that_fails_gives_a_last_reading() -> None:
    sink = MemorySink()
    expert = Expert(label="x", model="scripted/echo", options={"nonsense": 1})
    driver = Driver(LocalFleet(), MemoryJournal(), [expert], meters=Meters([sink]))
    with pytest.raises(Mistake):
        await driver.run([], total=0)
    assert last(sink).in_flight == 0


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_shows_the_meters() -> None:
    import ray

    meters = Meters([RaySink("shown")])
    some_work(meters)
    meters.flush(Seen(4, {"a": 7}, {"gpu-0": ("a",)}), 0.0)
    assert meters.broken == []
    (node,) = ray.nodes()
    url = f"http://127.0.0.1:{node['MetricsExportPort']}/metrics"
    wanted = ("ray_moot_queue_length{", "ray_moot_completion_tokens_total{", "ray_moot_resident{")
    text = ""
    while not all(name in text for name in wanted):
        time.sleep(0.5)  # Ray exports every ten seconds; asking more often slows it down
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
    lines = [line for line in text.splitlines() if line.startswith(wanted[0])]
    (line,) = [line for line in lines if 'expert="a"' in line and 'run="shown"' in line]
    assert float(line.split()[-1]) == 7.0
