"""The verb that writes what a store holds to files: export."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.screen import put_json, say

if TYPE_CHECKING:
    from orchestrator.store import RunRow, Store
    from workflows.settings.conversations import Transcripts

FORMATS = ("jsonl", "transcripts", "questions", "parquet", "csv", "inspect")
_WHAT = {"jsonl": "session", "transcripts": "transcript", "questions": "question"}
LINES = tuple(_WHAT)
"""What can be written to one file, or to standard output."""


def export(
    run: options.RunName,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="The folder for one file a table, or a protocol."),
    ] = None,
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
    as_json: options.Json = False,
) -> None:
    """Write a run: whole sessions as JSON lines, or its tables into a folder.

    Into a folder, --to parquet, csv or jsonl writes one file a table (runs, sessions, asks,
    replies, verdicts; their columns stand in docs/data.md), --to inspect one log of Inspect a
    protocol. Without a folder --to jsonl writes each session whole: question, asks, replies,
    outcome, gold answer.

    --to transcripts writes what was said in debates and consultancies, the file for
    assets.transcripts in a workflow of offline_judge; --to questions the questions with their gold
    answers, the file for questions.path.

    Example: moot export oversight --to parquet tables --store demo.db
    """
    from orchestrator.store import Store as Opened
    from workflows.api import find_run

    _check(to, folder, out, as_json)
    with Opened.read(store) as opened:
        found = find_run(opened, run)
        if folder is not None:
            files = _write_folder(opened, found, folder, to)
            what = "log" if to == "inspect" else "table"
            text = f"wrote {len(files)} {what}{'' if len(files) == 1 else 's'} to {folder}"
        else:
            written = _write_lines(
                opened, found, to, out, protocol=protocol, conversation=conversation
            )
            if out is None:
                return
            files = {_WHAT[to] + "s": {"path": str(out), "rows": written}}
            text = f"wrote {written:,} {_WHAT[to]}{'' if written == 1 else 's'} to {out}"
        if as_json:
            put_json({"run": found.name, "to": to, "files": files})
        else:
            say(text)


def _check(to: str, folder: Path | None, out: Path | None, as_json: bool) -> None:
    """Refuse what does not fit together.

    Raises:
        Mistake: an unknown format, or one without a place to write it to, or with two.
    """
    if to not in FORMATS:
        raise Mistake(f"--to {to!r}: there are {', '.join(FORMATS)}; jsonl holds whole sessions")
    if folder is None and to not in LINES:
        raise Mistake(f"--to {to} writes several files; say where: moot export RUN DIR --to {to}")
    if folder is not None and to in ("transcripts", "questions"):
        raise Mistake(f"--to {to} is one file: name it with --out")
    if folder is not None and out is not None:
        raise Mistake("--out names one file and DIR a folder; name one of them")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise Mistake(f"{folder} is a file; name a folder")
    if as_json and folder is None and out is None:
        raise Mistake("--json tells which files were written; name one with --out, or a folder")


def _write_folder(store: Store, run: RunRow, folder: Path, to: str) -> dict[str, Any]:
    """Write the tables of a run, or its logs; return what was written, by name."""
    if to == "inspect":
        from workflows.exports.inspect_log import write_inspect_logs

        logs = write_inspect_logs(store, run, folder)
        return {name: {"path": str(path), "rows": rows} for name, (path, rows) in logs.items()}
    from workflows.exports.table_files import FORMATS as TABLES
    from workflows.exports.table_files import write_tables

    chosen = next(one for one in TABLES if one == to)
    counts = write_tables(store, run, folder, chosen)
    return {
        table: {"path": str(folder / f"{table}.{to}"), "rows": rows}
        for table, rows in counts.items()
    }


def _write_lines(
    store: Store,
    run: RunRow,
    to: str,
    out: Path | None,
    *,
    protocol: str | None,
    conversation: int,
) -> int:
    """Write a run to one file, or to standard output; return how many of its things."""
    from workflows.exports.export import session_records
    from workflows.settings.conversations import run_questions, run_transcripts

    records = session_records(store, run)
    if to == "transcripts":
        found = run_transcripts(records, protocol=protocol, conversation=conversation)
        text = json.dumps(found.content, ensure_ascii=False, indent=1)
        _put(iter([text]), out)
        _say_what_is_left(found)
        return len(found.content)
    rows = iter(run_questions(records)) if to == "questions" else records
    return _put((json.dumps(row, ensure_ascii=False) for row in rows), out)


def _put(lines: Iterator[str], out: Path | None) -> int:
    """Write lines to a file, or to standard output; return their number."""
    if out is not None:
        return _write(out, lines)
    count = 0
    for line in lines:
        sys.stdout.write(line + "\n")
        count += 1
    return count


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
