"""The verbs that read a store for people: replay and show."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.screen import (
    DASH,
    command_name,
    put,
    put_json,
    put_table,
    put_text,
    say,
    store_option,
    text_width,
)
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from orchestrator.replay import ReplayReport
    from orchestrator.store import RunRow, SessionRow, Store

DIVERGED = 4
LISTED = 20


def replay(
    run: options.RunName,
    store: options.Store = "moot.db",
    session: Annotated[
        list[int] | None,
        typer.Option(
            "--session", metavar="ID", help="Only this session; where it differs. Repeats."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Rebuild every transcript and outcome of a run with no model call, and compare with the store.

    Exit code 4 where a session differs. Example: moot replay skills --store demo.db
    """
    from workflows.api import replay as replay_run

    began = time.monotonic()
    report = replay_run(run, store=store, sessions=session)
    if as_json:
        put_json(report.as_json())
    else:
        for line in replay_lines(report, time.monotonic() - began, store, each=bool(session)):
            put(line)
    if report.diverged or report.stale:
        raise typer.Exit(DIVERGED)


def replay_lines(
    report: ReplayReport, seconds: float, store: str, *, each: bool = False
) -> list[str]:
    """Return what a replay showed; with `each`, a line for every session that is not identical."""
    if not report.diverged and not report.stale:
        unfinished = f" ({report.incomplete:,} of them not finished)" if report.incomplete else ""
        line = f"Replayed {_sessions(report.sessions)}: identical{unfinished}, "
        return [line + f"{report.model_calls} model calls, {seconds:.1f} s."]
    if each:
        return [_detail(one) for one in report.details]
    said = []
    if report.diverged:
        said.append(
            f"{report.diverged:,} of {_sessions(report.sessions)} diverged from the store: "
            f"{_listed(report, 'diverged')}."
        )
    if report.stale:
        verb = "is" if report.stale == 1 else "are"
        said.append(f"{report.stale:,} {verb} stale: {_listed(report, 'stale')}.")
    first = (report.diverged_sessions or report.stale_sessions)[0]
    said.append(
        f" {command_name()} replay {report.name} {store_option(store)} --session {first} "
        "shows where."
    )
    return [" ".join(said)]


def _sessions(count: int) -> str:
    return f"{count:,} session" + ("" if count == 1 else "s")


def _listed(report: ReplayReport, verdict: str) -> str:
    found = [one for one in report.details if one.verdict == verdict]
    words = [f"{one.session} ({one.reason})" for one in found[:5]]
    return ", ".join(words) + (f" and {len(found) - 5:,} more" if len(found) > 5 else "")


def _detail(one: Any) -> str:
    where = "" if one.turn is None else f" at turn {one.turn}, slot {one.slot or 0} (from 0)"
    return f"session {one.session}: {one.verdict}: {one.reason}{where}"


def show(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="By default the newest run.")
    ] = None,
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="A session's id; by default a list.")
    ] = None,
    *,
    disagree: Annotated[
        bool,
        typer.Option("--disagree", help="Questions on which the protocols answer differently."),
    ] = False,
    question: Annotated[
        str | None, typer.Option("--question", metavar="ID", help="All sessions on a question.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="The most questions with --disagree, or sessions."),
    ] = None,
    graph: Annotated[
        str | None,
        typer.Option(
            "--graph", metavar="FILE", help="Draw whom SESSION recruited: .png, .svg, .pdf, .json."
        ),
    ] = None,
    store: options.Store = "moot.db",
    as_json: options.Json = False,
) -> None:
    """Show transcripts: who said what, which quotations hold, how it ended, and what is right.

    Example: moot show skills --disagree --store demo.db
    """
    from orchestrator.store import Store as Opened

    with Opened.read(store) as opened:
        found = _run(opened, run)
        rows = _chosen(opened, found, session, question)
        if graph is not None:
            _draw_graph(rows, graph)
        if disagree:
            _show_differing(opened, found, rows, limit or 3, as_json=as_json)
        elif session is None and question is None:
            _show_list(opened, found, rows, limit or LISTED, as_json=as_json)
        else:
            _show_transcripts(opened, found, rows, as_json=as_json)


def _run(store: Store, name: str | None) -> RunRow:
    from workflows.api import find_run

    if name is not None:
        return find_run(store, name)
    runs = store.runs()
    if not runs:
        raise Mistake(f"{store.shown} holds no run yet; moot run WORKFLOW makes one")
    return runs[-1]


def _chosen(
    store: Store, run: RunRow, session: str | None, question: str | None
) -> list[SessionRow]:
    """Return the sessions that are wanted, in their order.

    Raises:
        Mistake: there is no such session or question in the run.
    """
    from agents.settings import suggestion
    from workflows.comparing.results import WANTED

    if session is not None:
        everything = store.sessions(run.id)
        rows = [row for row in everything if session in (str(row.id), row.key)]
        rows = rows or [r for r in everything if len(session) >= 6 and r.key.startswith(session)]
        if not rows:
            ids = [row.id for row in everything]
            known = f"they are {min(ids)} to {max(ids)}" if ids else "it has none"
            raise Mistake(f"run {run.name!r} has no session {session!r}; {known}")
        return rows[:1]
    rows = store.sessions(run.id, statuses=WANTED)
    if question is None:
        return rows
    chosen = [row for row in rows if row.question_id == question]
    if not chosen:
        hint = suggestion(question, {row.question_id for row in rows})
        raise Mistake(f"run {run.name!r} asks no question {question!r}; {hint}")
    return chosen


def _show_transcripts(
    store: Store, run: RunRow, rows: Sequence[SessionRow], *, as_json: bool
) -> None:
    from workflows.exports.export import session_records

    records = list(session_records(store, run, rows))
    if as_json:
        put_json(records)
        return
    for record in records:
        _put_transcript(record)


def _put_transcript(record: dict[str, Any], *, question: bool = True) -> None:
    """Print a transcript; on a terminal what holds is green and what does not is red."""
    from rich.text import Text

    from workflows.cli.screen import clean
    from workflows.exports.transcripts import transcript

    for line in transcript(record, text_width(), question=question):
        text = Text(clean(line))
        text.highlight_regex(r"✓( right)?", "green")
        text.highlight_regex(r"✗ (wrong|not in the passage)", "red")
        put_text(text)
    put()


def _draw_graph(rows: Sequence[SessionRow], path: str) -> None:
    """Draw the recruitment of the one session that is wanted."""
    import json

    from workflows.recruiting.recruitment_picture import draw_recruitment

    if len(rows) != 1:
        raise Mistake(
            f"--graph draws one session, not {len(rows):,}; name it: moot show RUN SESSION"
        )
    row = rows[0]
    outcome = None if row.outcome_json is None else json.loads(row.outcome_json)
    draw_recruitment(outcome, path, title=f"{row.entry}, question {row.question_id}")
    say(f"drawn in {path}")


def _show_differing(
    store: Store, run: RunRow, rows: Sequence[SessionRow], limit: int, *, as_json: bool
) -> None:
    from workflows.comparing.results import session_outcome
    from workflows.exports.export import session_records
    from workflows.exports.transcripts import question_lines

    endings: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        outcome = session_outcome(row)
        ending = (row.status, "") if outcome is None else (outcome.status, outcome.answer or "")
        endings.setdefault(row.question_id, set()).add(ending)
    differ = [question for question, found in endings.items() if len(found) > 1]
    shown = set(differ if as_json else differ[:limit])
    records = list(session_records(store, run, [row for row in rows if row.question_id in shown]))
    if as_json:
        put_json(records)
        return
    for question in sorted(shown, key=differ.index):
        group = [record for record in records if record["question"]["id"] == question]
        put(f"question {question}   gold {_cell(group[0]['gold'])}")
        for line in question_lines(group[0]["question"], text_width()):
            put(line)
        put()
        for record in group:
            _put_transcript(record, question=False)
    say(
        f"{run.name}: protocols end differently on {len(differ):,} of "
        + counted_of(len(endings), "question")
        + (f"; --limit {len(differ)} shows all" if len(differ) > limit else "")
    )


def _show_list(
    store: Store, run: RunRow, rows: Sequence[SessionRow], limit: int, *, as_json: bool
) -> None:
    """Print the sessions of a run, one a line."""
    from workflows.cli.tables import put_wrapped
    from workflows.comparing.results import answer_key, session_outcome
    from workflows.simulated import simulated_in, simulated_line

    key, simulated = answer_key(run), simulated_in(run)
    listed = []
    for row in rows if as_json else rows[:limit]:
        outcome = session_outcome(row)
        correct = None if outcome is None else key.correctness(outcome, row.question_id)
        listed.append(
            {
                "session": row.id,
                "protocol": row.entry,
                "question": row.question_id,
                "ended": row.status if outcome is None else outcome.status,
                "answer": None if outcome is None else outcome.answer,
                "gold": key.gold.get(row.question_id),
                "correct": correct,
            }
        )
    if as_json:
        put_json({"run": run.name, "sessions": listed, "simulated": list(simulated)})
        return
    header = ("session", "protocol", "question", "ended", "answer", "gold", "correct")
    marks: dict[object, str] = {None: "", 1.0: "✓", 0.0: "✗"}
    put_table(
        header,
        [
            [marks.get(v, f"{v}") if k == "correct" else _cell(v) for k, v in one.items()]
            for one in listed
        ],
        left=len(header),
    )
    if simulated:
        put()
        put_wrapped(simulated_line(simulated))
    more = f"; --limit {len(rows)} lists all" if len(rows) > limit else ""
    command = f"{command_name()} show {run.name} SESSION"
    say(f"\n{len(listed):,} of {_sessions(len(rows))}{more}; {command} shows a transcript")


def _cell(value: Any) -> str:
    return DASH if value is None else str(value)
