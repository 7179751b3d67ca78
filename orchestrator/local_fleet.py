"""LocalFleet: the engines live in this process, in one worker called ``local``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from agents.engine import Engine
from agents.engines import make_engine
from agents.roster import Expert
from agents.worker import Worker
from orchestrator.delivery import Delivery, in_one_line
from orchestrator.fleet import (
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

WORKER = "local"
"""The name of the only worker."""


class LocalFleet(Fleet):
    """Runs batches on a worker in this process; `factory` makes the engines."""

    def __init__(self, factory: Callable[[Expert], Engine] = make_engine) -> None:
        self._factory = factory
        self._worker: Worker | None = None
        self._inbox = Inbox()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        """Make the worker; nothing is loaded yet.

        Raises:
            Mistake: an expert's engine cannot be made.
        """
        worker = Worker(experts, self._factory)
        limits = worker.batch_limits()
        self._worker, self._inbox, self._closing = worker, inbox, False
        inbox.put(WorkerJoined(WORKER, limits))

    def perform(self, action: Action) -> None:
        """Begin an action in a task of its own; see :meth:`Fleet.perform`.

        Raises:
            RuntimeError: the fleet was not started, or is closed.
        """
        worker = self._worker
        if worker is None:
            raise RuntimeError("the fleet is not running; call start() first")
        coroutine = (
            self._run(worker, action)
            if isinstance(action, Dispatch)
            else self._change(worker, action)
        )
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop what runs and unload every engine; see :meth:`Fleet.close`.

        Raises:
            Exception: what an engine raised when it was unloaded.
        """
        self._closing = True
        worker, self._worker = self._worker, None
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if worker is not None:
            await worker.close()

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
        method = worker.load if isinstance(action, Load) else worker.unload
        start = time.perf_counter()
        try:
            await method(action.expert)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is an event
            message = in_one_line(error)
            self._inbox.put(LoadFailed(action.worker, action.expert, message))
        else:
            if isinstance(action, Load):
                seconds = time.perf_counter() - start
                self._inbox.put(Loaded(action.worker, action.expert, seconds))
