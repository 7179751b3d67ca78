"""Placement: from a cluster's nodes and the experts' needs to places for workers. Pure.

Rules.

1. Experts without ``gpu_gb`` are served by *API places*: one on each node that has CPUs, or as many
   as asked for, dealt out over those nodes.
2. Every expert with ``gpu_gb`` gets a *GPU place* that holds as many GPUs as it spreads over, all
   on one node, of its kind of accelerator and with memory enough. Experts that need the same share
   it. Who needs most GPUs is placed first; who names no accelerator leaves those alone that others
   name, where possible.
3. GPUs that are left become further places: for single GPUs where an expert fits one, else for
   several.
4. An expert for whose number of GPUs no place is left shares a place that holds more of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agents.roster import Expert
from protocols.errors import Mistake

API_CPUS = 0.1
"""What an API worker takes of a node: it waits for servers most of the time."""


@dataclass(frozen=True, slots=True)
class Node:
    """One living node of a cluster."""

    id: str
    cpus: float = 0.0
    gpus: int = 0
    accelerator: str = ""
    """The kind of its GPUs, in Ray's words; "" where nobody said."""
    gpu_gb: float | None = None
    """The memory of each of its GPUs in gigabytes, where it is known."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one worker belongs."""

    node: str
    """"" is any node."""
    gpus: int = 0
    """0: a place for experts that need none."""
    accelerator: str = ""
    """The kind of its GPUs; "" is any."""
    gpu_gb: float | None = None
    """The memory of each of its GPUs, where it is known."""
    experts: tuple[str, ...] = ()
    """Labels of those that it may host."""

    @property
    def kind(self) -> tuple[int, str]:
        """What places that can stand in for each other have in common."""
        return self.gpus, self.accelerator


class NoRoom(Mistake):
    """The cluster does not offer what some experts ask for."""

    def __init__(self, experts: Sequence[Expert], nodes: Sequence[Node], limit: int | None) -> None:
        self.experts = tuple(experts)
        """Those without a place."""
        first = experts[0]
        more = f" (and {len(experts) - 1} more experts like it)" if len(experts) > 1 else ""
        told = "" if limit is None else f", of which the fleet may take {limit}"
        super().__init__(
            f"{first.label or first.model} asks for {asked(first)}{more}, but the cluster offers "
            f"{offered(nodes)}{told}; add such a node, or change the expert's gpu_gb, gpus or "
            "accelerator"
        )


def plan_places(
    nodes: Iterable[Node],
    experts: Iterable[Expert],
    *,
    workers: int | None = None,
    gpus: int | None = None,
) -> tuple[Place, ...]:
    """Return the places of a fleet; GPU places of several GPUs come first.

    Args:
        nodes: those that live.
        experts: those that the fleet serves.
        workers: how many API places; None is one on each node that has CPUs.
        gpus: the most GPUs to take; None is all.

    Raises:
        NoRoom: an expert fits nowhere.
    """
    nodes = sorted(nodes, key=lambda node: node.id)
    experts = tuple(experts)
    on_gpus = [expert for expert in experts if expert.gpu_gb is not None]
    others = tuple(expert.label for expert in experts if expert.gpu_gb is None)
    return (
        *(_gpu_places(nodes, on_gpus, gpus) if on_gpus else ()),
        *(_api_places(nodes, others, workers) if others else ()),
    )


def fits(expert: Expert, accelerator: str, gpu_gb: float | None) -> bool:
    """Whether an expert runs on GPUs of that kind and memory; unknown memory is not held against.

    The number of GPUs is not looked at.
    """
    kind = expert.accelerator in (None, "", accelerator)
    return kind and (gpu_gb is None or (expert.gpu_gb or 0.0) <= gpu_gb)


def missing_places(
    planned: Iterable[Place], kept: Iterable[Place], *, workers: int | None
) -> list[Place]:
    """Return the planned places that nobody keeps yet.

    Kept places stand for planned ones of their kind, on the same node first: a worker that moved
    to another node when its own died is not one too few.

    Args:
        planned: of :func:`plan_places`, with the nodes that live now.
        kept: those that have a keeper.
        workers: how many API places are wanted; None is one a node, wherever others stand.
    """
    kept = list(kept)
    here = Counter((place.kind, place.node) for place in kept)
    spare = Counter(place.kind for place in kept)
    without = []
    for place in planned:
        if here[place.kind, place.node]:
            here[place.kind, place.node] -= 1
            spare[place.kind] -= 1
        else:
            without.append(place)
    found = []
    for place in without:
        if spare[place.kind] > 0 and (place.gpus or workers is not None):
            spare[place.kind] -= 1
        else:
            found.append(place)
    return found


def share_of(limit: int, share: tuple[int, int]) -> int:
    """Return one driver's part of a batch limit; the parts add up to it, but none is 0.

    Args:
        limit: what the engine runs at once.
        share: (which driver, how many).
    """
    driver, drivers = share
    return max(1, (limit + drivers - 1 - driver) // drivers)


def asked(expert: Expert) -> str:
    """Return what an expert asks for, in words."""
    kind = f" {expert.accelerator}" if expert.accelerator else ""
    each = "each with " if expert.gpus > 1 else "with "
    return f"{expert.gpus} GPU{'s' * (expert.gpus > 1)}{kind} {each}{expert.gpu_gb or 0.0:g} GB"


def offered(nodes: Iterable[Node]) -> str:
    """Return which GPUs there are, in words: ``4 x A100 of 80 GB on one node``."""
    kinds = Counter(
        (node.gpus, node.accelerator, node.gpu_gb)
        for node in sorted(nodes, key=lambda node: node.id)
        if node.gpus
    )
    if not kinds:
        return "no GPU"
    words = []
    for (count, accelerator, memory), times in kinds.items():
        size = "" if memory is None else f" of {memory:g} GB"
        where = "one node" if times == 1 else f"each of {times} nodes"
        words.append(f"{count} x {accelerator or 'GPU'}{size} on {where}")
    return ", ".join(words)


def _api_places(
    nodes: Sequence[Node], experts: tuple[str, ...], workers: int | None
) -> list[Place]:
    able = [node.id for node in nodes if node.cpus >= API_CPUS]
    wanted = workers or max(1, len(able))
    return [Place(able[i % len(able)] if able else "", experts=experts) for i in range(wanted)]


@dataclass(slots=True)
class _Ground:
    """What is given out so far."""

    free: dict[str, int]
    """Node to GPUs that nobody has."""
    left: int
    """How many more may be taken in all."""
    places: list[Place] = field(default_factory=list)

    def take(self, node: Node, gpus: int) -> None:
        self.free[node.id] -= gpus
        self.left -= gpus
        self.places.append(Place(node.id, gpus, node.accelerator, node.gpu_gb))

    def room(self, node: Node) -> int:
        return min(self.free[node.id], self.left)


def _gpu_places(nodes: list[Node], experts: list[Expert], limit: int | None) -> list[Place]:
    total = sum(node.gpus for node in nodes)
    ground = _Ground({node.id: node.gpus for node in nodes}, total if limit is None else limit)
    homeless = _place_each(ground, nodes, experts)
    if homeless:
        raise NoRoom(homeless, nodes, limit)
    _use_the_rest(ground, nodes, experts)
    hosted = [_with_experts(place, ground.places, experts) for place in ground.places]
    return sorted(hosted, key=lambda place: -place.gpus)


def _place_each(ground: _Ground, nodes: list[Node], experts: list[Expert]) -> list[Expert]:
    """Give every expert a place; return those for which there is none."""
    named = {expert.accelerator for expert in experts if expert.accelerator}

    def need(expert: Expert) -> tuple[int, bool, float, str]:
        return -expert.gpus, not expert.accelerator, -(expert.gpu_gb or 0.0), expert.label

    homeless = []
    for expert in sorted(experts, key=need):
        fitting = [
            place for place in ground.places if fits(expert, place.accelerator, place.gpu_gb)
        ]
        if any(place.gpus == expert.gpus for place in fitting):
            continue
        able = [
            node
            for node in nodes
            if ground.room(node) >= expert.gpus and fits(expert, node.accelerator, node.gpu_gb)
        ]
        if able:
            best = min(able, key=lambda node: _cost(node, ground, named, expert))
            ground.take(best, expert.gpus)
        elif not any(place.gpus > expert.gpus for place in fitting):
            homeless.append(expert)
    return homeless


def _cost(
    node: Node, ground: _Ground, named: set[str], expert: Expert
) -> tuple[bool, float, int, str]:
    """Return what speaks against a node: others need its kind, more memory, more room."""
    needed_by_others = not expert.accelerator and node.accelerator in named
    return needed_by_others, node.gpu_gb or 0.0, ground.free[node.id], node.id


def _use_the_rest(ground: _Ground, nodes: list[Node], experts: list[Expert]) -> None:
    """Make places of the GPUs that are left."""
    for node in nodes:
        widths = {e.gpus for e in experts if fits(e, node.accelerator, node.gpu_gb)}
        while possible := [width for width in widths if width <= ground.room(node)]:
            counts = Counter(place.gpus for place in ground.places)
            ground.take(node, min(possible, key=lambda w: (w > 1, counts[w], w)))


def _with_experts(place: Place, places: list[Place], experts: list[Expert]) -> Place:
    """Return the place with those that it hosts: who fits, and has no narrower place."""
    labels = []
    for expert in experts:
        widths = [
            other.gpus
            for other in places
            if other.gpus >= expert.gpus and fits(expert, other.accelerator, other.gpu_gb)
        ]
        fitting = fits(expert, place.accelerator, place.gpu_gb)
        if fitting and place.gpus == min(widths, default=0):
            labels.append(expert.label)
    return Place(place.node, place.gpus, place.accelerator, place.gpu_gb, tuple(labels))
