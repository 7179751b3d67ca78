"""What ``moot doctor --workflow`` says of models on our own GPUs: there, fitting, how often loaded.

Nothing is loaded and no library of models is imported. Loads are predicted as ``moot estimate
--fleet`` does it: a sample of the workflow's sessions is played with made-up replies by the
product's own planner, on simulated GPUs of these sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from agents.roster import LOCAL, Expert
from protocols.errors import Mistake
from workflows.checking.doctor import Check

if TYPE_CHECKING:
    from orchestrator.planner.placement import Place
    from orchestrator.spec import RunSpec
    from workflows.settings.configuration import Workflow

SAMPLE = 500
"""The most sessions that are played for a prediction."""


def examine_models(workflow: Workflow) -> list[Check]:
    """Return what was found of a workflow's models.

    Raises:
        Mistake: the workflow's data cannot be read, or an expert is none.
    """
    from workflows.questions.data_files import load_inputs
    from workflows.running.casting import Casting, run_spec

    inputs = load_inputs(workflow)
    experts = list(Casting(workflow, inputs).roster().values())
    checks = [_model(expert) for expert in experts if expert.provider in LOCAL]
    needy = [expert for expert in experts if expert.gpu_gb is not None]
    if not needy:
        return [*checks, Check("experts on GPUs", "absent", "none says gpu_gb: none needs loads")]
    if workflow.fleet.kind == "ray":
        told = "the Ray cluster's; --address looks at its nodes"
        return [*checks, Check("experts on GPUs", "absent", told)]
    try:
        places = _places(workflow, needy)
        checks += _fits(places, needy)
        spec = run_spec(workflow, inputs)
    except Mistake as mistake:
        return [*checks, Check("experts on GPUs", "bad", str(mistake))]
    return [*checks, _loads(workflow, spec, places)]


def _model(expert: Expert) -> Check:
    """Return the check of one model."""
    from agents.local_models import check_model, model_folder, weights_gb

    name = f"model {expert.label}"
    try:
        check_model(expert)
        folder = model_folder(expert)
        if folder is None:
            return Check(name, "good", f"{expert.model}: of a hub, seen when it is loaded")
        size = weights_gb(folder, str(expert.options.get("dtype", "auto")))
    except Mistake as mistake:
        return Check(name, "bad", str(mistake))
    where = "on the CPU" if expert.gpu_gb is None else f"of gpu_gb {expert.gpu_gb:g}"
    return Check(name, "good", f"{folder}: weights of {size:.3g} GB {where}")


def _places(workflow: Workflow, experts: Sequence[Expert]) -> Sequence[Place]:
    from orchestrator.fleets.local_gpus import local_places

    return local_places(experts, workflow.fleet.gpus, workflow.fleet.gpu_gb)


def _fits(places: Sequence[Place], experts: Sequence[Expert]) -> Iterator[Check]:
    """Yield what fits together on each place."""
    for number, place in enumerate(places):
        sizes = {one.label: one.gpu_gb or 0.0 for one in experts if one.label in place.experts}
        memory = place.gpu_gb or 0.0
        many = f"{place.gpus} GPUs, each " if place.gpus > 1 else ""
        yield Check(f"gpu-{number}", "good", f"{many}{memory:.3g} GB: {together(sizes, memory)}")


def together(sizes: dict[str, float], memory: float) -> str:
    """Say which experts fit into a memory at once; sizes and memory in gigabytes."""
    if sum(sizes.values()) <= memory:
        return f"all {len(sizes)} experts at once ({_listed(sizes)})"
    held: dict[str, float] = {}
    for label, size in sorted(sizes.items(), key=lambda one: (one[1], one[0])):
        if sum(held.values()) + size <= memory:
            held[label] = size
    least, sizes_down = 0, sorted(sizes.values(), reverse=True)
    while least < len(sizes_down) and sum(sizes_down[: least + 1]) <= memory:
        least += 1
    count = f"{least}" if least == len(held) else f"{least} to {len(held)}"
    return f"{count} of {len(sizes)} experts at once (as {_listed(held)})"


def _listed(sizes: dict[str, float]) -> str:
    return ", ".join(f"{label} {size:g}" for label, size in sizes.items())


def _loads(workflow: Workflow, spec: RunSpec, places: Sequence[Place]) -> Check:
    """Return how often models would be loaded."""
    from workflows.forecast.prediction import figures_of, predict

    figures = figures_of(
        workflow.fleet,
        {
            "gpus": sum(place.gpus for place in places),
            "gpu_gb": min(place.gpu_gb or 0.0 for place in places),
        },
    )
    predicted = predict(spec, figures, sample=SAMPLE)
    loads, fewest = sum(predicted.loads.values()), predicted.bounds.loads
    played = f"{predicted.sampled:,} of {predicted.sessions:,} sessions played"
    return Check(
        "predicted loads",
        "good",
        f"{loads} loads of {len(predicted.loads)} experts in {predicted.choice.mode} mode; no "
        f"order of work needs fewer than {fewest} ({played}; moot estimate --fleet tells more)",
    )
