"""RayFleet keeps the contract of fleets, survives its workers, and says what is wrong."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.machine import build
from agents.ray_worker import NotStarted, RayWorker, Ready, ready
from agents.roster import Expert
from orchestrator.fleets.fleet import Fleet, Inbox, WorkerJoined, WorkerLost
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.fleets.ray_fleet import RayFleet
from protocols.errors import Mistake
from protocols.messages import Place
from protocols.replies import Failure, Reply, Usage
from tests.orchestrator.fleet_contract import (
    ECHO,
    FAILING,
    HOSTILE,
    SLOW,
    VOTER,
    FleetContract,
    ask_to_say,
    asks_of,
    running,
)
from tests.ray_cluster import Cluster, free_port

ROOT = Path(__file__).resolve().parents[2]

DRIVER = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = [{root!r}]
import agents
from agents.roster import Expert
from orchestrator.fleets import ray_environment
from orchestrator.fleets.fleet import Dispatch, Inbox
from orchestrator.fleets.ray_fleet import RayFleet
from protocols.asks import Ask, Model, Seat
from protocols.errors import Mistake
from protocols.messages import Message, Part

async def main():
    inbox = Inbox()
    fleet = RayFleet({address!r})
    seat = Seat("s", "s", "echo", Model("scripted/echo"))
    ask = Ask(seat, (Message("user", (Part("q", "hi"),)),))
    try:
        await fleet.start([Expert(label="echo", model="scripted/echo")], inbox)
        for event in inbox.take():
            fleet.perform(Dispatch(1, event.worker, "echo", (ask,)))
            break
        await inbox.wait(60)
        print(inbox.take()[0].items[0][1].text)
    finally:
        await fleet.close()

ray_environment.PATIENCE_S = {patience}
try:
    asyncio.run(main())
except Mistake as mistake:
    print("Mistake:", mistake)
"""


def drive(folder: Path, address: str | None, patience: float = 25.0, *, before: str = "") -> str:
    """Run a driver in a process of its own, in `folder`; return what it printed.

    Args:
        folder: where it runs.
        address: of the cluster.
        patience: how long it waits for the cluster, in seconds.
        before: what it does first.
    """
    script = folder / "driver.py"
    body = DRIVER.format(root=str(ROOT), address=address, patience=patience)
    script.write_text(f"{before}\n{body}")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["HOME"] = str(folder)  # a new cluster writes its token there
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_foreign(folder: Path) -> Path:
    """Put packages that are not moot's into a folder."""
    for room in ("agents", "protocols"):
        (folder / room).mkdir()
        (folder / room / "__init__.py").write_text("raise ImportError('foreign')\n")
    return folder


async def process_of(fleet: RayFleet, worker: str) -> int:
    """Return the process id of a worker."""
    assert fleet._keepers is not None
    call: Any = fleet._keepers.actors[worker].__ray_call__
    pid: int = await call.remote(lambda self: os.getpid())
    return pid


async def folder_of(fleet: RayFleet, worker: str) -> str:
    """Return the working directory of a worker."""
    assert fleet._keepers is not None
    call: Any = fleet._keepers.actors[worker].__ray_call__
    folder: str = await call.remote(lambda self: os.getcwd())
    return folder


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
class TestRayFleet(FleetContract):
    def make(self) -> Fleet:
        return RayFleet()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
async def test_both_fleets_give_the_same_replies() -> None:
    digests = []
    for fleet in (LocalFleet(), RayFleet()):
        async with running(fleet, VOTER, ECHO, FAILING) as rig:
            said = await rig.answers(1, VOTER, asks_of(VOTER, 200))
            said += await rig.answers(2, ECHO, [ask_to_say(text) for text in HOSTILE])
            said += await rig.answers(3, FAILING, asks_of(FAILING, 20))
        digests.append([r.digest for r in said if isinstance(r, Reply)])
    assert len(digests[0]) == 220 + len(HOSTILE)
    assert digests[0] == digests[1]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
async def test_several_workers_share_the_work() -> None:
    fleet = RayFleet(workers=2)
    async with running(fleet, VOTER) as rig:
        assert sorted(event.worker for event in rig.joined) == ["ray-0", "ray-1"]
        pids = [await process_of(fleet, name) for name in ("ray-0", "ray-1")]
        assert len({*pids, os.getpid()}) == 3


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
async def test_a_worker_stands_in_no_folder_that_ray_deletes() -> None:
    here = os.getcwd()
    RayWorker([VOTER])
    assert os.getcwd() == here
    fleet = RayFleet(workers=1)
    async with running(fleet, VOTER) as rig:
        assert await folder_of(fleet, rig.worker) == Path(here).anchor


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
async def test_who_replaces_a_worker_may_not_start_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[Any] = []

    async def meet(actor: Any, *settings: Any) -> Ready:
        met.append(actor)
        if len(met) == 2:
            raise NotStarted("its node has died")
        return await ready(actor, *settings)

    monkeypatch.setattr("orchestrator.fleets.ray_places.ready", meet)
    fleet = RayFleet(workers=1)
    async with running(fleet, VOTER) as rig:
        os.kill(await process_of(fleet, rig.worker), signal.SIGKILL)
        await rig.until(lambda: len(rig.joined) == 2)
        lost = [event for event in rig.events if isinstance(event, WorkerLost)]
        assert [(event.worker, event.replaced) for event in lost] == [("ray-0", True)]
        assert len(met) == 3


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
async def test_a_worker_that_is_killed_is_replaced_until_it_dies_too_often() -> None:
    fleet = RayFleet(workers=1)
    async with running(fleet, SLOW, VOTER) as rig:

        def lost() -> list[WorkerLost]:
            return [event for event in rig.events if isinstance(event, WorkerLost)]

        while not lost() or lost()[-1].replaced:
            deaths = len(lost())
            await rig.until(lambda: len(rig.joined) == len(lost()) + 1)
            rig.send(10 + deaths, SLOW, asks_of(SLOW, 10))
            served = await rig.answers(20 + deaths, VOTER, asks_of(VOTER, 10))
            assert not any(r.failed for r in served if isinstance(r, Reply))
            os.kill(await process_of(fleet, rig.worker), signal.SIGKILL)
            await rig.until(lambda: rig.worker in {event.worker for event in lost()})
            assert rig.results(10 + deaths) == {}
        assert [event.replaced for event in lost()] == [True, True, False]
        assert [event.worker for event in lost()] == [event.worker for event in rig.joined]
        assert not any("\n" in event.message for event in lost())
        rig.send(99, VOTER, asks_of(VOTER, 1))  # to a lost worker: dropped


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
async def test_a_cluster_without_room_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.fleets.ray_cluster.API_CPUS", 64)
    fleet = RayFleet(workers=1, patience_s=1.0)
    with pytest.raises(Mistake, match="no room for a worker"):
        await fleet.start([VOTER], Inbox())
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.ray
def test_a_driver_joins_from_a_folder_with_foreign_packages(
    ray_cluster: Cluster, tmp_path: Path
) -> None:
    assert drive(make_foreign(tmp_path), ray_cluster.address) == "hi\n"


@pytest.mark.ray
def test_a_driver_starts_a_cluster_in_a_folder_with_foreign_packages(tmp_path: Path) -> None:
    assert drive(make_foreign(tmp_path), "local") == "hi\n"


@pytest.mark.ray
def test_nobody_at_the_address_is_a_mistake(tmp_path: Path) -> None:
    said = drive(tmp_path, f"127.0.0.1:{free_port()}")
    assert said.startswith("Mistake: no Ray cluster answers at 127.0.0.1:")
    assert said.count("\n") == 1


@pytest.mark.ray
def test_somebody_else_at_the_address_is_a_mistake(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = drive(tmp_path, f"127.0.0.1:{server.getsockname()[1]}", patience=2.0)
    assert said.startswith("Mistake: the Ray cluster at 127.0.0.1:")
    assert said.count("\n") == 1


@pytest.mark.ray
@pytest.mark.parametrize(
    ("here", "said"),
    [
        ("ray.__version__ = '9.9.9'", "this process Ray 9.9.9 on Python 3."),
        (
            "ray._private.utils.compute_version_info = lambda: (ray.__version__, '3.99.0')",
            "on Python 3.99.0; use the same versions here and there",
        ),
    ],
    ids=["ray", "python"],
)
def test_other_versions_than_the_clusters_are_a_mistake(
    ray_cluster: Cluster, tmp_path: Path, here: str, said: str
) -> None:
    told = drive(tmp_path, ray_cluster.address, before=f"import ray; {here}")
    assert told.startswith(f"Mistake: the cluster at {ray_cluster.address} runs Ray 2.")
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
async def test_another_moot_on_the_nodes_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.fleets.ray_environment.is_installed", lambda home: True)
    monkeypatch.setattr("orchestrator.fleets.ray_cluster.build", lambda: "9.9+0")
    with pytest.raises(Mistake, match=r"^node .* has moot .*, this process moot 9\.9\+0; install"):
        await RayFleet().start([VOTER], Inbox())


@pytest.mark.ray
async def test_no_cluster_where_one_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(address: str) -> str:
        raise ConnectionError("Could not find any\nrunning Ray instance.")

    monkeypatch.setattr("ray._private.services.canonicalize_bootstrap_address", nothing)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(Mistake, match=r"any running Ray instance\.; start one"):
        await RayFleet("auto").start([VOTER], Inbox())


async def test_fleets_that_cannot_be_are_mistakes() -> None:
    large = Expert(label="large", model="openai/large", gpu_gb=40.0)
    with pytest.raises(Mistake, match="large: experts with gpu_gb are not shared"):
        await RayFleet(shared="run", share=(0, 2)).start([large], Inbox())
    with pytest.raises(Mistake, match="at least one worker"):
        RayFleet(workers=0)
    with pytest.raises(Mistake, match="driver 2 of 2 is none"):
        RayFleet(share=(2, 2))


async def test_the_actor_class_works_without_ray() -> None:
    worker = RayWorker([VOTER])
    answer = await worker.ready(build())
    assert answer == Ready({"voter": 4096}, node=answer.node)
    with pytest.raises(Mistake, match=r"has moot .*, this process moot 9\.9\+0; install"):
        await worker.ready("9.9+0")
    await worker.load("voter")
    items = [item async for results in worker.run("voter", asks_of(VOTER, 3)) for item in results]
    assert sorted(index for index, _ in items) == [0, 1, 2]
    await worker.unload("voter")
    watch = asyncio.create_task(worker.watch())
    await asyncio.wait([watch], timeout=0)
    assert not watch.done()
    watch.cancel()
    await worker.close()


def test_asks_and_replies_cross_process_borders() -> None:
    for ask in asks_of(VOTER, 3):
        keyless = pickle.loads(pickle.dumps(ask))
        assert keyless == ask
        assert keyless.key == ask.key
        assert pickle.loads(pickle.dumps(ask)).key == ask.key
        assert keyless.messages[1].parts[0].digest == ask.messages[1].parts[0].digest
    reply = Reply(
        "t\ud800", Failure("timeout", "m"), (0.5, 0.5), "exact", Usage(1, 2), place=Place(1, 2)
    )
    again = pickle.loads(pickle.dumps(reply))
    assert again == reply
    assert again.place == Place(1, 2)
    event = WorkerJoined("w", {"a": 1})
    assert pickle.loads(pickle.dumps(event)) == event
