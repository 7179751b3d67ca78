"""The verb that writes what a store holds to a file: export."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.screen import say

if TYPE_CHECKING:
    from workflows.conversations import Transcripts

FORMATS = ("jsonl", "transcripts", "questions")


def export(
    run: options.RunName,
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="|".join(FORMATS), help="What is written.")
    ] = "jsonl",
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write; by default standard output.")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", metavar="NAME", help="Whose transcripts, if several have some."),
    ] = None,
    conversation: Annotated[
        int,
        typer.Option("--conversation", metavar="N", min=1, help="Which of several on a question."),
    ] = 1,
    store: options.Store = "moot.db",
) -> None:
    """Write the sessions of a run as JSON lines: question, asks, replies, outcome, gold answer.

    --to transcripts writes what was said in debates and consultancies, the file for
    assets.transcripts in a workflow of offline_judge; --to questions the questions with their gold
    answers, the file for questions.path.

    Example: moot export oversight --to transcripts --out said.json --store demo.db
    """
    from orchestrator.store import Store as Opened
    from workflows.api import find_run
    from workflows.conversations import run_questions, run_transcripts
    from workflows.export import session_records

    if to not in FORMATS:
        raise Mistake(f"--to {to!r}: there are {', '.join(FORMATS)}; jsonl holds whole sessions")
    with Opened.read(store) as opened:
        records = session_records(opened, find_run(opened, run))
        if to == "transcripts":
            found = run_transcripts(records, protocol=protocol, conversation=conversation)
            text = json.dumps(found.content, ensure_ascii=False, indent=1)
            _put(iter([text]), out, "transcript", len(found.content))
            _say_what_is_left(found)
        else:
            rows = iter(run_questions(records)) if to == "questions" else records
            lines = (json.dumps(row, ensure_ascii=False) for row in rows)
            _put(lines, out, "question" if to == "questions" else "session", None)


def _put(lines: Iterator[str], out: Path | None, what: str, count: int | None) -> None:
    """Write lines to a file, or to standard output."""
    if out is None:
        for line in lines:
            sys.stdout.write(line + "\n")
        return
    written = _write(out, lines)
    count = written if count is None else count
    say(f"wrote {count:,} {what}{'' if count == 1 else 's'} to {out}")


def _say_what_is_left(found: Transcripts) -> None:
    """Say what is not in the transcripts that were written."""
    if found.several:
        say(
            f"note: {found.protocol} held several conversations on {found.several:,} questions; "
            "--conversation 2 writes the second one"
        )
    if found.skipped:
        say(f"note: {found.skipped:,} sessions of {found.protocol} hold no finished conversation")


def _write(path: Path, lines: Any) -> int:
    """Write lines beside `path` and put them in its place once all are there."""
    draft = path.with_name(path.name + ".part")
    count = 0
    try:
        with draft.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(line + "\n")
                count += 1
        draft.replace(path)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written ({error.strerror}); name another file") from None
    return count
