"""The worker as a Ray actor: a few lines around :class:`agents.worker.Worker`.

The class is plain and is made an actor where it is placed (``ray.remote(RayWorker)``), so it works
and is tested without Ray. It runs one event loop; many calls are open at once. The functions below
it are for whoever holds the actor's handle.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from agents.roster import Expert
from agents.worker import Results, Worker, check_own_package
from protocols.asks import Ask
from protocols.errors import Mistake

_CLOSE_S = 5.0
"""How long a worker may take to unload its engines when it is told to go."""


class RayWorker:
    """Hosts the engines of `experts` in a process of its own."""

    def __init__(self, experts: Sequence[Expert]) -> None:
        self._worker = Worker(experts)

    async def ready(self) -> dict[str, int]:
        """Return the batch limit of each expert.

        Raises:
            Mistake: another package called ``agents`` was imported here, or an expert's engine
                cannot be made.
        """
        check_own_package()
        return self._worker.batch_limits()

    async def run(self, label: str, asks: Sequence[Ask]) -> AsyncIterator[Results]:
        """Yield what is finished of a batch, a few at a time; call it with streaming returns."""
        async for results in self._worker.stream(label, asks):
            yield results

    async def load(self, label: str) -> None:
        """Make an expert ready.

        Raises:
            Exception: whatever its engine raised.
        """
        await self._worker.load(label)

    async def unload(self, label: str) -> None:
        """Free what an expert's engine holds."""
        await self._worker.unload(label)

    async def watch(self) -> None:
        """Never return: this call fails when the actor dies, and so tells of its death."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Stop what runs and unload every engine."""
        await self._worker.close()


async def ready(actor: Any, patience: float | None) -> dict[str, int]:
    """Return the batch limits of a worker once it is ready.

    Raises:
        Mistake: it died first, its packages are not moot's, an expert cannot be served there, or
            it took longer than `patience` seconds (None: no limit).
    """
    from ray.exceptions import RayActorError

    try:
        async with asyncio.timeout(patience):
            limits: dict[str, int] = await actor.ready.remote()
    except TimeoutError:
        raise Mistake(f"no node took a new worker within {patience:g} s") from None
    except RayActorError as error:
        raise Mistake(f"a Ray worker did not start: {_why_not_started(error)}") from None
    except Exception as error:  # noqa: BLE001 - whatever the worker raised
        raise Mistake(_in_one_line(cause(error))) from None
    return limits


async def death(actor: Any) -> str:
    """Wait until an actor dies or is out of reach; end it and return why, in one line."""
    try:
        await actor.watch.remote()
    except Exception as error:  # noqa: BLE001 - whatever it is, the worker is lost
        return _in_one_line(error)
    finally:
        kill(actor)
    return "it left"


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


def kill(actor: Any) -> None:
    """End an actor's process; does nothing where it has ended."""
    import ray

    with suppress(Exception):
        ray.kill(actor, no_restart=True)


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
