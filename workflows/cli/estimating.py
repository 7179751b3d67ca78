"""``moot estimate``: what a run would ask, and how long it would take on a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.screen import DASH, number, put, put_json, put_table, say
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from orchestrator.spec import RunSpec
    from protocols.contract import CallBound
    from workflows.forecast.estimate import Estimate
    from workflows.forecast.needed import Needed
    from workflows.forecast.prediction import FleetFigures, Prediction
    from workflows.settings.configuration import Workflow

FLEET = "The simulated fleet"
SHARED = (
    "each protocol counts by itself; sessions that differ only in the judge share what is said\n"
    "before the judge's first turn, so the run asks less"
)


def _figure(flag: str, metavar: str, told: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=told, rich_help_panel=FLEET)


Fleet = Annotated[bool, typer.Option("--fleet", help="Also simulate the run on a fleet of GPUs.")]
Difference = Annotated[
    float | None,
    typer.Option(
        "--difference",
        metavar="SHARE",
        help="Also say how many questions show a difference in accuracy: 0.05 is 5 points.",
    ),
]
Discordance = Annotated[
    float | None,
    typer.Option(
        "--discordance",
        metavar="SHARE",
        help="For --difference: on what share of the questions two protocols differ.",
    ),
]
Sample = Annotated[
    int, typer.Option("--sample", min=1, max=2_000, help="The most sessions to simulate.")
]
Gpus = Annotated[int | None, _figure("--gpus", "N", "GPUs; the workflow's, else 1.")]
GpuGb = Annotated[
    float | None, _figure("--gpu-gb", "GB", "Memory of each; the workflow's, else 80.")
]
Slots = Annotated[
    int | None, _figure("--slots", "N", "Experts that a GPU holds at once, instead of --gpu-gb.")
]
ExpertGb = Annotated[
    float | None,
    _figure("--expert-gb", "GB", "Suppose that experts without gpu_gb need so much of a GPU."),
]
LoadS = Annotated[
    float | None, _figure("--load-s", "S", "Seconds of a load; 0.5 for each GB of the expert.")
]
StepMs = Annotated[
    float | None, _figure("--step-ms", "MS", "Milliseconds of a step; 0.625 for each GB.")
]
StepAskMs = Annotated[
    float | None, _figure("--step-ask-ms", "MS", "What each running ask adds to a step; 0.05.")
]
Batch = Annotated[int | None, _figure("--batch", "N", "Asks that a GPU runs at once; 256.")]
Tokens = Annotated[
    float | None, _figure("--tokens", "N", "Mean length of replies; an earlier run's, else 400.")
]
LatencyS = Annotated[
    float | None, _figure("--latency-s", "S", "Until a hosted expert begins to reply; 0.5.")
]
Concurrency = Annotated[
    int | None, _figure("--concurrency", "N", "Asks open at one hosted expert; 256.")
]
Measured = Annotated[
    Path | None,
    _figure("--measured", "FILE", "What benchmarks.gpu_experts wrote; other figures go before it."),
]
Requests = Annotated[
    float | None, _figure("--requests-per-minute", "N", "Rate of each hosted expert.")
]


def estimate(
    workflow: options.WorkflowFile,
    *,
    fleet: Fleet = False,
    difference: Difference = None,
    discordance: Discordance = None,
    settings: options.Settings = None,
    cast: options.Casts = None,
    casts: options.Grid = None,
    store: options.StoreOverride = None,
    gpus: Gpus = None,
    gpu_gb: GpuGb = None,
    slots: Slots = None,
    expert_gb: ExpertGb = None,
    load_s: LoadS = None,
    step_ms: StepMs = None,
    step_ask_ms: StepAskMs = None,
    batch: Batch = None,
    tokens: Tokens = None,
    latency_s: LatencyS = None,
    concurrency: Concurrency = None,
    requests: Requests = None,
    measured: Measured = None,
    sample: Sample = 2_000,
    as_json: options.Json = False,
) -> None:
    """Count what a run would ask and cost; with --fleet or --measured, predict how long it takes.

    Nothing is asked.

    Example: moot estimate skills --fleet --expert-gb 16 --gpus 2
    """
    given = {
        "gpus": gpus,
        "gpu_gb": gpu_gb,
        "slots": slots,
        "expert_gb": expert_gb,
        "load_s": load_s,
        "step_s": None if step_ms is None else step_ms / 1e3,
        "step_ask_s": None if step_ask_ms is None else step_ask_ms / 1e3,
        "batch": batch,
        "tokens": tokens,
        "latency_s": latency_s,
        "concurrency": concurrency,
        "requests_per_minute": requests,
    }
    settings = [*(settings or ()), *options.grid_settings(casts)]
    _estimate(
        *(workflow, settings, cast, given if fleet or measured else None),
        store=store,
        card=measured,
        tokens=tokens,
        sample=sample,
        needs=(difference, discordance),
        as_json=as_json,
    )


def _estimate(
    path: str,
    settings: list[str] | None,
    cast: list[str] | None,
    given: dict[str, Any] | None,
    *,
    store: str | None,
    card: Path | None,
    tokens: float | None,
    sample: int,
    needs: tuple[float | None, float | None],
    as_json: bool,
) -> None:
    """Estimate and print; `given` are the figures of a fleet to simulate, None: of none."""
    from orchestrator.sharing import sharing_entries
    from workflows.cli.costing import measured, put_cost
    from workflows.cli.needing import put_needed
    from workflows.cli.running import load
    from workflows.forecast.cost import cost
    from workflows.forecast.estimate import estimate as count
    from workflows.forecast.prediction import figures_of
    from workflows.questions.data_files import load_inputs
    from workflows.running.casting import run_spec

    measure = tokens is None
    if card is not None and given is not None:
        given = _measured(card, given)
    loaded = load(path, settings, cast, store)
    spec = run_spec(loaded, load_inputs(loaded))
    counted = count(spec)
    money = cost(spec, counted, measured=measured(loaded.store, spec.name), reply_tokens=tokens)
    need = _needed(spec, loaded, *needs)
    shown = None if need is None else need.as_json()
    told = {**counted.as_json(), "money": money.as_json(), "needed": shown}
    if not as_json:
        _put_calls(counted)
        put_cost(money)
        if sharing_entries(spec.entries):
            put(SHARED)
        if need is not None:
            put_needed(need)
    if given is None:
        if as_json:
            put_json({**told, "fleet": None})
        return
    figures = figures_of(loaded.fleet, given)
    predicted = _predict(loaded, spec, figures, sample, measure=measure)
    if as_json:
        supposed = {"figures": figures.model_dump(mode="json")}
        put_json({**told, "fleet": predicted.as_json(), **supposed})
        return
    _put_fleet(predicted, figures)
    _put_prediction(predicted)


def _needed(
    spec: RunSpec, workflow: Workflow, difference: float | None, discordance: float | None
) -> Needed | None:
    from workflows.cli.needing import needed_for

    if difference is None:
        if discordance is not None:
            raise Mistake("--discordance belongs to --difference; write  --difference 0.05 too")
        return None
    return needed_for(spec, workflow.store, difference, discordance=discordance)


def _measured(card: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that are given, and those that were measured for what is not."""
    from workflows.forecast.measured_card import read_measured
    from workflows.forecast.prediction import FleetFigures

    tokens = given["tokens"] or FleetFigures().tokens
    said = {name: value for name, value in given.items() if value is not None}
    return {"tokens": None, **read_measured(card).figures(tokens), **said}


def _predict(
    workflow: Workflow, spec: RunSpec, figures: FleetFigures, sample: int, *, measure: bool
) -> Prediction:
    from workflows.forecast.prediction import measured_lengths, predict

    sessions = len(spec.questions) * len(spec.entries) * spec.repeats
    say(f"simulating {counted_of(min(sample, sessions), 'session')}")
    measured = measured_lengths(workflow.store, spec.name) if measure else {}
    return predict(spec, figures, sample=sample, measured=measured)


def _put_calls(counted: Estimate) -> None:
    put(
        f"{counted.name}: {counted_of(counted.sessions, 'session')} of "
        f"{counted_of(counted.questions, 'question')} and "
        f"{counted_of(len(counted.entries), 'protocol')}"
    )
    put()
    rows = []
    for entry in counted.entries:
        rows.append((entry.name, f"{entry.sessions:,}", *_cells(entry.calls)))
        if len(entry.by_role) > 1:
            rows += [(f"  {role}", "", *_cells(bound)) for role, bound in entry.by_role.items()]
    rows.append(("all", f"{counted.sessions:,}", *_cells(counted.calls)))
    put_table(("protocol", "sessions", "fewest calls", "most calls"), rows)


def _cells(bound: CallBound) -> tuple[str, str]:
    return f"{bound.fewest:,}", f"{bound.most:,}"


def _put_fleet(predicted: Prediction, figures: FleetFigures) -> None:
    """Say what was supposed."""
    world = predicted.world
    put()
    if world.workers:
        loads = sorted({one.load_s for one in world.on_gpus.values()})
        steps = sorted({one.t0_s * 1e3 for one in world.on_gpus.values()})
        each = sorted({one.t1_s * 1e3 for one in world.on_gpus.values()})
        batches = sorted({float(one.batch_limit) for one in world.on_gpus.values()})
        room = f"{world.workers[0].memory_gb:g} GB"
        put(
            f"fleet: {_many(world.gpus, 'GPU')} of {room}, {_many(len(world.on_gpus), 'expert')}; "
            f"loads of {_span(loads)} s, steps of {_span(steps)} ms and "
            f"{_span(each)} ms an ask, batches of {_span(batches)}"
        )
    if world.hosted:
        put(f"hosted or in this process, never loaded: {', '.join(sorted(world.hosted))}")
        if not world.workers:
            put("(experts go onto GPUs with gpu_gb in the roster, or here with --expert-gb)")
    lengths = f"replies of {figures.tokens:g} tokens on the average"
    if predicted.measured:
        lengths += f"; as measured before: {', '.join(predicted.measured)}"
    put(
        f"{lengths}; {predicted.sampled:,} of {counted_of(predicted.sessions, 'session')} simulated"
    )


def _put_prediction(predicted: Prediction) -> None:
    report = predicted.choice.report
    put()
    if not predicted.makespan_s:
        put("predicted: nothing here takes time")
        return
    modes = ", ".join(
        f"{mode} mode {duration(predicted.seconds(mode))}" for mode in predicted.choice.reports
    )
    put(f"predicted: {duration(predicted.makespan_s)} ({modes})")
    limit = _LIMITS[predicted.bounds.which]
    put(f"no scheduling does it in less than {duration(predicted.bound_s)}: {limit}")
    if not predicted.world.workers:
        return
    shares = ((name, report.share(name) or 0.0) for name in ("busy", "loading", "idle"))
    put("GPUs: " + ", ".join(f"{name} {share:.1%}" for name, share in shares))
    put()
    rows = [
        (label, f"{predicted.loads.get(label, 0):,}", number(report.calls.get(label, 0)))
        for label in sorted(predicted.world.on_gpus)
    ]
    put_table(("expert", "loads", "asks in the sample"), rows)


_LIMITS = {
    "work": "that is the work of the GPUs",
    "setup": "that is the work of the GPUs with the loads that it needs",
    "path": "that is the longest session alone",
    "hosted": "that is what the providers allow",
}


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _span(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g}{DASH}{high:.3g}"


def duration(seconds: float) -> str:
    """Return a time for people: ``12.3 s``, ``4 min 5 s``, ``3 h 20 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
