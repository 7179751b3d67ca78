"""GPU workers that fail, vanish or are too small: nothing is lost and nothing waits for ever."""

from __future__ import annotations

from orchestrator.fleets.fleet import LoadFailed, WorkerJoined, WorkerLost
from orchestrator.planner.plan import AsksArrived, Cancelled
from tests.orchestrator.plan_examples import Bench, gpu, things


def test_a_lost_worker_gives_back_to_the_front() -> None:
    bench = Bench().join(gpu("one"))
    bench.arrive(things("a", 6, team="t"))
    bench.plan()
    bench.loaded()
    first = bench.dispatched()
    bench.finish(count=1)
    bench.lose("one")
    assert bench.planner.in_flight == 0
    assert bench.planner.resident() == {}
    assert bench.plan() == []
    bench.join(gpu("two"))
    assert bench.plan() == ["load a two"]
    bench.loaded()
    assert bench.dispatched()[:3] == first[1:]
    bench.until_done()


def test_a_worker_lost_while_it_loads_leaves_nothing_behind() -> None:
    bench = Bench().join(gpu("one"))
    bench.arrive(things("a", 1))
    bench.plan()
    assert bench.planner.loading() == {"one": "a"}
    bench.lose("one")
    assert bench.planner.loading() == {}
    bench.join(gpu("two"))
    assert bench.plan() == ["load a two"]
    bench.until_done()
    assert bench.planner.loads == {"a": 2}
    assert bench.planner.loading() == {}


def test_a_failed_load_takes_the_expert_off_that_worker_only() -> None:
    bench = Bench().join(gpu("one"), gpu("two"))
    bench.arrive(things("a", 1))
    bench.plan()
    bench.loading.clear()
    del bench.resident["one"]["a"]
    bench.planner.apply(LoadFailed("one", "a", "out of memory"), 1.0)
    assert not bench.planner.unservable("a")
    assert bench.planner.stranded() == []
    assert bench.plan() == ["load a two"]
    bench.loading.clear()
    bench.planner.apply(LoadFailed("two", "a", "out of memory"), 2.0)
    assert bench.planner.unservable("a")
    assert bench.planner.stranded() == [("a", "out of memory")]
    assert len(bench.planner.drain("a")) == 1
    assert bench.planner.stranded() == []
    assert bench.planner.waiting == 0


def test_nobody_is_given_up_while_a_worker_is_about_to_come() -> None:
    bench = Bench().join(gpu("one"), gpu("two"))
    bench.arrive(things("a", 1))
    bench.plan()
    bench.planner.apply(WorkerLost("two", "killed", replaced=True), 1.0)
    bench.planner.apply(LoadFailed("one", "a", "out of memory"), 1.0)
    assert bench.planner.stranded() == []
    bench.planner.apply(gpu("three"), 2.0)
    assert bench.planner.stranded() == []
    assert not bench.planner.unservable("a")


def test_an_expert_larger_than_every_worker_is_stranded() -> None:
    bench = Bench().join(gpu(memory=2.0, sizes={"a": 3.0}))
    bench.arrive([*things("a", 1), *things("b", 1)])
    assert bench.planner.unservable("a")
    ((expert, message),) = bench.planner.stranded()
    assert expert == "a"
    assert message == "a needs 3 GB, and no GPU worker has more than 2 GB for it"
    bench.planner.drain("a")
    bench.until_done()
    bench.join(gpu("large", memory=4.0, sizes={"a": 3.0}))
    assert not bench.planner.unservable("a")


def test_an_expert_of_unknown_size_takes_all_memory() -> None:
    planner_bench = Bench().join(WorkerJoined("gpu", {"a": 4, "b": 4}, 2.0, {"b": 1.0}))
    planner_bench.joined["gpu"].sizes_gb["a"] = 2.0
    planner_bench.arrive([*things("b", 1), *things("a", 1)])
    planner_bench.until_done()
    assert len(planner_bench.loads()) == 2


def test_an_expert_moves_when_an_api_worker_joins_or_goes() -> None:
    bench = Bench().join(gpu(experts="a"))
    bench.arrive(things("a", 6))
    bench.plan()
    bench.loaded()
    bench.join(WorkerJoined("api", {"a": 1}))
    assert bench.plan() == ["run a*1 api"]
    bench.lose("api")
    assert bench.planner.waiting == 2
    assert bench.finish() == ["run a*2 gpu"]
    bench.until_done()


def test_after_cancelling_nothing_is_loaded() -> None:
    bench = Bench().join(gpu())
    bench.arrive(things("a", 1))
    bench.planner.apply(Cancelled(), 0.0)
    assert bench.plan() == []
    assert bench.planner.waiting == 1


def test_asks_that_were_there_before_the_first_gpu_are_loaded_for() -> None:
    bench = Bench()
    bench.planner.apply(AsksArrived(things("a", 2)), 0.0)
    assert bench.plan() == []
    bench.join(gpu())
    assert bench.plan() == ["load a gpu"]
    bench.until_done()


def test_asks_that_waited_while_nobody_hosted_them_go_to_whoever_comes() -> None:
    bench = Bench().join(gpu(experts="a"))
    bench.arrive(things("a", 6))
    bench.plan()
    bench.loaded()
    bench.plan()
    bench.lose("gpu")
    assert bench.plan() == []
    assert bench.planner.waiting == 6
    bench.join(WorkerJoined("api", {"a": 8}))
    assert bench.plan() == ["run a*6 api"]
    bench.until_done()
