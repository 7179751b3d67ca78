"""The places of a Ray fleet, and who keeps them.

Theory. A *place* is where a worker belongs: a node, and the GPUs that it holds there. Each place is
kept by one task: it makes an actor, waits until it is ready (WorkerJoined), watches it with a call
that never returns, and when that call fails (WorkerLost) makes another actor under a new name,
on another node where the old one does not come back. When nodes join, places appear on them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import count
from typing import Any
from uuid import uuid4

from agents.machine import build
from agents.ray_worker import (
    LEASE_S,
    NotStarted,
    RayWorker,
    Ready,
    attend,
    death,
    farewell,
    kill,
    leave,
    ready,
)
from agents.roster import Expert
from orchestrator.fleets import ray_cluster as cluster
from orchestrator.fleets.delivery import in_one_line
from orchestrator.fleets.fleet import Inbox, WorkerJoined, WorkerLost
from orchestrator.fleets.ray_wishes import Wishes
from orchestrator.planner.placement import (
    API_CPUS,
    NoRoom,
    Place,
    asked,
    missing_places,
    plan_places,
    share_of,
)
from protocols.errors import Mistake

_REPLACE_S = 60.0
"""How long a lost worker's place waits for another: a dead node takes Ray about 17 s to see."""
_QUICK_S = 30.0
_QUICK_DEATHS = 3
"""A place is given up after so many workers in a row that lived no longer than `_QUICK_S`."""
_NODES_S = 5.0
"""How often the nodes are looked at, for new ones."""
_ROOM_S = 0.5
"""How often they are looked at while an expert has no place."""
_GRACE_S = 5.0
"""How long the start waits for the last workers once every expert has one."""


@dataclass(slots=True, eq=False)
class Kept:
    """A place and how it fares."""

    place: Place
    key: str
    """Names the worker of this place among the drivers that share it."""
    first: asyncio.Future[None]
    """Tells the start how the first worker fared."""
    group: Any = None
    """The placement group that holds its GPUs, where it has several."""
    worker: str = ""
    """The worker that joined and was not lost."""
    hosts: frozenset[str] = frozenset()
    """The experts of that worker."""
    given_up: bool = False

    def release(self) -> None:
        """Give back the GPUs that it holds."""
        if self.group is not None:
            cluster.release(self.group)
            self.group = None


class Keepers:
    """Keeps the places of one fleet.

    Args:
        wishes: what the fleet is to be.
        experts: whom it serves.
        inbox: hears of workers that join and are lost.
        begin: starts a task that the fleet cancels when it closes.
        connected: whether the fleet joined the cluster itself.
    """

    def __init__(
        self,
        wishes: Wishes,
        experts: Sequence[Expert],
        inbox: Inbox,
        begin: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        connected: bool,
    ) -> None:
        self._wishes = wishes
        self._experts = experts
        self._inbox = inbox
        self._begin = begin
        self._connected = connected
        self._driver = uuid4().hex
        self._numbers = count()
        self._places: list[Kept] = []
        self._watches: dict[str, asyncio.Task[str]] = {}
        self._handles: set[Any] = set()
        """Every actor that was made, also those that are not ready."""
        self._planned_for: frozenset[str] = frozenset()
        """The nodes that lived when places were last planned."""
        self._started = False
        self.actors: dict[str, Any] = {}  # the workers that joined, by name

    async def open(self, deadline: float) -> None:
        """Make the workers, and return when all joined, or some did in good time.

        Until `deadline`, on the monotonic clock, nodes may come that offer what is wanted.

        Raises:
            Mistake: the cluster has no room for a worker, its workers do not import this moot, or
                an expert cannot be served there.
        """
        places = await self._plan(deadline)
        joined = time.monotonic() + self._wishes.patience_s
        await self._open(places, joined)
        await self._first_workers(joined)
        self._begin(self._follow_nodes())

    def lose(self, worker: str) -> None:
        """Give up a worker, also where it is only out of reach; its keeper tells of the loss."""
        actor = self.actors.get(worker)
        if self._wishes.shared is None:
            if actor is not None:
                kill(actor)
        elif worker in self._watches:
            self._watches[worker].cancel()

    async def close(self) -> None:
        """End all workers, or leave them where they are shared; the tasks are cancelled before."""
        joined, handles = tuple(self.actors.values()), tuple(self._handles)
        self.actors.clear()
        self._handles.clear()
        if self._wishes.shared is None:
            await asyncio.gather(*(farewell(actor) for actor in joined))
            for handle in handles:
                kill(handle)
        else:
            await asyncio.gather(*(leave(actor, self._driver) for actor in handles))
        for kept in self._places:
            kept.release()
        self._places.clear()

    async def _plan(self, deadline: float) -> Sequence[Place]:
        """Return the places; what no node offers yet is asked for while there is time."""
        wanted: dict[tuple[int, str], Any] = {}
        try:
            while True:
                try:
                    return await self._planned()
                except NoRoom as refusal:
                    hopeless = any(
                        (e.gpu_gb or 0.0) > (self._wishes.gpu_gb or 1e9) for e in self._experts
                    )
                    if hopeless or time.monotonic() >= deadline:
                        raise
                    for expert in refusal.experts:
                        wish = Place("", expert.gpus, expert.accelerator or "")
                        if wish.kind not in wanted:
                            wanted[wish.kind] = cluster.reserve(wish)
                await asyncio.sleep(_ROOM_S)
        finally:
            for group in wanted.values():
                cluster.release(group)

    async def _planned(self) -> Sequence[Place]:
        nodes = await asyncio.to_thread(cluster.living_nodes, self._wishes.gpu_gb)
        self._planned_for = frozenset(node.id for node in nodes)
        return plan_places(
            nodes, self._experts, workers=self._wishes.workers, gpus=self._wishes.gpus
        )

    async def _open(self, places: Sequence[Place], deadline: float) -> None:
        """Begin to keep places; those with several GPUs take them before others do."""
        loop = asyncio.get_running_loop()
        opened = []
        for place in places:
            group = cluster.reserve(place) if place.gpus > 1 else None
            opened.append(Kept(place, self._key(place), loop.create_future(), group))
            self._places.append(opened[-1])
        left = max(0.0, deadline - time.monotonic())
        groups = [kept.group for kept in opened if kept.group is not None]
        await asyncio.gather(*(asyncio.to_thread(cluster.is_granted, g, left) for g in groups))
        for kept in opened:
            self._begin(self._keep(kept))

    async def _first_workers(self, deadline: float) -> None:
        """Wait until all workers joined, or until time is up and every expert has one.

        Raises:
            Mistake: a worker cannot be had, or an expert has none.
        """
        firsts = [kept.first for kept in self._places]
        enough: float | None = None
        while True:
            left = min(deadline, enough or deadline) - time.monotonic()
            done, waiting = await asyncio.wait(
                firsts, timeout=max(0.0, min(left, _ROOM_S)), return_when=asyncio.FIRST_EXCEPTION
            )
            errors = [error for first in done if (error := first.exception())]
            if errors:
                raise errors[0]
            if not waiting or left <= 0:
                break
            if enough is None and not self._homeless():
                enough = time.monotonic() + _GRACE_S
        self._started = True
        if homeless := self._homeless():
            raise Mistake(self._why_homeless(homeless[0]))

    def _homeless(self) -> list[Expert]:
        """Return the experts that no worker hosts."""
        hosted = {label for kept in self._places for label in kept.hosts}
        return [expert for expert in self._experts if expert.label not in hosted]

    def _why_homeless(self, expert: Expert) -> str:
        within = (
            f"within {self._wishes.patience_s:g} s; see `ray status`, stop other jobs or add nodes"
        )
        if expert.gpu_gb is None:
            return (
                f"the Ray cluster has no room for a worker ({API_CPUS} CPU): no node offered it "
                f"{within}"
            )
        who = f"{expert.label or expert.model} asks for {asked(expert)}"
        if all(kept.worker for kept in self._places if expert.label in kept.place.experts):
            return f"{who}, but no GPU that was found has as much memory; add such a node"
        return f"{who}, but no node had it free {within}"

    async def _follow_nodes(self) -> None:
        """Open places on nodes that join."""
        while True:
            await asyncio.sleep(_NODES_S)
            with suppress(Exception):  # no room for all, or a head that is out of reach for a while
                nodes = await asyncio.to_thread(cluster.living_nodes)
                living = frozenset(node.id for node in nodes)
                if living != self._planned_for:
                    await self._replan(living)

    async def _replan(self, living: frozenset[str]) -> None:
        for kept in tuple(self._places):
            if kept.given_up and kept.place.node not in living:
                self._places.remove(kept)
        planned = await self._planned()
        kept_now = [kept.place for kept in self._places]
        fresh = missing_places(planned, kept_now, workers=self._wishes.workers)
        await self._open(fresh, time.monotonic() + self._wishes.patience_s)

    async def _keep(self, kept: Kept) -> None:
        """Keep a worker at a place: make another when one dies, unless they die too quickly."""
        quick_deaths = 0
        patience = max(_REPLACE_S, self._wishes.patience_s)
        while quick_deaths < _QUICK_DEATHS:
            name = f"ray-{'gpu-' if kept.place.gpus else ''}{next(self._numbers)}"
            actor = None
            try:
                actor = self._make(kept)
                limit = patience if kept.first.done() else None
                answer = await ready(actor, limit, cluster.expected_build())
                event = self._joined(name, answer, kept)
            except Exception as error:  # noqa: BLE001 - the place is given up, and says why
                met_before = self._wishes.shared is not None or kept.first.done()
                if isinstance(error, NotStarted) and met_before:
                    # It was about to end when this driver met it, or was put onto a node that is
                    # dead and that Ray has not missed yet.
                    quick_deaths += 1
                    if quick_deaths < _QUICK_DEATHS:
                        self._drop(actor)
                        await asyncio.sleep(1.0)
                        continue
                self._give_up(kept, actor, name, error)
                return
            if self._is_one_too_many(kept, answer.node):
                await self._part(actor)
                self._places.remove(kept)
                return
            kept.place = replace(kept.place, node=answer.node or kept.place.node)
            joined = time.monotonic()
            message = await self._attended(kept, actor, event)
            quick = time.monotonic() - joined < _QUICK_S
            quick_deaths = quick_deaths + 1 if quick else 0
            self._inbox.put(WorkerLost(name, message, quick_deaths < _QUICK_DEATHS))
        kept.given_up = True
        kept.release()

    async def _attended(self, kept: Kept, actor: Any, event: WorkerJoined) -> str:
        """Let a worker join; return why it was lost, once it is."""
        name, shared = event.worker, self._wishes.shared is not None
        self.actors[name] = actor
        kept.worker, kept.hosts = name, frozenset(event.batch_limits)
        self._inbox.put(event)
        if not kept.first.done():
            kept.first.set_result(None)
        attending = self._begin(attend(actor, self._driver, LEASE_S)) if shared else None
        watching = self._watches[name] = asyncio.ensure_future(death(actor, end=not shared))
        try:
            await asyncio.wait([watching])
        finally:
            watching.cancel()
            if attending is not None:
                attending.cancel()
            del self._watches[name]
        kept.worker, kept.hosts = "", frozenset()
        self.actors.pop(name, None)
        self._handles.discard(actor)
        return "it is out of reach" if watching.cancelled() else watching.result()

    def _give_up(self, kept: Kept, actor: Any, name: str, error: Exception) -> None:
        """Leave a place without a worker, and say why."""
        if actor is not None:
            self._drop(actor)
        kept.release()
        if kept in self._places:
            self._places.remove(kept)
        if kept.first.done() or self._started:
            self._inbox.put(WorkerLost(name, in_one_line(error)))
        else:
            self._places.append(kept)
            kept.first.set_exception(error)

    def _drop(self, actor: Any) -> None:
        """Forget a worker that never joined, and end it, as it may be alive and hold a place."""
        self._handles.discard(actor)
        if self._wishes.shared is None:
            kill(actor)

    async def _part(self, actor: Any) -> None:
        """Let go of a worker that is not needed."""
        self._handles.discard(actor)
        await (leave(actor, self._driver) if self._wishes.shared is not None else farewell(actor))

    def _is_one_too_many(self, kept: Kept, node: str) -> bool:
        """Whether a worker that moved to another node met one there, where one a node is enough."""
        if self._wishes.workers is not None or kept.place.gpus or not kept.first.done():
            return False
        others = (other for other in self._places if other is not kept and other.worker)
        return node != kept.place.node and any(
            not other.place.gpus and other.place.node == node for other in others
        )

    def _joined(self, name: str, answer: Ready, kept: Kept) -> WorkerJoined:
        """Return the event of a worker that is ready.

        Raises:
            Mistake: it holds GPUs whose memory nobody knows.
        """
        if kept.place.gpus and answer.memory_gb is None:
            raise Mistake(
                f"the memory of the GPUs of node {kept.place.node[:8] or 'any'} cannot be "
                "measured (nvidia-smi told nothing); set gpu_gb of the fleet"
            )
        limits = {
            label: share_of(n, self._wishes.share) for label, n in answer.batch_limits.items()
        }
        return WorkerJoined(name, limits, answer.memory_gb, answer.sizes_gb)

    def _key(self, place: Place) -> str:
        """Return what names a place's worker among the drivers that share it."""
        if self._wishes.workers is None:
            return place.node
        taken = {kept.key for kept in self._places}
        return next(str(i) for i in count() if str(i) not in taken)

    def _make(self, kept: Kept) -> Any:
        """Make an actor for a place, or find the one that drivers share."""
        place = kept.place
        experts = [expert for expert in self._experts if expert.label in place.experts]
        options = cluster.options_of(place, kept.group)
        options |= cluster.own_environment(self._connected)
        lease = None
        if self._wishes.shared is not None:
            lease = LEASE_S
            texts = [build(), *(expert.model_dump_json() for expert in experts)]
            digest = blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()
            options |= cluster.shared_options(f"moot:{self._wishes.shared}:{kept.key}:{digest}")
        arguments = (experts, place.gpus > 0, self._wishes.gpu_gb, lease)
        actor = cluster.make_actor(RayWorker, arguments, options)
        self._handles.add(actor)
        return actor
