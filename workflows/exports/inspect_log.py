"""A run as logs of Inspect (``inspect_ai``), which its viewer and its data frames read.

One log for each protocol of the run: a session is a sample, in it the question with its options
and its gold answer as the target (this is for people; no session ever saw it), what each seat
said as messages, every attempt as a model event with its prompt, how right the outcome is as the
score ``moot``, tokens and list prices by model and by role. Several sessions on one question
(repeats, branches) are epochs. The form is that of Inspect's own classes, written by its own
writer (``inspect_ai.log.write_eval_log``), so its version is that of the installed Inspect.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import Mistake
from workflows.exports.export import FORMAT, Record, session_records
from workflows.exports.inspect_sample import SCORER, make_sample, sum_usage

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample, EvalScore, EvalSpec
    from inspect_ai.model import ModelConfig, ModelUsage

    from orchestrator.store import RunRow, SessionRow, Store

NO_MODEL = "none/none"
"""What Inspect calls a task without one model; several experts stand in ``model_usage``."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def write_inspect_logs(store: Store, run: RunRow, folder: Path) -> dict[str, tuple[Path, int]]:
    """Write one ``.eval`` file for each protocol of a run.

    The sessions of one protocol are held in memory at a time, as Inspect's writer takes a log
    whole.

    Args:
        store: the store, open for reading at least.
        run: the run.
        folder: where the logs go; it is made where it is missing.

    Returns:
        By protocol, as the table calls it, the file and the number of its samples.

    Raises:
        Mistake: Inspect is not installed, or the folder cannot be written.
    """
    require_inspect()
    from inspect_ai.log import write_eval_log

    from workflows.comparing.results import WANTED

    rows: dict[str, list[SessionRow]] = {}
    for page in store.session_pages(run.id, statuses=WANTED):
        for row in page:
            rows.setdefault(row.entry, []).append(row)
    written: dict[str, tuple[Path, int]] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, sessions in rows.items():
            log = make_log(run, name, session_records(store, run, sessions))
            path = folder / f"{_file_name(run.name, name, list(rows))}.eval"
            draft = path.with_suffix(".part.eval")
            write_eval_log(log, str(draft), format="eval")
            draft.replace(path)
            written[name] = (path, len(log.samples or ()))
    except OSError as error:
        raise Mistake(
            f"{folder}: cannot be written ({error.strerror or error}); name another folder"
        ) from None
    return written


def require_inspect() -> None:
    """Import Inspect.

    Raises:
        Mistake: it is not installed.
    """
    try:
        import inspect_ai  # noqa: F401
    except ImportError:
        raise Mistake("inspect_ai is not installed: pip install 'moot[inspect]'") from None


def make_log(run: RunRow, name: str, records: Iterator[Record]) -> EvalLog:
    """Return the log of one protocol of a run.

    Args:
        run: the run.
        name: the protocol, as the table calls it.
        records: its sessions; those that have not ended are counted, and are no samples.
    """
    from inspect_ai.log import EvalLog, EvalPlan, EvalPlanStep, EvalResults, EvalStats

    samples: list[EvalSample] = []
    epochs: Counter[str] = Counter()
    models: dict[str, set[str]] = {}
    count = 0
    first: Record = {}
    for record in records:
        first = first or record
        count += 1
        _note_models(record, models)
        if record["status"] != "pending":
            epochs[record["question"]["id"]] += 1
            samples.append(make_sample(run, record, epochs[record["question"]["id"]]))
    spec = _spec(run, name, first, epochs, models)
    parameters = first.get("parameters", {})
    return EvalLog(
        status="success" if run.status == "finished" else "cancelled",
        eval=spec,
        plan=EvalPlan(steps=[EvalPlanStep(solver=spec.solver or name, params=parameters)]),
        results=EvalResults(
            total_samples=count, completed_samples=len(samples), scores=[_summary(samples)]
        ),
        stats=EvalStats(
            started_at=run.created_at,
            completed_at=run.finished_at or "",
            model_usage=_added([sample.model_usage for sample in samples]),
            role_usage=_added([sample.role_usage for sample in samples]),
        ),
        samples=samples,
    )


def _spec(
    run: RunRow, name: str, first: Record, epochs: Counter[str], models: dict[str, set[str]]
) -> EvalSpec:
    """Return what a log says of the protocol, the questions and the experts."""
    from inspect_ai.log import EvalConfig, EvalDataset, EvalSpec

    return EvalSpec(
        eval_id=f"{run.config_hash[:16]}-{run.id}-{name}",
        run_id=run.name,
        created=run.created_at,
        task=f"moot/{name}",
        task_id=f"{run.name}/{name}",
        task_version=first.get("version", 0),
        solver=f"moot/{first.get('protocol', name)}",
        solver_args=first.get("parameters"),
        dataset=EvalDataset(name=run.name, samples=len(epochs), sample_ids=list(epochs)),
        model=_only_model(set().union(*models.values())),
        model_roles=_roles(models),
        config=EvalConfig(epochs=max(epochs.values(), default=1)),
        packages=dict(run.packages),
        metadata={
            "moot_format": FORMAT,
            "run": run.name,
            "protocol": name,
            "config_hash": run.config_hash,
            "code_revision": run.code_revision,
            "config": json.loads(run.config_json),
        },
    )


def _added(usages: Sequence[dict[str, ModelUsage]]) -> dict[str, ModelUsage]:
    by_name: dict[str, list[ModelUsage]] = {}
    for usage in usages:
        for name, one in usage.items():
            by_name.setdefault(name, []).append(one)
    return {name: sum_usage(some) for name, some in by_name.items()}


def _summary(samples: Sequence[EvalSample]) -> EvalScore:
    """Return the accuracy over the sessions that are scored: the missing are left out."""
    from inspect_ai.log import EvalMetric, EvalScore

    values = [float(str(one.scores[SCORER].value)) for one in samples if one.scores]
    mean = sum(values) / len(values) if values else float("nan")
    return EvalScore(
        name=SCORER,
        scorer=SCORER,
        scored_samples=len(values),
        unscored_samples=len(samples) - len(values),
        metrics={"accuracy": EvalMetric(name="accuracy", value=mean)},
    )


def _note_models(record: Record, models: dict[str, set[str]]) -> None:
    """Add the models that were asked in each role."""
    for ask in (ask for turn in record["turns"] for ask in turn):
        models.setdefault(ask["role"], set()).add(ask["model"])


def _only_model(models: Collection[str]) -> str:
    return next(iter(models)) if len(models) == 1 else NO_MODEL


def _roles(models: dict[str, set[str]]) -> dict[str, ModelConfig | list[ModelConfig]]:
    """Return the models of each role: one, or a list of them."""
    from inspect_ai.model import ModelConfig

    made = {role: [ModelConfig(model=one) for one in sorted(some)] for role, some in models.items()}
    return {role: some[0] if len(some) == 1 else some for role, some in made.items()}


def _file_name(run: str, name: str, names: Sequence[str]) -> str:
    """Return a file's name for one protocol of a run, another one for each."""
    safe = [_UNSAFE.sub("_", one).strip("._") or "protocol" for one in names]
    place = [*names].index(name)
    number = "" if safe.count(safe[place]) == 1 else f"_{place + 1}"
    return f"{_UNSAFE.sub('_', run)}_{safe[place]}{number}"
