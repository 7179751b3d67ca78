"""B8: what a message costs on Ray actors, by the number of asks in a call, beside LocalFleet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from agents.engines import identify
from agents.roster import Expert
from benchmarks import workload
from benchmarks.measuring import Figure, Result, Spent, clocks, fresh
from benchmarks.ray_here import cluster
from orchestrator.driver import Driver
from orchestrator.fleets.fleet import Dispatch, Fleet, Inbox, Results, WorkerJoined
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.fleets.ray_fleet import RayFleet
from orchestrator.journal import MemoryJournal
from orchestrator.live import Job
from orchestrator.tuning import quiet_garbage_collector
from protocols.asks import Ask, Seat
from protocols.messages import Message, Part, Place

SIZES = (1, 16, 64, 256)
PROMPT_CHARACTERS = 2_000
IN_FLIGHT = 1_024
"""Asks that a fleet holds at once, in calls of whatever size."""

SPEAKER = Expert(label="speaker", model="scripted/script", options={"replies": [workload.SPEECH]})


def asks(count: int) -> list[Ask]:
    """Return asks that share no text, so that each call carries all of its prompts."""
    seat = Seat("speaker", "speaker", SPEAKER.label, identify(SPEAKER))
    prompts = (f"{i:08d} {workload.PASSAGE}"[:PROMPT_CHARACTERS] for i in range(count))
    made = (Ask(seat, (Message("user", (Part("question", text),)),)) for text in prompts)
    return [ask.numbered(Place(0, i), {}) for i, ask in enumerate(made)]


async def through(fleet: Fleet, sizes: dict[int, int]) -> dict[int, Spent]:
    """Send so many asks in calls of each size; return what each took."""
    inbox = Inbox()
    await fleet.start([SPEAKER], inbox)
    try:
        while not (joined := [e for e in inbox.take() if isinstance(e, WorkerJoined)]):
            await inbox.wait()
        worker = joined[0].worker
        await _send(fleet, inbox, worker, asks(2 * max(sizes)), max(sizes))  # imports, connections
        spent = {}
        for size, count in sizes.items():
            asked = asks(count)
            with quiet_garbage_collector(), clocks() as spent[size]:
                await _send(fleet, inbox, worker, asked, size)
        return spent
    finally:
        await fleet.close()


async def _send(fleet: Fleet, inbox: Inbox, worker: str, asked: list[Ask], size: int) -> None:
    """Keep IN_FLIGHT asks in calls of `size` until all are answered."""
    sent = answered = 0
    while answered < len(asked):
        while sent < len(asked) and sent - answered <= IN_FLIGHT - size:
            batch = tuple(asked[sent : sent + size])
            fleet.perform(Dispatch(sent, worker, SPEAKER.label, batch))
            sent += len(batch)
        await inbox.wait()
        for event in inbox.take():
            assert isinstance(event, Results)
            answered += len(event.items)


async def debates(fleet: Fleet, sessions: int) -> Spent:
    """Run the debates of B1 on a fleet, with nothing stored."""
    seated = workload.experts()
    cast = workload.cast_of(*seated)
    asked = workload.questions(sessions)
    jobs = [Job(i, workload.DEBATE, question, cast) for i, question in enumerate(asked)]
    driver = Driver(fleet, MemoryJournal(keep=False), seated)
    with clocks() as spent:
        ended = await driver.run(jobs, total=sessions)
    assert ended.progress.asks_done == sessions * workload.ASKS
    return spent


def measured(sizes: dict[str, int], sessions: int) -> dict[str, dict[str, float]]:
    """Return microseconds a message by fleet: by the size of calls, and for whole debates."""
    counts = {int(size): count for size, count in sizes.items()}  # JSON has no other keys
    found: dict[str, dict[str, float]] = {}
    with cluster():
        for name in ("local", "ray"):

            def make(name: str = name) -> Fleet:
                return LocalFleet() if name == "local" else RayFleet(workers=1)

            spent = asyncio.run(through(make(), counts))
            costs = {str(size): spent[size].wall / counts[size] * 1e6 for size in counts}
            asyncio.run(debates(make(), workload.WARM_UP))
            whole = asyncio.run(debates(make(), sessions))
            costs["debates"] = whole.wall / (sessions * workload.ASKS) * 1e6
            found[name] = costs
    return found


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sizes = (
        {1: 64, 16: 256, 64: 512, 256: 512}
        if quick
        else {1: 2_000} | dict.fromkeys(SIZES[1:], 20_000)
    )
    sessions = 20 if quick else 2_000
    arguments = {str(size): count for size, count in sizes.items()}
    found = [
        fresh("benchmarks.b8:measured", sizes=arguments, sessions=sessions) for _ in range(runs)
    ]
    figures: list[Figure] = []
    for key in (*arguments, "debates"):
        words = "debates, driver included" if key == "debates" else f"{key} asks a call"
        target = 100.0 if key == "64" else None
        ray = [run["ray"][key] for run in found]
        local = [run["local"][key] for run in found]
        figures += [
            Figure(f"RayFleet, {words}", "us a message", ray, target),
            Figure(f"LocalFleet, {words}", "us a message", local),
            Figure(
                f"RayFleet : LocalFleet, {words}",
                "",
                [one / other for one, other in zip(ray, local, strict=True)],
            ),
        ]
    yield Result(
        "b8",
        f"one Ray worker on this machine; prompts of {PROMPT_CHARACTERS:,} characters that differ, "
        f"replies of {len(workload.SPEECH)}, {IN_FLIGHT:,} asks in flight, no latency",
        "no store",
        figures,
        [
            "the driver's own process and the worker share this machine's cores",
            "debates: those of B1, in calls as the planner makes them",
        ],
    )
