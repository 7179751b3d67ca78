"""The rows of the tables in ``columns.py``, read from a store a few hundred sessions at a time.

Nothing here holds a whole run: each function yields lists of rows, so that a run of any size can
be written to a file. Outcomes are joined with the answer key as the run's own table joins them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agents.grading import grade
from protocols.canonical import canonical_json
from protocols.outcome import Outcome
from protocols.question import LABELS
from workflows.exports.columns import TABLES, TableName
from workflows.questions.answer_key import AnswerKey

if TYPE_CHECKING:
    from orchestrator.store import RunRow, SessionRow, Store

Rows = list[dict[str, Any]]

SESSIONS_AT_ONCE = 1_000
"""Sessions whose outcomes are read at once."""
TRANSCRIPTS_AT_ONCE = 200
"""Sessions whose asks or replies are read at once; a text may be long."""
_EVEN = 1e-9
_NEVER_ENDED = dict.fromkeys(
    (
        *("ended", "answer", "correct", "missing", "p_gold", "score", "answered_by", "rule"),
        *("tie_rule", "tie_broken", "boundary", "unparsed", "failures", "distribution"),
        *("readings", "votes", "detail"),
    )
)


def table_rows(
    store: Store, runs: Sequence[RunRow], table: TableName, *, messages: bool = False
) -> Iterator[Rows]:
    """Yield the rows of a table, of one run after the other, in their sessions' order.

    Args:
        store: the store, open for reading at least.
        runs: the runs.
        table: which table.
        messages: of ``asks``, whether the prompts are read.
    """
    if table == "runs":
        yield [_run_row(store, run) for run in runs]
        return
    for run in runs:
        if table == "sessions":
            yield from _session_rows(store, run)
        elif table == "verdicts":
            yield from _verdict_rows(store, run)
        else:
            yield from _slot_rows(store, run, table, messages=messages)


def _pages(store: Store, run: RunRow, at_once: int) -> Iterator[list[SessionRow]]:
    from workflows.comparing.results import WANTED

    return store.session_pages(run.id, statuses=WANTED, at_once=at_once)


def _run_row(store: Store, run: RunRow) -> dict[str, Any]:
    from workflows.comparing.results import WANTED

    counts = dict.fromkeys(WANTED, 0)
    for page in _pages(store, run, SESSIONS_AT_ONCE):
        for session in page:
            counts[session.status] += 1
    return {
        "run_id": run.id,
        "run": run.name,
        "status": run.status,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
        "parent": run.parent,
        "config_hash": run.config_hash,
        "code_revision": run.code_revision,
        "sessions": sum(counts.values()),
        "finished": counts["finished"],
        "failed": counts["failed"],
        **store.run_spent(run.id, statuses=WANTED),
        "config": run.config_json,
        "packages": canonical_json(dict(run.packages)),
    }


def _session_rows(store: Store, run: RunRow) -> Iterator[Rows]:
    from orchestrator.store.paging import NOTHING_SPENT
    from workflows.comparing.results import answer_key

    key = answer_key(run)
    for page in _pages(store, run, SESSIONS_AT_ONCE):
        parts = {id for one in page for id in (one.question_part, one.cast_part)}
        documents = {id: json.loads(text) for id, text in store.documents(parts).items()}
        parameters = store.documents({one.parameters_part for one in page})
        spent = store.session_spent([one.id for one in page])
        casts = {one.cast_part: _cast_json(documents[one.cast_part]) for one in page}
        yield [
            {
                **_about(run, one),
                **_facts(one, documents[one.question_part]),
                **_ending(one, key),
                **spent.get(one.id, NOTHING_SPENT),
                "cast": casts[one.cast_part],
                "parameters": parameters[one.parameters_part],
            }
            for one in page
        ]


def _about(run: RunRow, session: SessionRow) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "run": run.name,
        "session": session.id,
        "protocol": session.entry,
        "question_id": session.question_id,
    }


def _facts(session: SessionRow, question: dict[str, Any]) -> dict[str, Any]:
    return {
        "ordinal": session.ordinal,
        "kind": session.kind,
        "version": session.version,
        "cluster": question["cluster"] or session.question_id,
        "category": question["category"],
        "subject": question["subject"],
        "seed": session.seed,
        "repeat": session.repeat,
        "parent": session.parent,
        "fork_turn": session.fork_turn,
        "status": session.status,
        "message": session.message,
        "key": session.key,
        "question": question["text"],
        "options": canonical_json(question["options"]),
    }


def _ending(session: SessionRow, key: AnswerKey) -> dict[str, Any]:
    gold = key.gold.get(session.question_id)
    outcome = _single_outcome(session)
    if outcome is None:
        return {**_NEVER_ENDED, "gold": gold, "detail": session.outcome_json}
    spread = None if outcome.distribution is None else list(outcome.distribution)
    return {
        "ended": outcome.status,
        "answer": outcome.answer,
        "gold": gold,
        "correct": key.correctness(outcome, session.question_id),
        "missing": outcome.missing,
        "p_gold": _p_gold(outcome.distribution, gold),
        "score": outcome.score,
        "answered_by": outcome.answered_by,
        "rule": outcome.rule,
        "tie_rule": outcome.tie_rule,
        "tie_broken": outcome.tie_broken,
        "boundary": outcome.boundary,
        "unparsed": outcome.unparsed,
        "failures": canonical_json(outcome.failures),
        "distribution": None if spread is None else canonical_json(spread),
        "readings": canonical_json([list(one) for one in outcome.readings]),
        "votes": canonical_json(outcome.votes),
        "detail": canonical_json(outcome.detail),
    }


def _single_outcome(session: SessionRow) -> Outcome | None:
    """Return the outcome of a session; None while it has none, and of one that ended with several.

    The outcomes of a group have no place in a row of their own; they stand in ``detail``.
    """
    text = session.outcome_json
    return None if text is None or text.startswith("[") else Outcome.from_json(text)


def _cast_json(cast: dict[str, Any]) -> str:
    return canonical_json(
        {role: [one["expert"] for one in members] for role, members in cast["members"].items()}
    )


def _p_gold(spread: Sequence[float] | None, gold: str | None) -> float | None:
    """Return the probability given to the right option; None where there is none."""
    if not spread or gold is None or len(gold) != 1 or gold not in LABELS[: len(spread)]:
        return None
    return spread[LABELS.index(gold)]


def _verdict_rows(store: Store, run: RunRow) -> Iterator[Rows]:
    from workflows.comparing.results import answer_key

    key = answer_key(run)
    for page in _pages(store, run, SESSIONS_AT_ONCE):
        yield [
            {**_about(run, one), **verdict}
            for one in page
            for outcome in [_single_outcome(one)]
            if outcome is not None
            for verdict in session_verdicts(outcome, key, one.question_id)
        ]


def session_verdicts(outcome: Outcome, key: AnswerKey, question_id: str) -> Rows:
    """Return what a session decided: one row for each reading, and for each answer of a vote.

    A reading counts as the whole session would if it had no other. Without readings a distribution
    is the one verdict; of a vote each answer is, by its weight.
    """
    gold = key.gold.get(question_id)
    rows: Rows = []
    for number, reading in enumerate(outcome.readings):
        alone = outcome.model_copy(update={"readings": (reading,)})
        correct = key.correctness(alone, question_id)
        rows.append(_spread_verdict("reading", number, reading, gold, correct))
    if not outcome.readings and outcome.distribution:
        correct = key.correctness(outcome, question_id)
        rows.append(_spread_verdict("distribution", 0, outcome.distribution, gold, correct))
    for number, answer in enumerate(sorted(outcome.votes)):
        right = None if gold is None else float(grade(answer, gold, key.kinds[question_id]))
        rows.append(
            {
                "source": "vote",
                "number": number,
                "answer": answer,
                "weight": outcome.votes[answer],
                "gold": gold,
                "correct": right,
                "p_gold": None,
                "distribution": None,
            }
        )
    return rows


def _spread_verdict(
    source: str, number: int, spread: Sequence[float], gold: str | None, correct: float | None
) -> dict[str, Any]:
    top = max(spread, default=None)
    tied = [place for place, value in enumerate(spread) if top and value >= top - _EVEN]
    return {
        "source": source,
        "number": number,
        "answer": LABELS[tied[0]] if len(tied) == 1 else None,
        "weight": top,
        "gold": gold,
        "correct": correct,
        "p_gold": _p_gold(spread, gold),
        "distribution": canonical_json(list(spread)),
    }


def _slot_rows(store: Store, run: RunRow, table: TableName, *, messages: bool) -> Iterator[Rows]:
    names = [column.name for column in TABLES[table] if messages or column.name != "messages"]
    for page in _pages(store, run, TRANSCRIPTS_AT_ONCE):
        ids = [one.id for one in page]
        about = {one.id: _about(run, one) for one in page}
        asks = store.ask_rows(ids, texts=messages and table == "asks")
        if table == "asks":
            found = [{**about[ask["session"]], **_ask(ask)} for ask in asks]
        else:
            seats = {
                (ask["session"], ask["turn"], ask["slot"]): {
                    name: ask[name] for name in ("seat", "role", "expert", "model")
                }
                for ask in asks
            }
            found = [
                {
                    **about[reply["session"]],
                    **seats[reply["session"], reply["turn"], reply["slot"]],
                    **_reply(reply),
                }
                for reply in store.reply_rows(ids)
            ]
        yield [{name: row[name] for name in names} for row in found]


def _ask(ask: dict[str, Any]) -> dict[str, Any]:
    nested = {name: canonical_json(ask[name]) for name in ("sampling", "options", "messages")}
    return {**ask, **nested}


def _reply(reply: dict[str, Any]) -> dict[str, Any]:
    spread = reply["distribution"]
    return {
        **reply,
        "accepted": bool(reply["accepted"]),
        "repaired": bool(reply["repaired"]),
        "characters": len(reply["text"]),
        "distribution": None if spread is None else canonical_json(spread),
    }
