"""What the tests of the planner share: asks, and a bench that answers a planner's actions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from orchestrator.fleets.fleet import (
    Action,
    Dispatch,
    Load,
    Loaded,
    Results,
    WorkerJoined,
    WorkerLost,
)
from orchestrator.planner.plan import AsksArrived, Planner, PlanSettings
from protocols.asks import Ask, Model, Sampling, Seat
from protocols.messages import Message, Part, Place
from protocols.replies import Reply, Usage


@dataclass(frozen=True, eq=False)
class Thing:
    """An item for the planner."""

    expert: str
    number: int = 0
    turn: int = 0
    role: str = "solver"
    team: object = None
    due: float | None = None
    passage: str = ""
    question: str = ""
    max_tokens: int | None = None

    @property
    def group(self) -> object:
        return self if self.team is None else self.team

    @property
    def ask(self) -> Ask:
        sampling = Sampling(max_tokens=self.max_tokens)
        seat = Seat(self.role, self.role, self.expert, Model("scripted/gpu"), sampling)
        passage = [Part("passage", self.passage)] if self.passage else []
        message = Message("user", (*passage, Part("task", str(self.number))))
        place = Place(self.turn, self.number)
        return Ask(seat, (message,), question=self.question, place=place)


def things(expert: str, count: int, **fields: object) -> list[Thing]:
    return [Thing(expert, number, **fields) for number in range(count)]  # type: ignore[arg-type]


def gpu(
    name: str = "gpu",
    memory: float = 1.0,
    limit: int = 4,
    experts: str = "abcd",
    sizes: dict[str, float] | None = None,
) -> WorkerJoined:
    """Return a GPU worker on which each expert takes 1 GB, unless `sizes` says otherwise."""
    return WorkerJoined(
        name,
        dict.fromkeys(experts, limit),
        memory,
        {expert: (sizes or {}).get(expert, 1.0) for expert in experts},
    )


@dataclass
class Bench:
    """Holds a planner to what a fleet takes, and answers when told to."""

    settings: PlanSettings = field(default_factory=PlanSettings)
    planner: Planner = field(init=False)
    now: float = 0.0
    wake_at: float | None = None
    running: dict[int, tuple[Dispatch, list[int]]] = field(default_factory=dict)
    loading: dict[str, str] = field(default_factory=dict)
    resident: dict[str, dict[str, float]] = field(default_factory=dict)
    joined: dict[str, WorkerJoined] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.planner = Planner(self.settings)

    def join(self, *events: WorkerJoined) -> Bench:
        for event in events:
            self.joined[event.worker] = event
            self.resident[event.worker] = {}
            self.planner.apply(event, self.now)
        return self

    def lose(self, worker: str) -> None:
        self.planner.apply(WorkerLost(worker, "killed"), self.now)
        self.running = {n: b for n, b in self.running.items() if b[0].worker != worker}
        self.loading.pop(worker, None)
        del self.resident[worker], self.joined[worker]

    def arrive(self, items: Sequence[Thing]) -> None:
        self.planner.apply(AsksArrived(items), self.now)

    def plan(self) -> list[str]:
        """Let the planner act; return what it did: ``load a-b gpu`` evicts b, ``run a*3 gpu``."""
        actions, self.wake_at = self.planner.plan(self.now)
        done = [self._perform(action) for action in actions]
        self.log += done
        return done

    def _perform(self, action: Action) -> str:
        worker = self.joined[action.worker]
        inside = self.resident[action.worker]
        if isinstance(action, Load):
            assert action.worker not in self.loading, "one load at a time"
            for expert in action.evict:
                assert not self._busy(action.worker, expert), "evicted while it runs"
                del inside[expert]
            assert action.expert not in inside, "loaded twice"
            size = worker.sizes_gb[action.expert]
            assert worker.memory_gb is not None
            assert sum(inside.values()) + size <= worker.memory_gb + 1e-9, "memory"
            self.loading[action.worker] = action.expert
            inside[action.expert] = size
            return "-".join(["load " + action.expert, *action.evict]) + f" {action.worker}"
        assert isinstance(action, Dispatch)
        if worker.memory_gb is not None:
            assert action.expert in inside, "asked and not resident"
            assert self.loading.get(action.worker) != action.expert, "asked while it loads"
        indices = list(range(len(action.asks)))
        self.running[action.batch] = (action, indices)
        busy = self._busy(action.worker, action.expert)
        assert busy <= worker.batch_limits[action.expert], "more than the batch limit"
        return f"run {action.expert}*{len(action.asks)} {action.worker}"

    def _busy(self, worker: str, expert: str) -> int:
        return sum(
            len(left)
            for batch, left in self.running.values()
            if (batch.worker, batch.expert) == (worker, expert)
        )

    def loaded(self, seconds: float = 1.0) -> list[str]:
        """End every load, then plan."""
        self.now += seconds
        for worker, expert in sorted(self.loading.items()):
            self.planner.apply(Loaded(worker, expert, seconds), self.now)
        self.loading = {}
        return self.plan()

    def finish(
        self, expert: str | None = None, count: int = 1_000, seconds: float = 1.0, tokens: int = 10
    ) -> list[str]:
        """Answer up to `count` asks of an expert (None: of any), then plan."""
        self.now += seconds
        for number, (batch, left) in sorted(self.running.items()):
            taken = left[:count] if expert in (None, batch.expert) else []
            if taken:
                count -= len(taken)
                del left[: len(taken)]
                reply = Reply("x", usage=Usage(completion_tokens=tokens))
                done = Results(number, tuple([(index, reply) for index in taken]))
                self.planner.apply(done, self.now)
            if not left:
                del self.running[number]
        return self.plan()

    def asked(self, batch: int) -> list[str]:
        """Return the tasks of the asks of a dispatch that runs."""
        return [ask.messages[0].parts[-1].text for ask in self.running[batch][0].asks]

    def dispatched(self) -> list[str]:
        """Return the tasks of all that runs, in the order of dispatch."""
        return [task for number in sorted(self.running) for task in self.asked(number)]

    def loads(self) -> list[str]:
        """Return the experts that were loaded, in order."""
        return [line.split()[1].split("-")[0] for line in self.log if line.startswith("load")]

    def until_done(self, steps: int = 1_000) -> None:
        """Answer everything until nothing waits or runs."""
        self.plan()
        for _ in range(steps):
            if not (self.loading or self.running):
                break
            if self.loading:
                self.loaded()
            else:
                self.finish()
        assert self.planner.waiting == self.planner.in_flight == 0


def texts(asks: Iterable[Ask]) -> list[str]:
    return [ask.messages[0].parts[-1].text for ask in asks]
