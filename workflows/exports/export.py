"""Sessions as plain records: what ``moot export`` writes and transcripts are rendered from.

A record holds a whole session: protocol, question, cast, every turn with its asks and replies, the
outcome. The gold answer and whether the outcome is right are joined here, for people; no session
ever saw them. Passages are long and stand in many asks, so a part that is the question's passage
says so (``"same_as": "question.passage"``) instead of repeating it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.store import RunRow, SessionRow, Store
    from workflows.questions.answer_key import AnswerKey

FORMAT = 1
"""The version of a record's form."""

Record = dict[str, Any]
CHUNK = 200

_ASK = ("slot", "seat", "role", "expert", "model", "revision", "key", "sampling", "options")
_REPLY = (
    *("attempt", "accepted", "text", "failure_boundary", "failure_cause", "failure_message"),
    *("distribution", "distribution_source", "prompt_tokens", "completion_tokens"),
    *("reasoning_tokens", "cached_tokens", "finish", "latency_s", "model_served"),
    *("list_price", "paid_price", "digest"),
)


def session_records(
    store: Store, run: RunRow, sessions: Sequence[SessionRow] | None = None
) -> Iterator[Record]:
    """Yield sessions of a run, in their order, as JSON objects.

    Args:
        store: the store, open for reading at least.
        run: the run.
        sessions: which of its sessions; by default all that it still asks for.
    """
    from workflows.comparing.results import WANTED, answer_key
    from workflows.simulated import simulated_in

    chosen = store.sessions(run.id, statuses=WANTED) if sessions is None else list(sessions)
    key, simulated = answer_key(run), simulated_in(run)
    for start in range(0, len(chosen), CHUNK):
        yield from _records(store, run, chosen[start : start + CHUNK], key, simulated)


def _records(
    store: Store,
    run: RunRow,
    rows: Sequence[SessionRow],
    key: AnswerKey,
    simulated: Sequence[str],
) -> Iterator[Record]:
    from workflows.comparing.results import session_outcome
    from workflows.simulated import simulated_among

    parts = {part for r in rows for part in (r.parameters_part, r.question_part, r.cast_part)}
    documents = {id: json.loads(text) for id, text in store.documents(parts).items()}
    turns = _turns(store, rows, documents)
    for row in rows:
        question, cast = documents[row.question_part], documents[row.cast_part]
        experts = {
            role: [member["expert"] for member in members]
            for role, members in cast["members"].items()
        }
        outcome = session_outcome(row)
        yield {
            "format": FORMAT,
            "run": run.name,
            "session": row.id,
            "status": row.status,
            "name": row.entry,
            "protocol": row.kind,
            "version": row.version,
            "parameters": documents[row.parameters_part],
            "question": question,
            "cast": experts,
            "simulated": simulated_among(simulated, experts, turns[row.id]),
            "readers": cast.get("readers", []),
            "seed": row.seed,
            "repeat": row.repeat,
            "parent": row.parent,
            "fork_turn": row.fork_turn,
            "turns": turns[row.id],
            "outcome": None if row.outcome_json is None else json.loads(row.outcome_json),
            "message": row.message,
            "gold": key.gold.get(row.question_id),
            "correct": None if outcome is None else key.correctness(outcome, row.question_id),
        }


def _turns(
    store: Store, rows: Sequence[SessionRow], documents: dict[int, Any]
) -> dict[int, list[list[Record]]]:
    """Return the turns of each session: lists of asks, each with its reply and other attempts."""
    ids = [row.id for row in rows]
    passages = {row.id: documents[row.question_part].get("passage") for row in rows}
    replies: dict[tuple[int, int, int], list[Record]] = {}
    for reply in store.reply_rows(ids):
        place = (reply["session"], reply["turn"], reply["slot"])
        replies.setdefault(place, []).append({name: reply[name] for name in _REPLY})
    turns: dict[int, list[list[Record]]] = {id: [] for id in ids}
    for ask in store.ask_rows(ids):
        session, turn, slot = ask["session"], ask["turn"], ask["slot"]
        while len(turns[session]) <= turn:
            turns[session].append([])
        attempts = replies.get((session, turn, slot), [])
        turns[session][turn].append(
            {
                **{name: ask[name] for name in _ASK},
                "messages": _messages(ask["messages"], passages[session]),
                "reply": next((one for one in attempts if one["accepted"]), None),
                "other_attempts": [one for one in attempts if not one["accepted"]],
            }
        )
    return turns


def _messages(messages: list[Record], passage: str | None) -> list[Record]:
    def brief(part: Record) -> Record:
        if not passage or part["text"] != passage:
            return part
        return {"name": part["name"], "kind": part["kind"], "same_as": "question.passage"}

    return [
        {**message, "parts": [brief(part) for part in message["parts"]]} for message in messages
    ]
