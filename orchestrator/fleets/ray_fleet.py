"""RayFleet: the engines live in Ray actors; API workers and GPU workers (``planner/placement.py``).

Ray itself restarts no actor and re-executes no batch: a worker that is lost is replaced
(``ray_places.py``), and what was not recorded is the driver's to send again. A batch is one
streaming call; its replies come back in lists as they finish.

Several drivers of one run may share their API workers: these are then detached actors with a name
(``agents/ray_worker.py`` ends those that nobody attends), each driver takes its share of every
batch limit, and none ends a worker. GPU workers are never shared: a planner decides alone what is
resident.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from agents.ray_worker import cause
from agents.roster import Expert
from orchestrator.fleets import ray_cluster as cluster
from orchestrator.fleets import ray_environment as environment
from orchestrator.fleets.delivery import Delivery, in_one_line
from orchestrator.fleets.fleet import (
    Action,
    Dispatch,
    Fleet,
    Inbox,
    Load,
    Loaded,
    LoadFailed,
    Unload,
)
from orchestrator.fleets.ray_places import Keepers
from orchestrator.fleets.ray_wishes import Wishes
from protocols.errors import Mistake


class RayFleet(Fleet):
    """Runs batches on Ray actors.

    Args:
        address: ``HOST:PORT`` of a cluster, ``auto`` for the one that runs on this machine,
            ``local`` for a new one in this process's care. None takes RAY_ADDRESS, else a cluster
            that runs on this machine, else a new one.
        workers: how many API workers; None is one on each node that has CPUs.
        gpus: the most GPUs to take; None is all that the experts have a use for.
        gpu_gb: the memory of each GPU that experts may take; None is measured on the nodes.
        patience_s: how long the cluster may take to answer and to offer what the experts ask for
            (an autoscaler may start nodes meanwhile), both together.
        shared: the name under which several drivers share the API workers; None shares nothing.
        share: (which driver this is, counted from 0; how many there are).
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        *,
        gpus: int | None = None,
        gpu_gb: float | None = None,
        patience_s: float | None = None,
        shared: str | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if workers is not None and workers < 1:
            raise Mistake(f"a Ray fleet needs at least one worker, not {workers}")
        if not 0 <= share[0] < share[1]:
            raise Mistake(f"driver {share[0]} of {share[1]} is none; count drivers from 0")
        self._address = address
        self._wishes = Wishes(
            workers=workers,
            gpus=gpus,
            gpu_gb=gpu_gb,
            patience_s=environment.PATIENCE_S if patience_s is None else patience_s,
            shared=shared,
            share=share,
        )
        self._inbox = Inbox()
        self._keepers: Keepers | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected = False
        self._closing = False

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        """Connect, make the workers, and return when all joined, or some did in good time.

        Raises:
            Mistake: no cluster answers, it has no room for a worker, its workers do not import
                this moot, or an expert cannot be served there.
        """
        shipped = [_shipped(expert) for expert in experts]
        self._inbox, self._closing = inbox, False
        if self._wishes.shared is not None:
            _refuse_gpus(shipped)
        deadline = time.monotonic() + self._wishes.patience_s
        try:
            await self._connect()
            self._keepers = Keepers(
                self._wishes, shipped, inbox, self._begin, connected=self._connected
            )
            await self._keepers.open(deadline)
        except BaseException:
            await self.close()
            raise

    def perform(self, action: Action) -> None:
        """Begin an action in a task of its own; see :meth:`Fleet.perform`.

        An action for a worker that is lost is dropped: its WorkerLost is in the inbox.
        """
        keepers = self._keepers
        actor = keepers.actors.get(action.worker) if keepers else None
        if keepers is None or actor is None:
            return
        match action:
            case Dispatch():
                self._begin(self._run(keepers, actor, action))
            case Load() | Unload():
                self._begin(self._change(keepers, actor, action))

    async def close(self) -> None:
        """Stop all workers, but shared ones, and leave the cluster; see :meth:`Fleet.close`."""
        self._closing = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        keepers, self._keepers = self._keepers, None
        if keepers is not None:
            await keepers.close()
        if self._connected:
            self._connected = False
            await asyncio.to_thread(cluster.disconnect)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _connect(self) -> None:
        """Join or start a cluster, unless this process is in one already."""
        import ray

        if ray.is_initialized():
            return
        target = await asyncio.to_thread(cluster.locate, self._address)
        if target is None:
            cluster.start()
        else:
            await asyncio.to_thread(cluster.join, target, self._wishes.patience_s)
        self._connected = True

    async def _run(self, keepers: Keepers, actor: Any, dispatch: Dispatch) -> None:
        from ray.exceptions import RayActorError

        delivery = Delivery(dispatch, self._inbox)
        try:
            stream = actor.run.options(num_returns="streaming").remote(
                dispatch.expert, dispatch.asks
            )
            async for reference in stream:
                delivery.put(await reference)
            delivery.close("the worker ended without a reply")
        except RayActorError:
            keepers.lose(dispatch.worker)
        except asyncio.CancelledError:
            if self._closing:
                raise
            delivery.close("the worker's stream was cancelled")
        except Exception as error:  # noqa: BLE001 - no ask may wait for ever
            delivery.close(in_one_line(cause(error)))

    async def _change(self, keepers: Keepers, actor: Any, action: Load | Unload) -> None:
        """Load or unload an expert."""
        from ray.exceptions import RayActorError

        try:
            if isinstance(action, Load):
                seconds = await actor.load.remote(action.expert, action.evict)
                self._inbox.put(Loaded(action.worker, action.expert, seconds))
            else:
                await actor.unload.remote(action.expert)
        except RayActorError:
            keepers.lose(action.worker)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is an event
            message = in_one_line(cause(error))
            self._inbox.put(LoadFailed(action.worker, action.expert, message))


def _refuse_gpus(experts: Sequence[Expert]) -> None:
    """Raise where an expert needs a GPU worker, which drivers cannot share."""
    for expert in experts:
        if expert.gpu_gb is not None:
            raise Mistake(
                f"{expert.label or expert.model}: experts with gpu_gb are not shared by several "
                "drivers; use one driver, or serve the model and give its base_url"
            )


def _shipped(expert: Expert) -> Expert:
    """Return the expert as it goes to a worker, whose working directory is another."""
    if expert.data is None:
        return expert
    return expert.model_copy(update={"data": str(Path(expert.data).absolute())})
