"""The GPUs of this machine, and which experts are served on which of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from agents import machine
from agents.roster import LOCAL, Expert
from orchestrator.placement import Node, NoRoom, Place, asked, plan_places
from protocols.errors import Mistake


def found_gpus() -> list[float]:
    """Return the memory of each GPU that this process may use, in gigabytes."""
    there = machine.gpus()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [gpu.index for gpu in there] if listed is None else listed.split(",")
    found = [machine.visible_gpu_gb(there, {"CUDA_VISIBLE_DEVICES": name}) for name in names]
    return [memory for memory in found if memory is not None]


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
    if gpus is not None and gpu_gb is not None:
        memories = [gpu_gb] * gpus
    else:
        found = found_gpus()
        if len(found) < (gpus or 1):
            raise Mistake(_too_few(experts[0], len(found), gpus))
        memories = [gpu_gb or memory for memory in found[:gpus]]
    nodes = [
        Node(f"{memory:010.3f}", gpus=count, gpu_gb=memory)
        for memory, count in Counter(memories).items()
    ]
    wanted = [expert.model_copy(update={"accelerator": None}) for expert in experts]
    try:
        return plan_places(nodes, wanted)
    except NoRoom as error:
        first = error.experts[0]
        sizes = ", ".join(f"{memory:.3g}" for memory in memories)
        raise Mistake(
            f"{first.label or first.model} asks for {asked(first)}, and the GPUs here have {sizes} "
            "GB; use a smaller or quantised model, other GPUs, or a Ray fleet"
        ) from None


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
