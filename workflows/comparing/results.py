"""Results of a run, computed from the store alone: outcomes joined to the answer key."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from agents.grading import grade
from protocols.outcome import Outcome
from workflows.comparing.table import (
    Row,
    Scored,
    baseline_rows,
    chance_row,
    protocol_row,
    with_differences,
)
from workflows.questions.answer_key import AnswerKey

if TYPE_CHECKING:
    from orchestrator.store import RunRow, SessionRow, Store

WANTED = ("pending", "finished", "failed")
"""The states of sessions that a run still asks for."""

NAMES_SKILLS = "annotate_skills"
"""The kind of protocol that answers nothing, so that no table has a row of it."""

Singles = dict[str, dict[str, bool]]


def run_rows(store: Store, run: RunRow) -> list[Row]:
    """Return the table of a run: its protocols in their order, then the baselines."""
    key = answer_key(run)
    sessions = store.sessions(run.id, statuses=WANTED)
    clusters = key.clusters
    answering = [session for session in sessions if session.kind != NAMES_SKILLS]
    by_entry: dict[str, list[SessionRow]] = {}
    for session in answering:
        by_entry.setdefault(session.entry, []).append(session)
    totals = store.totals(run.id, statuses=WANTED)
    rows = []
    for name, asked in by_entry.items():
        scored = [_scored(session) for session in asked]
        calls = totals[name]["asks"] if name in totals else 0
        rows.append(protocol_row(name, scored, key, clusters, calls=calls))
    questions = list(dict.fromkeys(session.question_id for session in sessions))
    rows = [_as_tried(row, key) for row in rows]
    rows.extend(_baselines(key, sessions, questions))
    return with_differences(rows, clusters)


def _as_tried(row: Row, key: AnswerKey) -> Row:
    """Return a protocol's row with how it did on the profile's questions, where it was tried."""
    tried = key.cross_validated.get(row.name)
    if tried is None:
        return row
    return replace(row, cross_validated=tried, selected=row.name == key.selected)


def answer_key(run: RunRow) -> AnswerKey:
    """Return the answer key that is stored beside a run; an empty one without."""
    if run.answer_key_json is None:
        return AnswerKey()
    return AnswerKey.from_json(json.loads(run.answer_key_json))


def session_outcome(session: SessionRow) -> Outcome | None:
    """Return the outcome of a session; None while it has none."""
    return None if session.outcome_json is None else Outcome.from_json(session.outcome_json)


def _scored(session: SessionRow) -> Scored:
    return Scored(session.question_id, session_outcome(session))


def _baselines(key: AnswerKey, sessions: list[SessionRow], questions: list[str]) -> list[Row]:
    """Return the baselines: from recorded singles, else from a vote's first answers, else chance.

    An answer that an expert gave in a vote of the run is its own answer, so it serves.
    """
    singles, unread = own_answers(key, sessions)
    if singles:
        best = key.best_single if key.best_single in singles else None
        return baseline_rows(singles, unread, questions, key.clusters, best)
    options = _options(sessions)
    return [chance_row(options, key.clusters)] if options else []


def own_answers(
    key: AnswerKey, sessions: list[SessionRow]
) -> tuple[Singles, dict[str, frozenset[str]]]:
    """Return how single experts did, and where their answers could not be read.

    From what was recorded, else from their answers in the votes of the run.
    """
    if key.singles:
        return key.singles, {e: frozenset(ids) for e, ids in key.unread.items()}
    return _singles_of_votes(key, sessions)


def _singles_of_votes(
    key: AnswerKey, sessions: list[SessionRow]
) -> tuple[Singles, dict[str, frozenset[str]]]:
    """Return how each expert of a plurality did alone, by its own answers."""
    singles: Singles = {}
    unread: dict[str, set[str]] = {}
    for session in sessions:
        outcome = session_outcome(session) if session.kind == "plurality" else None
        answers = None if outcome is None else outcome.detail.get("answers")
        if not isinstance(answers, dict):
            continue
        question = session.question_id
        for expert, found in answers.items():
            answer = found if isinstance(found, str) else None
            if answer is None:
                unread.setdefault(expert, set()).add(question)
            if question in key.gold:
                right = grade(answer, key.gold[question], key.kinds[question])
                singles.setdefault(expert, {})[question] = right
    return singles, {expert: frozenset(ids) for expert, ids in unread.items()}


def _options(sessions: list[SessionRow]) -> dict[str, int]:
    """Return the number of options by question, read off the finished outcomes."""
    counts: dict[str, int] = {}
    for session in sessions:
        outcome = session_outcome(session)
        if outcome is not None and outcome.distribution:
            counts[session.question_id] = len(outcome.distribution)
    return counts
