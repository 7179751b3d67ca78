"""LocalFleet: the engines live in this process.

Experts that need GPUs live in one worker for each GPU (for several, where an expert spreads over
them), called ``gpu-0``, ``gpu-1``...: these serve what the planner had loaded. All others live in
one worker called ``local``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agents.engine import Engine
from agents.engines import make_engine
from agents.roster import Expert
from agents.worker import Worker
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
    WorkerJoined,
)
from orchestrator.fleets.local_gpus import local_workers
from protocols.errors import Mistake

WORKER = "local"
"""The name of the worker that needs no GPU."""


class LocalFleet(Fleet):
    """Runs batches on workers in this process.

    Args:
        factory: makes the engines.
        gpus: how many GPUs to use; None is all of this machine.
        gpu_gb: the memory of each that experts may take, in gigabytes; None is all of it. With both
            told nothing is asked, and simulated experts run on GPUs that are not there.
    """

    def __init__(
        self,
        factory: Callable[[Expert], Engine] = make_engine,
        *,
        gpus: int | None = None,
        gpu_gb: float | None = None,
    ) -> None:
        if gpus is not None and gpus < 1:
            raise Mistake(f"a local fleet's gpus must be at least 1, not {gpus}")
        if gpu_gb is not None and gpu_gb <= 0.0:
            raise Mistake(f"a local fleet's gpu_gb must be more than 0, not {gpu_gb:g}")
        self._factory = factory
        self._gpus = gpus
        self._gpu_gb = gpu_gb
        self._workers: dict[str, Worker] = {}
        self._inbox = Inbox()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        """Make the workers; nothing is loaded yet.

        Raises:
            Mistake: an expert's engine cannot be made, or there is no GPU for it.
        """
        workers = await self._make(experts)
        joins = [
            WorkerJoined(name, worker.batch_limits(), worker.memory_gb, worker.sizes_gb())
            for name, worker in workers.items()
        ]
        self._workers, self._inbox, self._closing = workers, inbox, False
        for joined in joins:
            inbox.put(joined)

    def perform(self, action: Action) -> None:
        """Begin an action in a task of its own; see :meth:`Fleet.perform`.

        Raises:
            RuntimeError: the fleet was not started, or is closed.
        """
        if not self._workers:
            raise RuntimeError("the fleet is not running; call start() first")
        worker = self._workers[action.worker]
        coroutine = (
            self._run(worker, action)
            if isinstance(action, Dispatch)
            else self._change(worker, action)
        )
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop what runs and loads, and unload every engine; see :meth:`Fleet.close`.

        Raises:
            Exception: what an engine raised when it was unloaded.
        """
        self._closing = True
        workers, self._workers = self._workers, {}
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closing = (worker.close() for worker in workers.values())
        for end in await asyncio.gather(*closing, return_exceptions=True):
            if end is not None:
                raise end

    async def _make(self, experts: Sequence[Expert]) -> dict[str, Worker]:
        """Return the workers by name: the one without a GPU first."""
        needy = [expert for expert in experts if expert.gpu_gb is not None]
        others = [expert for expert in experts if expert.gpu_gb is None]
        if not needy:
            return {WORKER: Worker(others, self._factory)}
        workers = {WORKER: Worker(others, self._factory)} if others else {}
        places = await asyncio.to_thread(local_workers, needy, self._gpus, self._gpu_gb)
        for i, (place, cards) in enumerate(places):
            fitting = [expert for expert in needy if expert.label in place.experts]
            workers[f"gpu-{i}"] = Worker(fitting, self._factory, place.gpu_gb, cards)
        return workers

    async def _run(self, worker: Worker, dispatch: Dispatch) -> None:
        delivery = Delivery(dispatch, self._inbox)
        try:
            async for items in worker.stream(dispatch.expert, dispatch.asks):
                delivery.put(items)
            delivery.close("the worker ended without a reply")
        except asyncio.CancelledError:
            if self._closing:
                raise
            delivery.close("the worker's stream was cancelled")
        except Exception as error:  # noqa: BLE001 - no ask may wait for ever
            delivery.close(in_one_line(error))

    async def _change(self, worker: Worker, action: Load | Unload) -> None:
        """Load or unload an expert."""
        try:
            if isinstance(action, Load):
                seconds = await worker.load(action.expert, action.evict)
                self._inbox.put(Loaded(action.worker, action.expert, seconds))
            else:
                await worker.unload(action.expert)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is an event
            message = in_one_line(error)
            self._inbox.put(LoadFailed(action.worker, action.expert, message))
