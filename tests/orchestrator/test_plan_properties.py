"""Whatever happens in whatever order: the planner loses nothing and asks nothing impossible."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleets.fleet import LoadFailed, WorkerJoined
from orchestrator.planner.plan import ExpertThrottled, PlanSettings
from tests.orchestrator.plan_examples import Bench, Thing, gpu

SETTINGS = st.builds(
    PlanSettings,
    max_batch=st.integers(1, 5),
    mode=st.sampled_from(["cycle", "wave"]),
    prefetch=st.booleans(),
    replicate=st.booleans(),
    load_s=st.sampled_from([0.01, 10.0]),
)
WORKERS = st.lists(
    st.tuples(
        st.sampled_from([1.0, 2.0, 3.5]),
        st.integers(1, 4),
        st.sampled_from(["abcd", "abcd", "abx"]),
        st.sampled_from([{}, {"a": 2.0, "b": 0.5}, {"c": 9.0}]),
    ),
    min_size=1,
    max_size=3,
)
SESSIONS = st.lists(
    st.lists(st.text("abcdx", min_size=1, max_size=3), min_size=1, max_size=3),
    min_size=1,
    max_size=8,
)
"""By session and turn: the experts that are asked."""
CHANCES = st.lists(st.integers(0, 99), min_size=1, max_size=60)


@dataclass
class Play:
    """Sessions that ask turn by turn, on a bench that does what chance says."""

    bench: Bench
    sessions: list[list[str]]
    at: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    answered: Counter[Thing] = field(default_factory=Counter)

    def start(self) -> None:
        self.at = [-1] * len(self.sessions)
        self.missing = [0] * len(self.sessions)
        for number in range(len(self.sessions)):
            self.next_turn(number)

    def next_turn(self, number: int) -> None:
        self.at[number] += 1
        if self.at[number] == len(self.sessions[number]):
            return
        experts = self.sessions[number][self.at[number]]
        due = 5.0 * number if number % 3 == 0 else None
        asks = [
            Thing(e, slot, self.at[number], team=(number, self.at[number]), due=due)
            for slot, e in enumerate(experts)
        ]
        self.missing[number] = len(asks)
        self.bench.arrive(asks)


def act(bench: Bench, play: Play, chance: int) -> None:
    """Let one thing happen."""
    kind = chance % 8
    if kind == 0 and bench.loading:
        worker, expert = sorted(bench.loading.items())[0]
        del bench.loading[worker], bench.resident[worker][expert]
        bench.planner.apply(LoadFailed(worker, expert, "broken"), bench.now)
    elif kind == 1 and len(bench.joined) > 1:
        worker = sorted(bench.joined)[chance % len(bench.joined)]
        old = bench.joined[worker]
        bench.lose(worker)
        again = WorkerJoined(f"{worker}+", old.batch_limits, old.memory_gb, old.sizes_gb)
        bench.join(again)
    elif kind == 2:
        bench.planner.apply(ExpertThrottled("abcdx"[chance % 5], bench.now + 3.0), bench.now)
    elif kind in (3, 4) and bench.loading:
        bench.loaded(0.5)
    else:
        play_answers(bench, play, chance % 5 + 1)
    bench.plan()


def play_answers(bench: Bench, play: Play, count: int) -> None:
    """Answer up to `count` asks, then go on with the sessions whose turn is complete."""
    complete = []
    left_over = count
    for number, (_, left) in sorted(bench.running.items()):
        for index in left[:left_over]:
            item = bench.planner.item(number, index)
            assert isinstance(item, Thing)
            assert isinstance(item.team, tuple)
            play.answered[item] += 1
            session = item.team[0]
            play.missing[session] -= 1
            if play.missing[session] == 0:
                complete.append(session)
        left_over -= min(left_over, len(left))
    bench.finish(count=count, tokens=count * 50)
    for session in complete:
        play.next_turn(session)


def check(bench: Bench) -> None:
    """Check what must hold at any time."""
    planner = bench.planner
    running = [item for _, left in bench.running.values() for item in left]
    assert planner.in_flight == len(running)
    items = [
        planner.item(number, index) for number, (_, left) in bench.running.items() for index in left
    ]
    assert len(set(map(id, items))) == len(items), "no ask runs twice"
    for worker, inside in planner.resident().items():
        loading = bench.loading.get(worker)
        assert set(inside) == set(bench.resident[worker]) - {loading}


def let_end(bench: Bench, play: Play) -> None:
    """Let everything be answered; experts that nobody hosts are given up."""
    for _ in range(500):
        bench.now += 4.0
        bench.plan()
        check(bench)
        for expert, _ in bench.planner.stranded():
            give_up(bench, play, expert)
        bench.plan()
        if bench.loading:
            bench.loaded()
        elif bench.running:
            play_answers(bench, play, 100)
        elif not bench.planner.waiting:
            return
        elif bench.wake_at is None:
            lengths = bench.planner.queue_lengths()
            waiting = [expert for expert, length in sorted(lengths.items()) if length]
            assert all(bench.planner.unservable(expert) for expert in waiting), waiting
            for expert in waiting:
                give_up(bench, play, expert)
    raise AssertionError("it never ends")


def give_up(bench: Bench, play: Play, expert: str) -> None:
    for item in bench.planner.drain(expert):
        assert isinstance(item, Thing)
        assert isinstance(item.team, tuple)
        play.answered[item] += 1
        play.missing[item.team[0]] -= 1
        if play.missing[item.team[0]] == 0:
            play.next_turn(item.team[0])


def a_bench(
    settings: PlanSettings, workers: list[tuple[float, int, str, dict[str, float]]]
) -> Bench:
    bench = Bench(settings)
    for number, (memory, limit, experts, sizes) in enumerate(workers):
        known = {expert: size for expert, size in sizes.items() if expert in experts}
        bench.join(gpu(f"gpu_{number}", memory, limit, experts, known))
    return bench


@given(settings=SETTINGS, workers=WORKERS, sessions=SESSIONS, chances=CHANCES, hosted=st.booleans())
def test_every_ask_is_served_once_whatever_happens(
    settings: PlanSettings,
    workers: list[tuple[float, int, str, dict[str, float]]],
    sessions: list[list[str]],
    chances: list[int],
    hosted: bool,
) -> None:
    bench = a_bench(settings, workers)
    if hosted:
        bench.join(WorkerJoined("api", {"x": 2, "a": 1}))
    play = Play(bench, sessions)
    play.start()
    bench.plan()
    for chance in chances:
        act(bench, play, chance)
        check(bench)
    let_end(bench, play)
    assert play.at == [len(turns) for turns in sessions]
    asked = sum(len(turn) for turns in sessions for turn in turns)
    assert len(play.answered) == asked
    assert set(play.answered.values()) <= {1}
    assert bench.planner.waiting == bench.planner.in_flight == 0


@given(settings=SETTINGS, workers=WORKERS, sessions=SESSIONS, chances=CHANCES)
def test_equal_events_give_equal_actions(
    settings: PlanSettings,
    workers: list[tuple[float, int, str, dict[str, float]]],
    sessions: list[list[str]],
    chances: list[int],
) -> None:
    logs = []
    for _ in range(2):
        bench = a_bench(settings, workers)
        play = Play(bench, sessions)
        play.start()
        bench.plan()
        for chance in chances:
            act(bench, play, chance)
        let_end(bench, play)
        logs.append(bench.log)
    assert logs[0] == logs[1]
