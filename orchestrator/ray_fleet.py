"""RayFleet: the engines live in Ray actors, one API worker on each node unless told otherwise.

Theory. A *place* is where a worker belongs: a node, when the fleet was started. Each place is kept
by one task: it makes an actor, waits until it is ready (WorkerJoined), watches it with a call that
never returns, and when that call fails (WorkerLost) makes another actor under a new name. Ray
itself restarts no actor and re-executes no batch: what was not recorded is the driver's to send
again. A batch is one streaming call; its replies come back in lists as they finish.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from agents.ray_worker import RayWorker, cause, death, farewell, kill, ready
from agents.roster import Expert
from orchestrator import ray_environment as environment
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
    WorkerLost,
)
from protocols.errors import Mistake

PACKAGES = ("protocols", "agents")
"""What a worker imports; these travel to a cluster on which moot is not installed."""

_CPUS = 0.1
"""What an API worker takes of a node: it waits for servers most of the time."""
_REPLACE_S = 60.0
"""How long a lost worker's place waits for another: a dead node takes Ray about 17 s to see."""
_QUICK_S = 30.0
_QUICK_DEATHS = 3
"""A place is given up after so many workers in a row that lived no longer than `_QUICK_S`."""

_HINT = (
    "start one with `ray start --head`, give its address as HOST:6379, or `local` for a new one on "
    "this machine"
)


class RayFleet(Fleet):
    """Runs batches on Ray actors.

    Args:
        address: ``HOST:PORT`` of a cluster, ``auto`` for the one that runs on this machine,
            ``local`` for a new one in this process's care. None takes RAY_ADDRESS, else a cluster
            that runs on this machine, else a new one.
        workers: how many API workers; None is one on each node that has CPUs.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise Mistake(f"a Ray fleet needs at least one worker, not {workers}")
        self._address = address
        self._workers = workers
        self._experts: list[Expert] = []
        self._inbox = Inbox()
        self._numbers = count()
        self._actors: dict[str, Any] = {}
        """The workers that joined, by name."""
        self._handles: set[Any] = set()
        """Every actor that was made, also those that are not ready: what close() kills."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected = False
        self._started = False
        self._closing = False

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        """Connect, make the workers, and return when all joined, or some did in good time.

        Raises:
            Mistake: no cluster answers, it has no room for a worker, its workers do not import
                this moot, or an expert cannot be served there.
        """
        self._experts = [_shipped(expert) for expert in experts]
        self._inbox, self._closing = inbox, False
        try:
            await self._connect()
            await self._place_workers()
        except BaseException:
            await self.close()
            raise

    def perform(self, action: Action) -> None:
        """Begin an action in a task of its own; see :meth:`Fleet.perform`.

        An action for a worker that is lost is dropped: its WorkerLost is in the inbox.
        """
        actor = self._actors.get(action.worker)
        if actor is None:
            return
        match action:
            case Dispatch():
                self._begin(self._run(actor, action))
            case Load() | Unload():
                self._begin(self._change(actor, action))

    async def close(self) -> None:
        """Stop all workers and leave the cluster; see :meth:`Fleet.close`."""
        self._closing = True
        tasks, handles = tuple(self._tasks), tuple(self._handles)
        joined = tuple(self._actors.values())
        self._actors.clear()
        self._handles.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(farewell(actor) for actor in joined))
        for handle in handles:
            kill(handle)
        if self._connected:
            import ray

            self._connected = False
            await asyncio.to_thread(ray.shutdown)

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
        target = await asyncio.to_thread(_locate, self._address)
        with tempfile.TemporaryDirectory(prefix="moot-") as empty:
            if target is None:
                # Not in a thread: the cluster's processes die with the thread that started them.
                _initialise(None, Path(empty))
            else:
                await asyncio.to_thread(_join, target, Path(empty))
        self._connected = True

    def _places(self) -> list[str]:
        """Return the node of each worker, by its id in hexadecimal; "" where any will do."""
        import ray

        nodes = sorted(
            node["NodeID"]
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU", 0.0) >= _CPUS
        )
        wanted = self._workers or max(1, len(nodes))
        return [nodes[i % len(nodes)] if nodes else "" for i in range(wanted)]

    async def _place_workers(self) -> None:
        """Begin to keep every place; return when all workers joined, or some when time is up."""
        loop = asyncio.get_running_loop()
        firsts: list[asyncio.Future[None]] = []
        for node in self._places():
            firsts.append(loop.create_future())
            self._begin(self._keep(node, firsts[-1]))
        done, _ = await asyncio.wait(
            firsts, timeout=environment.PATIENCE_S, return_when=asyncio.FIRST_EXCEPTION
        )
        self._started = True
        errors = [error for first in done if (error := first.exception())]
        if errors:
            raise errors[0]
        if not done:
            raise Mistake(
                f"the Ray cluster has no room for a worker ({_CPUS} CPU): no node offered it "
                f"within {environment.PATIENCE_S:g} s; see `ray status`, stop other jobs or add "
                "nodes"
            )

    async def _keep(self, node: str, first: asyncio.Future[None]) -> None:
        """Keep a worker at a place: make another when one dies, unless they die too quickly.

        `first` tells start() how the first worker fared.
        """
        quick_deaths = 0
        while quick_deaths < _QUICK_DEATHS:
            name = f"ray-{next(self._numbers)}"
            try:
                actor = self._make(node)
                limits = await ready(actor, _REPLACE_S if first.done() else None)
            except Exception as error:  # noqa: BLE001 - the place is given up, and says why
                if self._started:
                    self._inbox.put(WorkerLost(name, in_one_line(error)))
                else:
                    first.set_exception(error)
                return
            joined = time.monotonic()
            self._actors[name] = actor
            self._inbox.put(WorkerJoined(name, limits))
            if not first.done():
                first.set_result(None)
            message = await death(actor)
            quick = time.monotonic() - joined < _QUICK_S
            quick_deaths = quick_deaths + 1 if quick else 0
            self._actors.pop(name, None)
            self._handles.discard(actor)
            self._inbox.put(WorkerLost(name, message, quick_deaths < _QUICK_DEATHS))

    def _make(self, node: str) -> Any:
        """Make an actor, on `node` where it has room."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options: dict[str, Any] = {"num_cpus": _CPUS, "max_restarts": 0, "max_task_retries": 0}
        if node:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=True)
        if not self._connected and not environment.is_installed(environment.package_home()):
            # The caller joined the cluster, so the job's environment is not ours to set.
            options["runtime_env"] = {"env_vars": {"PYTHONPATH": str(environment.package_home())}}
        actor = ray.remote(RayWorker).options(**options).remote(self._experts)
        self._handles.add(actor)
        return actor

    async def _run(self, actor: Any, dispatch: Dispatch) -> None:
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
            kill(actor)  # also where it is only out of reach: its keeper tells of the loss
        except asyncio.CancelledError:
            if self._closing:
                raise
            delivery.close("the worker's stream was cancelled")
        except Exception as error:  # noqa: BLE001 - no ask may wait for ever
            delivery.close(in_one_line(cause(error)))

    async def _change(self, actor: Any, action: Load | Unload) -> None:
        """Load or unload an expert."""
        from ray.exceptions import RayActorError

        method = actor.load if isinstance(action, Load) else actor.unload
        start = time.perf_counter()
        try:
            await method.remote(action.expert)
        except RayActorError:
            kill(actor)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is an event
            message = in_one_line(cause(error))
            self._inbox.put(LoadFailed(action.worker, action.expert, message))
        else:
            if isinstance(action, Load):
                seconds = time.perf_counter() - start
                self._inbox.put(Loaded(action.worker, action.expert, seconds))


def _shipped(expert: Expert) -> Expert:
    """Return the expert as it goes to a worker, whose working directory is another.

    Raises:
        Mistake: it needs a GPU.
    """
    if expert.gpu_gb is not None:
        raise Mistake(
            f"{expert.label or expert.model}: experts with gpu_gb do not run on a Ray fleet yet; "
            "serve the model with an OpenAI-compatible server and give its base_url"
        )
    if expert.data is None:
        return expert
    return expert.model_copy(update={"data": str(Path(expert.data).absolute())})


def _locate(address: str | None) -> str | None:
    """Return ``HOST:PORT`` of the cluster to join; None where one is to be started.

    Raises:
        Mistake: the address has another form, or there is no cluster where one was asked for.
    """
    from ray._private.services import canonicalize_bootstrap_address

    wanted = environment.wanted_address(address)
    if wanted not in (None, "auto", "local"):
        return wanted
    try:
        located: str | None = canonicalize_bootstrap_address(wanted)
    except Exception as error:  # noqa: BLE001 - Ray raises what it likes
        raise Mistake(f"{in_one_line(error)}; {_HINT}") from None
    return located


def _join(target: str, empty: Path) -> None:
    """Join the cluster at `target`.

    Raises:
        Mistake: it does not answer in time, or Ray refused.
    """
    host, _, port = target.rpartition(":")
    environment.probe(host.strip("[]"), int(port), _HINT)
    environment.within(
        environment.PATIENCE_S,
        partial(_initialise, target, empty),
        f"the Ray cluster at {target} does not answer; {_HINT}",
    )


def _initialise(target: str | None, empty: Path) -> None:
    """Join the cluster at `target`, or start one.

    Raises:
        Mistake: Ray refused.
    """
    import ray

    # Ray reports the use of clusters that it starts to its makers unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = target is None
    workers = environment.runtime_environment(empty, packages=PACKAGES, here=here)
    options: dict[str, Any] = {"include_dashboard": False} if here else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=target or "local",
            runtime_env=environment.beside_the_jobs(workers),
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    except Exception as error:  # noqa: BLE001 - Ray raises what it likes
        message = f"cannot use Ray at {target or 'this machine'}: {in_one_line(error)}"
        raise Mistake(message) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray takes it; it is the program's
