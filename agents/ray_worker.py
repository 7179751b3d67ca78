"""The worker as a Ray actor: a few lines around :class:`agents.worker.Worker`.

The class is plain and is made an actor where it is placed (``ray.remote(RayWorker)``), so it works
and is tested without Ray. It runs one event loop; many calls are open at once. The functions below
it are for whoever holds the actor's handle.

A worker that several drivers share belongs to none of them: each attends it now and then, and one
that nobody attends any more ends itself.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from agents.engines import check_expert, does_network_io
from agents.machine import build, visible_gpu_gb
from agents.roster import LOCAL, Expert
from agents.worker import Results, Worker, check_own_package
from protocols.asks import Ask
from protocols.errors import Mistake

LEASE_S = 45.0
"""How long a shared worker lives on when no driver attends it."""

_CLOSE_S = 5.0
"""How long a worker may take to unload its engines when it is told to go."""
_LOOK_S = 0.5
"""How often a shared worker looks whether anybody attends it."""


class NotStarted(Mistake):
    """A worker's process ended before it was ready."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What a worker says of itself when it is ready."""

    batch_limits: dict[str, int]
    """Of the experts that it hosts."""
    node: str
    """The node that it runs on, as Ray calls it; "" outside Ray."""
    memory_gb: float | None = None
    """The memory of each of its GPUs; None where it has none, or where that cannot be told."""
    sizes_gb: dict[str, float] = field(default_factory=dict)
    """What each of its experts takes of that memory."""


class Lease:
    """Who attends a worker; driven with times from outside."""

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._until = {"": now + seconds}
        """Who attends, and until when without a further word; "" is who made the worker."""
        self._lock = threading.Lock()

    def attend(self, driver: str, now: float) -> None:
        """Note that a driver uses the worker."""
        with self._lock:
            self._until.pop("", None)
            self._until[driver] = now + self._seconds

    def leave(self, driver: str) -> None:
        """Note that a driver uses the worker no more."""
        with self._lock:
            self._until.pop(driver, None)

    def abandoned(self, now: float) -> bool:
        """Whether nobody attends any more."""
        with self._lock:
            return not any(until > now for until in self._until.values())


class RayWorker:
    """Hosts the engines of `experts` in a process of its own.

    Args:
        experts: what it may serve.
        on_gpus: whether it holds GPUs; then it serves what loads made resident.
        memory_gb: what may be resident on each of them; None is measured, and who does not fit is
            left out.
        lease_s: ends the process when no driver attends it for so long; None: it is one driver's,
            and ends with it.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        on_gpus: bool = False,
        memory_gb: float | None = None,
        lease_s: float | None = None,
    ) -> None:
        _stand_firm()
        self._experts = experts
        self._to_measure = on_gpus and memory_gb is None
        self._worker = Worker(experts, memory_gb=memory_gb if on_gpus else None)
        self._lease = None if lease_s is None else Lease(lease_s, time.monotonic())
        if self._lease is not None:
            watch = (self._lease, time.monotonic, time.sleep)
            threading.Thread(target=_end_when_abandoned, args=watch, daemon=True).start()

    async def ready(self, of_driver: str | None) -> Ready:
        """Return what this worker offers.

        Args:
            of_driver: the driver's :func:`agents.machine.build`, where this one must be the same;
                None where the driver's own packages came along.

        Raises:
            Mistake: another package called ``agents`` or another moot was imported here, or an
                expert's engine cannot be made, its key is not set here, or its model cannot be
                loaded here.
        """
        check_own_package()
        if of_driver not in (None, build()):
            raise Mistake(
                f"node {_node_name()} has moot {build()}, this process moot {of_driver}; install "
                "the same moot on every node"
            )
        for expert in self._experts:
            if does_network_io(expert) or expert.provider in LOCAL:
                await asyncio.to_thread(check_expert, expert)
        if self._to_measure:
            await self._measure()
        worker = self._worker
        return Ready(worker.batch_limits(), _node_id(), worker.memory_gb, worker.sizes_gb())

    async def _measure(self) -> None:
        """Host the experts that fit the memory that is found."""
        memory = await asyncio.to_thread(visible_gpu_gb)
        if memory is not None:
            fitting = [expert for expert in self._experts if (expert.gpu_gb or 0.0) <= memory]
            self._worker = Worker(fitting, memory_gb=memory)
            self._to_measure = False

    async def run(self, label: str, asks: Sequence[Ask]) -> AsyncIterator[Results]:
        """Yield what is finished of a batch, a few at a time; call it with streaming returns."""
        async for results in self._worker.stream(label, asks):
            yield results

    async def load(self, label: str, evict: Sequence[str] = ()) -> float:
        """Make an expert ready, once those in `evict` are unloaded; return the seconds it took.

        Raises:
            Exception: whatever its engine raised.
        """
        return await self._worker.load(label, tuple(evict))

    async def unload(self, label: str) -> None:
        """Free what an expert's engine holds."""
        await self._worker.unload(label)

    async def watch(self) -> None:
        """Never return: this call fails when the actor dies, and so tells of its death."""
        await asyncio.Event().wait()

    async def attend(self, driver: str) -> None:
        """Keep a shared worker alive for a driver."""
        if self._lease is not None:
            self._lease.attend(driver, time.monotonic())

    async def leave(self, driver: str) -> None:
        """Let a shared worker go; it ends when no other driver attends it."""
        if self._lease is not None:
            self._lease.leave(driver)

    async def close(self) -> None:
        """Stop what runs and unload every engine."""
        await self._worker.close()


def _end_when_abandoned(
    lease: Lease, clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    """End this process when its worker is abandoned; engines for one driver alone are not here."""
    while not lease.abandoned(clock()):
        sleep(_LOOK_S)
    os._exit(0)


def _stand_firm() -> None:
    """Leave the working directory that Ray gave this actor's process, since Ray may delete it.

    A worker process may wait for its actor longer than its directory is kept. In one whose
    directory is gone, MKL ends the process when torch is imported.
    """
    import ray

    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
        os.chdir(os.path.abspath(os.sep))


def _node_id() -> str:
    """Return the id of the node that this process runs on; nothing outside Ray."""
    import ray

    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else ""


def _node_name() -> str:
    """Return the address of the node that this process runs on."""
    import ray

    return str(ray.util.get_node_ip_address()) if ray.is_initialized() else "this one"


async def ready(actor: Any, patience: float | None, of_driver: str | None = None) -> Ready:
    """Return what a worker says once it is ready.

    Args:
        actor: the worker's handle.
        patience: seconds; None is no limit.
        of_driver: the build that it must have; None is any.

    Raises:
        NotStarted: it died first.
        Mistake: its packages are not this moot's, an expert cannot be served there, or it took
            too long.
    """
    from ray.exceptions import RayActorError

    try:
        async with asyncio.timeout(patience):
            answer = await actor.ready.remote(of_driver)
    except TimeoutError:
        raise Mistake(f"no node took a new worker within {patience:g} s") from None
    except RayActorError as error:
        raise NotStarted(f"a Ray worker did not start: {_why_not_started(error)}") from None
    except Exception as error:  # noqa: BLE001 - whatever the worker raised
        raise _as_mistake(cause(error)) from None
    if not isinstance(answer, Ready):
        raise Mistake("a node has another moot than this process; install the same on every node")
    return answer


async def death(actor: Any, *, end: bool = True) -> str:
    """Wait until an actor dies or is out of reach and return why, in one line; then `end` it."""
    message = "it left"
    try:
        await actor.watch.remote()
    except Exception as error:  # noqa: BLE001 - whatever it is, the worker is lost
        message = _in_one_line(error)
    if end:
        kill(actor)
    return message


def cause(error: Exception) -> BaseException:
    """Return what was raised in an actor, without Ray's wrapping and traceback."""
    inner = getattr(error, "cause", None)
    return inner if isinstance(inner, BaseException) else error


async def farewell(actor: Any) -> None:
    """Let a worker unload its engines, for a short time; then end it."""
    with suppress(Exception):
        async with asyncio.timeout(_CLOSE_S):
            await actor.close.remote()
    kill(actor)


async def leave(actor: Any, driver: str) -> None:
    """Let a shared worker go; who cannot be told sees it from the silence."""
    with suppress(Exception):
        async with asyncio.timeout(_CLOSE_S):
            await actor.leave.remote(driver)


async def attend(actor: Any, driver: str, lease_s: float) -> None:
    """Keep a shared worker alive, until cancelled."""
    while True:
        with suppress(Exception):
            await actor.attend.remote(driver)
        await asyncio.sleep(lease_s / 5)


def kill(actor: Any) -> None:
    """End an actor's process; does nothing where it has ended."""
    import ray

    with suppress(Exception):
        ray.kill(actor, no_restart=True)


def _as_mistake(error: BaseException) -> Mistake:
    """Return what a worker raised as it began, with a hint where it is not the user's."""
    if isinstance(error, Mistake):
        return Mistake(_in_one_line(error))
    if isinstance(error, TypeError | AttributeError):  # another signature: another moot
        hint = "; install the same moot on every node"
        return Mistake(f"a Ray worker failed: {_in_one_line(error)}{hint}")
    return Mistake(_in_one_line(error))


def _why_not_started(error: Exception) -> str:
    """Return why an actor could not be made, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    missing = [line for line in lines if "ModuleNotFoundError" in line or "ImportError" in line]
    if not missing:
        return _in_one_line(error)
    return (
        f"its process imports other packages than moot's ({missing[-1]}); let moot start or join "
        "the cluster itself, or install the same moot on every node"
    )


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]
