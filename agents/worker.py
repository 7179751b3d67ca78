"""The worker: hosts the engines of some experts, in this process or inside a Ray actor.

A plain class without any fleet in it. It makes an engine when it is first needed and loads it once.
Where it is told its memory (a GPU worker) it serves only what a load made resident, one load at a
time, and whoever orders the loads says what makes room; elsewhere a first ask loads its expert.

It is the boundary at which replies enter moot: texts are cleaned of NUL and lone surrogates, a
missing latency is filled in, an engine that breaks its contract (an exception, a silent end, an
index twice) becomes a provider failure of the asks it left open. Engines that wait for a server
keep their own time limit for each ask; the worker only guards against one that hangs.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from agents.engine import Attempted, Engine, Throttled
from agents.engines import does_network_io, make_engine
from agents.roster import Expert
from agents.settings import suggestion
from protocols.asks import Ask
from protocols.canonical import clean_text
from protocols.errors import Mistake
from protocols.messages import Place
from protocols.replies import Boundary, Failure, Reply, failed

Results = list[tuple[int, Attempted]]

_PATIENCE = 3.0
"""How many times an expert's timeout may pass without any reply before its engine counts as
hanging. An ask may wait one timeout for its place and one for its reply."""


_ROUNDING_GB = 1e-6
_CLOSED = "the worker was closed"


class Worker:
    """Hosts the engines of `experts`.

    Args:
        experts: whom it may host.
        factory: makes the engines.
        memory_gb: what resident experts may take together, each its `gpu_gb`. None: it serves all
            its experts and needs no loads.
        cards: which of the GPUs that this process sees are its own, by CUDA's numbers. None told:
            it is alone with what it sees.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        factory: Callable[[Expert], Engine] = make_engine,
        memory_gb: float | None = None,
        cards: Sequence[int] = (),
    ) -> None:
        self.memory_gb = memory_gb
        self._experts = {expert.label: expert for expert in experts}
        self._factory = factory
        self._engines: dict[str, Engine] = {}
        self._common: dict[str, Any] = {"cards": tuple(cards)}
        self._loaded: dict[str, None] = {}
        """Labels, in the order of their loads."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._closed = False
        self._loads: set[asyncio.Task[None]] = set()
        self._pumps: dict[asyncio.Task[None], str] = {}
        """What runs, and of which expert it is."""

    def batch_limits(self) -> dict[str, int]:
        """Return the most asks that each expert's engine runs at once; nothing is loaded.

        Raises:
            Mistake: an expert's engine cannot be made.
        """
        return {label: self._engine(label).batch_limit for label in self._experts}

    def sizes_gb(self) -> dict[str, float]:
        """Return what each expert takes of the memory; empty where none is counted."""
        if self.memory_gb is None:
            return {}
        return {label: expert.gpu_gb or 0.0 for label, expert in self._experts.items()}

    @property
    def resident(self) -> tuple[str, ...]:
        """The experts that are loaded, in the order of their loads."""
        return tuple(self._loaded)

    async def load(self, label: str, evict: Sequence[str] = ()) -> float:
        """Unload those in `evict`, in order, then make an expert ready; return the seconds taken.

        Those in `evict` are gone whether the load succeeds or not. Where memory is counted, loads
        wait for each other; nothing waits for asks that run.

        Raises:
            Mistake: it does not fit beside what is resident.
            Exception: whatever an engine raised.
        """
        async with self._lock(label):
            if self._closed:
                raise RuntimeError(_CLOSED)
            start = time.perf_counter()
            await self._unload_all(evict)
            if label not in self._loaded:
                self._check_room(label)
                await self._load(label)
            return time.perf_counter() - start

    async def unload(self, label: str) -> None:
        """Free what an expert's engine holds; does nothing where it is not loaded.

        Asks of it that run end as provider failures.
        """
        async with self._lock(label):
            await self._unload_all([label])

    async def stream(self, label: str, asks: Sequence[Ask]) -> AsyncIterator[Results]:
        """Yield what is finished, a few at a time: (index into `asks`, result).

        Each index comes exactly once, whatever the engine does. The expert is loaded first where
        it is not; where memory is counted, its asks fail instead.
        """
        batch = _Batch(label, asks)
        try:
            await self._make_ready(label)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is data
            yield batch.close("provider", f"cannot be loaded: {_described(error)}")
            return
        pump = asyncio.create_task(batch.pump(self._engine(label)))
        self._pumps[pump] = label
        pump.add_done_callback(lambda pump: self._pumps.pop(pump, None))
        pump.add_done_callback(lambda _: batch.filled.set())
        expert = self._experts[label]
        patience = _PATIENCE * expert.timeout_s if does_network_io(expert) else None
        try:
            while batch.open and (batch.arrived or not pump.done()):
                try:
                    async with asyncio.timeout(patience):
                        await batch.filled.wait()
                except TimeoutError:
                    yield batch.close("timeout", f"nothing came for {patience:g} s")
                    return
                results = batch.take()
                if results:
                    yield results
            if batch.open:
                yield batch.close("provider", _end(pump))
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def close(self) -> None:
        """Stop what runs and loads, and unload every engine. May be called twice.

        Raises:
            Exception: the first that an engine raised; the others are unloaded all the same.
        """
        self._closed = True
        begun = (*self._loads, *self._pumps)
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        ends = await asyncio.gather(
            *(self.unload(label) for label in self.resident), return_exceptions=True
        )
        for end in ends:
            if end is not None:
                raise end

    def _engine(self, label: str) -> Engine:
        """Return the expert's engine, made when it is first needed."""
        engine = self._engines.get(label)
        if engine is None:
            if label not in self._experts:
                raise Mistake(
                    f"this worker hosts no expert {label!r}; {suggestion(label, self._experts)}"
                )
            engine = self._engines[label] = self._factory(self._experts[label])
            engine.share(self._common)
        return engine

    def _lock(self, label: str) -> asyncio.Lock:
        """Return what loads and unloads of an expert hold: one for all where memory is counted."""
        return self._locks.setdefault(label if self.memory_gb is None else "", asyncio.Lock())

    async def _make_ready(self, label: str) -> None:
        """Load an expert for an ask, where no one else decides what is resident."""
        if label in self._loaded:
            return
        if self.memory_gb is None:
            await self.load(label)
        else:
            self._engine(label)  # one that is not hosted at all is told as such
            raise Mistake("it is not resident here; load it first")

    async def _load(self, label: str) -> None:
        task = asyncio.ensure_future(self._engine(label).load())
        self._loads.add(task)
        try:
            await task
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            raise RuntimeError(_CLOSED if self._closed else "the engine stopped itself") from None
        finally:
            self._loads.discard(task)
        self._loaded[label] = None

    async def _unload_all(self, labels: Sequence[str]) -> None:
        """Unload experts in order, all of them; then raise what the first that failed raised."""
        errors = []
        for label in labels:
            if label not in self._loaded:
                continue
            del self._loaded[label]
            pumps = [pump for pump, owner in self._pumps.items() if owner == label]
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            try:
                await self._engine(label).unload()
            except Exception as error:  # noqa: BLE001 - the others are unloaded all the same
                errors.append(error)
        if errors:
            raise errors[0]

    def _check_room(self, label: str) -> None:
        """Raise a Mistake where an expert does not fit beside what is resident."""
        self._engine(label)
        if self.memory_gb is None:
            return
        sizes = self.sizes_gb()
        free = self.memory_gb - sum(sizes[other] for other in self._loaded)
        if sizes[label] > free + _ROUNDING_GB:
            held = ", ".join(f"{other} {sizes[other]:g}" for other in self._loaded) or "nothing"
            raise Mistake(
                f"{label} needs {sizes[label]:g} GB and {max(free, 0.0):g} of "
                f"{self.memory_gb:g} GB are free ({held}); unload others first"
            )


class _Batch:
    """What has come of one batch and what is open."""

    def __init__(self, label: str, asks: Sequence[Ask]) -> None:
        self.label = label
        self.asks = asks
        self.open = set(range(len(asks)))
        self.arrived: Results = []
        self.filled = asyncio.Event()
        self.start = time.perf_counter()

    async def pump(self, engine: Engine) -> None:
        """Collect what the engine yields; one wake-up serves all that comes without waiting."""
        stream = engine.stream(self.asks)
        try:
            async for item in stream:
                self.arrived.append(item)
                self.filled.set()
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    def take(self) -> Results:
        """Return what arrived since the last call, tidied, without repeated indices."""
        self.filled.clear()
        arrived, self.arrived = self.arrived, []
        seconds = time.perf_counter() - self.start
        results: Results = []
        for index, result in arrived:
            if index in self.open:
                self.open.discard(index)
                results.append((index, tidied(result, seconds, self.asks[index].place)))
        return results

    def close(self, boundary: Boundary, message: str) -> Results:
        """Return a failure for every ask that is open."""
        seconds = time.perf_counter() - self.start
        indices, self.open = sorted(self.open), set()
        reply = failed(boundary, clean_text(f"{self.label}: {message}")[0], latency_s=seconds)
        return [(index, reply) for index in indices]


def tidied(result: object, seconds: float, place: Place | None = None) -> Attempted:
    """Return an engine's result as moot takes it in, at the place of its ask.

    Texts are cleaned (a reply says so in `repaired`), a missing latency becomes `seconds`, and
    what is no result at all is a failure.
    """
    if isinstance(result, Throttled):
        wait_s, message = max(0.0, result.wait_s), clean_text(result.message)[0]
        return replace(result, wait_s=wait_s, message=message)
    if not isinstance(result, Reply) or not isinstance(result.text, str):
        kind = type(result).__name__
        return failed("provider", f"the engine gave a {kind} that is no reply", latency_s=seconds)
    if result.distribution is not None and not all(map(math.isfinite, result.distribution)):
        return failed("malformed", "the distribution is not made of numbers", latency_s=seconds)
    text, repaired = clean_text(result.text)
    failure = result.failure
    if failure is not None:
        failure = Failure(failure.boundary, clean_text(failure.message)[0], failure.cause)
    served = result.model_served
    return Reply(
        text,
        failure,
        result.distribution,
        result.distribution_source,
        result.usage,
        result.finish,
        result.repaired or repaired,
        place or result.place,
        result.latency_s if result.latency_s > 0.0 else seconds,
        None if served is None else clean_text(served)[0],
        result.outside_mass,
        result.rate_hint,
    )


def _end(pump: asyncio.Task[None]) -> str:
    """Say why an engine ended with asks open."""
    if pump.cancelled():
        return "the engine was stopped"
    error = pump.exception()
    return "the engine ended without a reply" if error is None else _described(error)


def _described(error: BaseException) -> str:
    """Return an exception in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, Mistake) else f"{type(error).__name__}: {text}"[:500]


def check_own_package() -> None:
    """Check that the rooms beside this module are moot's and stand together.

    The import name ``agents`` is also that of another vendor's SDK, and a folder called
    ``agents`` or ``protocols`` in the working directory hides an installed one.

    Raises:
        Mistake: another package of that name was imported.
    """
    home = Path(__file__).resolve().parent.parent
    for room in ("agents", "protocols"):
        origin = getattr(import_module(room), "__file__", None)
        if origin is None or Path(origin).resolve().parent.parent != home:
            raise Mistake(
                f"the package {room!r} was imported from {origin or 'nowhere'}, not from moot in "
                f"{home}; run from another directory or uninstall the package of the same name"
            )
