"""The cycle-wave rule, clause by clause."""

from __future__ import annotations

import pytest

from orchestrator.fleets.fleet import WorkerJoined
from orchestrator.planner.plan import ExpertThrottled, PlanSettings
from tests.orchestrator.plan_examples import Bench, Thing, gpu, texts, things


def test_nothing_is_asked_before_its_expert_is_loaded() -> None:
    bench = Bench().join(gpu())
    bench.arrive(things("a", 2))
    assert bench.plan() == ["load a gpu"]
    assert bench.plan() == []
    assert bench.loaded() == ["run a*2 gpu"]
    assert bench.planner.resident() == {"gpu": ("a",)}
    assert bench.planner.loads == {"a": 1}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        pytest.param(
            [Thing("a", 0, max_tokens=5), Thing("a", 1, max_tokens=50), Thing("a", 2)],
            "210",
            id="longest predicted reply first",
        ),
        pytest.param(
            [
                Thing("a", 0, passage="p", max_tokens=9),
                Thing("a", 1, passage="q", max_tokens=50),
                Thing("a", 2, passage="p", max_tokens=80),
            ],
            "201",
            id="those that share a passage together, the group of the longest first",
        ),
        pytest.param(
            [Thing("a", n, question="xyx"[n]) for n in range(3)],
            "021",
            id="without a passage, those of one question together",
        ),
        pytest.param(
            [Thing("a", 0), Thing("a", 1), Thing("a", 2, due=5.0, max_tokens=1)],
            "201",
            id="a near deadline first",
        ),
        pytest.param(
            [Thing("a", 0), Thing("a", 1), Thing("a", 2, due=1e6)],
            "012",
            id="a far deadline changes nothing",
        ),
    ],
)
def test_admission_order(items: list[Thing], expected: str) -> None:
    bench = Bench().join(gpu())
    together = [Thing("b", 7, team=item.group) for item in items]  # so that none is the last
    bench.arrive([*items, *together, *things("a", 0)])
    bench.plan()
    while bench.planner.resident()["gpu"] != ("a",) or not bench.running:
        bench.loaded() if bench.loading else bench.finish()
    assert "".join(bench.dispatched()) == expected


def test_the_last_missing_ask_of_a_turn_is_raised() -> None:
    bench = Bench().join(gpu("one", limit=1, experts="a"), gpu("two", limit=1, experts="b"))
    first = [Thing("a", n, team=n, max_tokens=90 - n) for n in range(4)]
    short = [Thing("b", n, team=n, max_tokens=5) for n in range(3)]
    bench.arrive([*first, Thing("b", 3, team=3), *short])
    bench.plan()
    bench.loaded()
    assert sorted(bench.dispatched()) == ["0", "3"]
    bench.finish("b", 1)  # now the ask of session 3 to a is its last
    bench.finish("a", 1)
    running = [b for b, _ in bench.running.values() if b.expert == "a"]
    assert texts(running[0].asks) == ["3"]


def test_a_visit_is_closed_when_its_queue_is_empty_and_its_batch_thin() -> None:
    bench = Bench().join(gpu())
    bench.arrive([*things("a", 6), *things("b", 1)])
    assert bench.plan() == ["load a gpu"]
    assert bench.loaded() == ["run a*4 gpu"]
    bench.arrive(things("a", 1))  # the queue is not empty yet: it may come along
    assert bench.finish(count=3) == ["run a*3 gpu"]
    assert bench.finish(count=2) == []
    bench.arrive(things("a", 1))  # two of four still run
    assert bench.plan() == ["run a*1 gpu"]
    assert bench.finish(count=2) == []
    bench.arrive(things("a", 2))
    assert bench.plan() == [], "later asks wait for the next cycle"
    assert bench.finish() == ["load b-a gpu"]
    assert bench.loaded() == ["run b*1 gpu"]
    assert bench.finish() == ["load a-b gpu"]
    assert bench.loaded() == ["run a*2 gpu"]


def test_a_closed_visit_goes_on_when_nothing_else_is_pending() -> None:
    bench = Bench().join(gpu())
    bench.arrive(things("a", 2))
    bench.plan()
    bench.loaded()
    bench.arrive(things("a", 2))
    assert bench.plan() == ["run a*2 gpu"]


def test_next_is_the_least_recently_visited_with_the_most_work() -> None:
    bench = Bench().join(gpu())
    bench.arrive([*things("a", 1), *things("b", 3), *things("c", 2)])
    bench.plan()
    bench.loaded()  # b
    bench.finish()
    bench.arrive([*things("d", 4), *things("b", 4)])
    bench.until_done()
    assert bench.loads() == ["b", "c", "a", "d", "b"], "d came last, however much it is"


def test_a_new_cycle_begins_with_what_is_resident() -> None:
    """Loads over R stages of E experts: E·R - C·(R-1), here 3·3 - 2."""
    bench = Bench(PlanSettings(mode="wave")).join(gpu())
    for turn in range(3):
        bench.arrive([Thing(e, n, turn, team=(turn, n)) for n in range(3) for e in "abc"])
    bench.until_done()
    assert len(bench.loads()) == 7
    assert bench.loads()[:3] == ["a", "b", "c"]


def test_prefetch_waits_until_the_rest_of_the_visit_is_short() -> None:
    bench = Bench(PlanSettings(load_s=1.0, tokens=100.0)).join(gpu(memory=2.0, limit=10))
    bench.arrive([*things("a", 100), *things("b", 50)])
    bench.plan()
    assert bench.loaded() == ["run a*10 gpu"], "100 asks of 100 tokens at 100 a second each: 10 s"
    assert bench.wake_at is not None
    assert bench.wake_at == pytest.approx(bench.now + 10.0 - 1.2, abs=0.6)
    while not bench.loading:
        assert bench.now < 20.0
        bench.finish(seconds=0.98, count=10, tokens=98)
    assert 7.0 <= bench.now - 1.0 <= 10.0
    assert bench.log[-1] == "load b gpu" or "load b gpu" in bench.log[-2:]
    while any(line.startswith("run b") for line in bench.log) is False:
        bench.loaded() if bench.loading else bench.finish(seconds=0.98, count=10, tokens=98)
    assert len(bench.loads()) == 2


def test_no_prefetch_where_it_is_turned_off() -> None:
    bench = Bench(PlanSettings(prefetch=False, tokens=10.0)).join(gpu(memory=2.0))
    bench.arrive([*things("a", 4), *things("b", 4)])
    bench.plan()
    assert bench.loaded() == ["run a*4 gpu"]
    assert bench.finish() == ["load b gpu"]


def test_prefetch_happens_beside_what_runs() -> None:
    bench = Bench(PlanSettings(tokens=10.0)).join(gpu(memory=2.0))
    bench.arrive([*things("a", 4), *things("b", 3), *things("c", 2)])
    bench.plan()
    assert bench.loaded() == ["run a*4 gpu", "load b gpu"]
    assert bench.loaded() == [], "a still runs"
    assert bench.finish() == ["run b*3 gpu", "load c-a gpu"]


def test_evicted_is_the_farthest_visit_and_never_what_runs() -> None:
    bench = Bench().join(gpu(memory=3.0))
    bench.arrive([*things("a", 4), *things("b", 3), *things("c", 2), *things("d", 1)])
    bench.until_done()
    assert bench.log[-2:] == ["load d-c gpu", "run d*1 gpu"], "c was visited last"


@pytest.mark.parametrize(
    ("sizes", "evicted"),
    [
        pytest.param({"d": 1.0}, "load d-c", id="one is enough"),
        pytest.param({"d": 2.0}, "load d-c-b", id="two are needed"),
        pytest.param(
            {"a": 2.0, "b": 0.5, "c": 0.5, "d": 2.0}, "load d-a", id="spare the small one"
        ),
    ],
)
def test_slots_are_memory(sizes: dict[str, float], evicted: str) -> None:
    bench = Bench().join(gpu(memory=3.0, sizes=sizes))
    bench.arrive([*things("a", 4), *things("b", 3), *things("c", 2), *things("d", 1)])
    bench.until_done()
    assert [line for line in bench.log if line.startswith("load d")] == [f"{evicted} gpu"]


def test_two_workers_never_serve_one_expert_for_little_work() -> None:
    bench = Bench().join(gpu("one"), gpu("two"))
    bench.arrive([*things("a", 4), *things("b", 3)])
    assert bench.plan() == ["load a one", "load b two"]
    bench.loaded()
    bench.arrive(things("a", 2))
    bench.finish("b")
    assert bench.planner.resident() == {"one": ("a",), "two": ("b",)}


def test_much_work_is_shared_when_nothing_else_waits() -> None:
    settings = PlanSettings(load_s=1.0, tokens=100.0)
    bench = Bench(settings).join(gpu("one"), gpu("two"))
    bench.arrive(things("a", 4))
    assert bench.plan() == ["load a one"]
    alone = Bench(settings).join(gpu("one"), gpu("two"))
    alone.arrive(things("a", 40))
    assert alone.plan() == ["load a one", "load a two"], "10 s of work, a load takes 1 s"
    never = Bench(PlanSettings(load_s=1.0, tokens=100.0, replicate=False))
    never.join(gpu("one"), gpu("two")).arrive(things("a", 40))
    assert never.plan() == ["load a one"]


def test_a_near_deadline_is_next() -> None:
    bench = Bench(PlanSettings(load_s=1.0)).join(gpu())
    bench.arrive([*things("a", 4), *things("b", 3), *things("c", 1, due=20.0)])
    bench.plan()
    bench.loaded()
    assert bench.loads() == ["a"]
    assert bench.wake_at is not None
    assert bench.wake_at < 20.0
    assert bench.finish(seconds=13.5) == ["load c-a gpu"], "though b has more work"


def test_work_that_waited_for_more_than_three_cycles_is_next() -> None:
    for waited, first in ((3, "a"), (4, "b")):
        bench = Bench().join(gpu())
        bench.arrive([*things("c", 1), *things("a", 1), *things("b", 1)])
        board = bench.planner._gpus.board
        board.cycle = 9
        for expert in "abc":
            board.lanes[expert].since = 9
        board.lanes["b"].visited = 9
        board.lanes["b"].since = 9 - waited
        assert bench.plan() == [f"load {first} gpu"]


def test_wave_mode_holds_the_next_turn() -> None:
    bench = Bench(PlanSettings(mode="wave")).join(gpu())
    bench.arrive([Thing("a", n, 0, team=n) for n in range(4)])
    bench.arrive([Thing("b", n, 0, team=n) for n in range(4)])
    bench.plan()
    bench.loaded()
    bench.arrive([Thing("a", 9, 1)])
    assert bench.planner.waiting == 5
    assert bench.planner.queue_lengths() == {"a": 1, "b": 4}
    bench.finish()
    assert bench.loaded() == ["run b*4 gpu"]
    assert bench.finish() == ["load a-b gpu"]
    assert bench.loaded() == ["run a*1 gpu"]


def test_new_sessions_wait_for_the_next_sweep_of_waves() -> None:
    bench = Bench(PlanSettings(mode="wave")).join(gpu())
    bench.arrive([Thing("a", 0, 0)])
    bench.until_done()
    bench.arrive([Thing("a", n, 1) for n in range(6)])
    bench.plan()
    bench.arrive([Thing("b", 1, 0), Thing("a", 8, 2)])
    bench.finish()
    bench.until_done()
    assert bench.loads() == ["a", "b"], "turn 2 of a came before turn 0 of the new session"


def test_hosted_experts_go_out_at_once_beside_gpus() -> None:
    bench = Bench().join(gpu(experts="ab"), WorkerJoined("api", {"x": 2, "b": 2}))
    bench.arrive([*things("a", 1), *things("x", 3), *things("b", 1)])
    assert sorted(bench.plan()) == ["load a gpu", "run b*1 api", "run x*2 api"]
    bench.planner.apply(ExpertThrottled("x", 5.0), 0.0)
    assert bench.finish("x") == []
    assert bench.wake_at == 5.0
    bench.now = 5.0
    assert bench.plan() == ["run x*1 api"]


def test_a_throttled_expert_on_a_gpu_rests() -> None:
    bench = Bench().join(gpu())
    bench.planner.apply(ExpertThrottled("a", 5.0), 0.0)
    bench.arrive([*things("a", 2), *things("b", 1)])
    assert bench.plan() == ["load b gpu"]
    bench.loaded()
    assert bench.finish() == []
    assert bench.wake_at == 5.0
    bench.now = 5.0
    assert bench.plan() == ["load a-b gpu"]


def test_two_near_deadlines_do_not_wait_for_each_other() -> None:
    bench = Bench(PlanSettings(tokens=10.0)).join(gpu())
    bench.arrive([*things("b", 2), *things("a", 1)])
    bench.until_done()
    bench.arrive([*things("b", 1, due=bench.now), *things("a", 1, due=bench.now)])
    assert bench.plan() == ["run a*1 gpu"], "b was visited before a, but would have to be loaded"
    assert bench.finish() == ["load b-a gpu"]
    bench.until_done()


def test_a_visit_that_goes_on_stays_open_for_the_sessions_it_serves() -> None:
    bench = Bench().join(gpu(limit=16))
    bench.arrive(things("a", 4))
    bench.plan()
    bench.loaded()
    bench.arrive(things("a", 1))
    assert bench.finish(count=1) == ["run a*1 gpu"], "nothing else is pending"
    bench.arrive(things("b", 1))
    bench.arrive(things("a", 1))
    assert bench.finish(count=1) == ["run a*1 gpu"], "two of the first four still run"
    assert bench.finish(count=2) == []
    bench.arrive(things("a", 1))
    assert bench.plan() == [], "now it is closed: b is pending"
    assert bench.finish() == ["load b-a gpu"]


def test_in_a_wave_a_visit_stays_open_while_the_wave_before_runs() -> None:
    bench = Bench(PlanSettings(mode="wave")).join(gpu("one", limit=16), gpu("two", limit=2))
    bench.arrive([*things("a", 4), *things("b", 2)])
    assert bench.plan() == ["load a one", "load b two"]
    bench.loaded()
    bench.arrive(things("a", 1, turn=1))
    assert bench.finish("a") == ["run a*1 one"], "the second wave; b still runs in the first"
    bench.arrive([*things("c", 1, turn=1), *things("a", 1, turn=1)])
    assert "run a*1 one" in bench.plan()


def test_what_waits_on_one_worker_is_not_loaded_on_another_for_less_than_a_load() -> None:
    settings = PlanSettings(load_s=1.0, tokens=10.0, replicate=False)
    for rest, expected in ((1.0, []), (1_000.0, ["load b two"])):
        bench = Bench(settings).join(gpu("one", memory=2.0))
        bench.arrive([*things("b", 1), *things("a", 1)])
        bench.until_done()
        bench.planner._gpus.lengths.prior = rest
        bench.arrive([Thing("a", n, role="speaker") for n in range(4)])
        bench.join(gpu("two", experts="b"))
        bench.plan()
        bench.arrive(things("b", 1))
        assert [line for line in bench.plan() if line.startswith("load b")] == expected


def test_a_visit_waits_for_what_replies_of_the_last_wave_lead_to() -> None:
    def last_wave_ends(*, settled: bool) -> Bench:
        bench = Bench(PlanSettings(mode="wave")).join(gpu("one", limit=16), gpu("two", limit=2))
        bench.arrive([*things("a", 4), *things("b", 2)])
        bench.plan()
        bench.loaded()
        bench.arrive(things("a", 1, turn=1))
        bench.finish("a")
        bench.arrive(things("c", 1, turn=1))
        bench.planner.settle(settled)
        bench.finish("a")
        bench.finish("b")
        bench.arrive(things("a", 1, turn=1))
        return bench

    assert last_wave_ends(settled=True).plan() == ["load a-b two"]
    patient = last_wave_ends(settled=False)
    assert patient.plan() == [], "the replies of b may lead to asks of b"
    assert patient.wake_at is not None, "but not for ever"
    patient.planner.settle(True)
    assert patient.plan() == ["load a-b two"]
