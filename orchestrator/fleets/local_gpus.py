"""The GPUs of this machine, and which experts are served on which of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice

from agents import machine
from agents.roster import LOCAL, Expert
from orchestrator.planner.placement import Node, NoRoom, Place, asked, plan_places
from protocols.errors import Mistake


def found_gpus() -> list[tuple[int, float]]:
    """Return CUDA's number of each GPU that this process may use, and its memory in gigabytes."""
    there = machine.gpus()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [gpu.index for gpu in there] if listed is None else listed.split(",")
    found = [machine.visible_gpu_gb(there, {"CUDA_VISIBLE_DEVICES": name}) for name in names]
    return [(card, memory) for card, memory in enumerate(found) if memory is not None]


def local_places(
    experts: Sequence[Expert], gpus: int | None, gpu_gb: float | None
) -> tuple[Place, ...]:
    """Return the places of this machine for experts that need GPUs; asks for what is not told.

    Kinds of accelerators are not looked at: what is here is what there is.

    Args:
        experts: at least one, each with `gpu_gb`.
        gpus: how many GPUs to use; None is all that there are.
        gpu_gb: the memory of each; None is what each has.

    Raises:
        Mistake: too few GPUs are found, or an expert fits on none.
    """
    return tuple(place for place, _ in local_workers(experts, gpus, gpu_gb))


def local_workers(
    experts: Sequence[Expert], gpus: int | None, gpu_gb: float | None
) -> tuple[tuple[Place, tuple[int, ...]], ...]:
    """Return :func:`local_places`, each with CUDA's numbers of the GPUs that it holds."""
    if gpus is not None and gpu_gb is not None:
        cards = [(card, gpu_gb) for card in range(gpus)]
    else:
        found = found_gpus()
        if len(found) < (gpus or 1):
            raise Mistake(_too_few(experts[0], len(found), gpus))
        cards = [(card, gpu_gb or memory) for card, memory in found[:gpus]]
    alike: dict[str, list[tuple[int, float]]] = {}  # a node for each size of card
    for card, memory in cards:
        alike.setdefault(f"{memory:010.3f}", []).append((card, memory))
    nodes = [
        Node(name, gpus=len(some), gpu_gb=min(memory for _, memory in some))
        for name, some in alike.items()
    ]
    wanted = [expert.model_copy(update={"accelerator": None}) for expert in experts]
    try:
        places = plan_places(nodes, wanted)
    except NoRoom as error:
        first = error.experts[0]
        sizes = ", ".join(f"{memory:.3g}" for _, memory in cards)
        raise Mistake(
            f"{first.label or first.model} asks for {asked(first)}, and the GPUs here have {sizes} "
            "GB; use a smaller or quantised model, other GPUs, or a Ray fleet"
        ) from None
    free = {name: iter([card for card, _ in some]) for name, some in alike.items()}
    return tuple((place, tuple(islice(free[place.node], place.gpus))) for place in places)


def _too_few(expert: Expert, found: int, gpus: int | None) -> str:
    verb = "was" if found == 1 else "were"
    missing = f"{found} of {gpus} GPUs {verb}" if found else "no GPU was"
    if expert.provider in LOCAL:
        return (
            f"{expert.label or expert.model} needs a GPU (gpu_gb), and {missing} found here; leave "
            "gpu_gb out to run the model on the CPU, or use a fleet that has GPUs"
        )
    return (
        f"{expert.label or expert.model} needs a GPU (gpu_gb), and {missing} found here; give the "
        "fleet's gpus and gpu_gb (simulated experts need no real ones), or serve the model "
        "elsewhere and give its base_url"
    )
