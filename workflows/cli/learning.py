"""The verbs that make assets of what is finished: a bench, chosen aggregators, a memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.screen import put_json, say
from workflows.comparing.wording import counted_of

Out = Annotated[
    str | None, typer.Option("--out", metavar="FILE.json", help="Where the asset is written.")
]


def bench(
    source: Annotated[
        str, typer.Argument(metavar="FILE|RUN", help="Recorded answers, a profile, or a run.")
    ],
    *,
    texts: Annotated[
        str | None,
        typer.Option("--texts", metavar="FILE", help="What models wrote: id, model, text a line."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Which of several right and wrong answers are taken.")
    ] = 0,
    out: Out = None,
    questions: Annotated[
        str | None,
        typer.Option("--questions", metavar="FILE.jsonl", help="Write the bench's questions too."),
    ] = None,
    store: options.Store = "moot.db",
) -> None:
    """Make the bench of aggregators: one right and two wrong recorded answers a question.

    Candidates are tried on it by the protocol aggregator_bench:  assets: {bench: FILE.json}

    Example: moot experts bench learn.jsonl --out bench.json --questions bench.jsonl
    """
    from workflows.settings.learned import read_bench

    made = read_bench(source, store, texts, seed=seed)
    put_or_write(made.content, out, counted_of(len(made.content), "question"))
    if questions is not None:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made.questions)
        write(questions, lines)
        say(f"its questions in {questions}")


def aggregators(
    run: options.RunName,
    *,
    per: Annotated[
        Literal["task", "all"],
        typer.Option("--per", help="The best candidate of each category, or of all questions."),
    ] = "all",
    least: Annotated[
        int,
        typer.Option("--least", min=1, help="Questions that a category needs to count alone."),
    ] = 5,
    out: Out = None,
    store: options.Store = "moot.db",
) -> None:
    """Choose the aggregator that a run of aggregator_bench found best.

    Protocols with  aggregate: chosen  read it:  assets: {aggregators: FILE.json}

    Example: moot experts aggregators bench --per task --out aggregators.json
    """
    from orchestrator.store import Store
    from workflows.api import find_run
    from workflows.settings.learned import bench_scores, chosen_by_task

    with Store.read(store) as opened:
        asset = bench_scores(opened, find_run(opened, run), per=per, least=least)
    if out is not None:
        for task, candidate in chosen_by_task(asset).items():
            say(f"{task or 'all questions'}: {candidate}")
    put_or_write(asset.content, out, "chosen aggregators")


def memory(
    run: options.RunName,
    *,
    add: Annotated[
        str | None, typer.Option("--add", metavar="FILE.json", help="Add to this memory.")
    ] = None,
    most: Annotated[
        int | None, typer.Option("--most", min=1, help="Keep this many, the best scored.")
    ] = None,
    out: Out = None,
    store: options.Store = "moot.db",
) -> None:
    """Remember the best solutions that a run of xolver found, for the next run to recall.

    Sessions read it:  assets: {memory: FILE.json}

    Example: moot experts memory first --out memory.json
    """
    from orchestrator.store import Store
    from workflows.api import find_run
    from workflows.settings.learned import read_memory, run_memory

    base = None if add is None else read_memory(add)
    with Store.read(store) as opened:
        made = run_memory(opened, find_run(opened, run), base, most=most)
    put_or_write(made.model_dump(mode="json"), out, counted_of(len(made.entries), "problem"))


def put_or_write(value: Any, out: str | None, what: str) -> None:
    """Print JSON, or write it into a file."""
    if out is None:
        put_json(value)
        return
    write(out, json.dumps(value, ensure_ascii=False, indent=1) + "\n")
    say(f"{what} in {out}")


def write(path: str, text: str) -> None:
    """Write a file.

    Raises:
        Mistake: it cannot be written.
    """
    try:
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror or error}") from None
