"""Records to rows and rows to replies. No database in here; on the writer's hot path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from orchestrator.journal import AskRecord, DispatchRecord, ReplyRecord
from orchestrator.store.bulk import Row
from protocols.canonical import canonical_json
from protocols.messages import Place
from protocols.replies import Failure, Reply, Usage

ASK_COLUMNS = (
    *("session", "turn", "slot", "key", "seat", "role", "expert", "model", "revision"),
    *("sampling", "messages", "options", "reply_schema", "question", "occurrence", "inherited"),
)
REPLY_COLUMNS = (
    *("session", "turn", "slot", "attempt", "accepted", "text"),
    *("failure_boundary", "failure_cause", "failure_message"),
    *("distribution", "distribution_source"),
    *("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens"),
    *("finish", "repaired", "digest", "latency_s", "model_served", "list_price", "paid_price"),
    *("source", "served_by"),
)
DISPATCH_COLUMNS = (
    *("session", "turn", "slot", "attempt", "usd", "prompt_tokens", "completion_tokens"),
)
CACHE_COLUMNS = ("key", "session", "turn", "slot", "attempt", "stored_at")
SEEN_COLUMNS = REPLY_COLUMNS[5:17]
"""What :func:`read_reply` takes first, in this order; then latency and the model served."""
NO_USAGE = Usage()


def ask_row(record: AskRecord, parts: Mapping[bytes, int]) -> Row:
    """Return the row of an ask; `parts` holds the ids of all its parts."""
    ask = record.ask
    seat = ask.seat
    place = ask.place
    if place is None:
        raise ValueError(f"an ask of session {record.session} has no place and cannot be recorded")
    return (
        record.session,
        place[0],
        place[1],
        ask.key,
        seat.name,
        seat.role,
        seat.expert,
        seat.model.name,
        seat.model.revision,
        seat.sampling_json,
        messages_json(record, parts),
        _options_json(ask.options) if ask.options else None,
        ask.schema,
        ask.question,
        ask.occurrence,
        record.inherited,
    )


def messages_json(record: AskRecord, parts: Mapping[bytes, int]) -> str:
    """Return [[speaker, [[name, part, origin], ...]], ...] as JSON; names need no escapes."""
    messages = []
    for message in record.ask.messages:
        pieces = []
        for part in message.parts:
            origin = part.origin
            where = "null" if origin is None else f"[{origin[0]},{origin[1]}]"
            pieces.append(f'["{part.name}",{parts[part.digest]},{where}]')
        messages.append(f'["{message.speaker}",[{",".join(pieces)}]]')
    return f"[{','.join(messages)}]"


@lru_cache(maxsize=10_000)
def _options_json(options: tuple[str, ...]) -> str:
    return canonical_json(list(options))


def reply_row(record: ReplyRecord) -> Row:
    """Return the row of an attempt."""
    reply = record.reply
    failure = reply.failure
    usage = reply.usage
    distribution = reply.distribution
    return (
        record.session,
        record.place[0],
        record.place[1],
        record.attempt,
        record.accepted,
        reply.text,
        None if failure is None else failure.boundary,
        None if failure is None else failure.cause,
        None if failure is None else failure.message,
        None if distribution is None else canonical_json(list(distribution)),
        reply.distribution_source,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.reasoning_tokens,
        usage.cached_tokens,
        reply.finish,
        reply.repaired,
        reply.digest,
        reply.latency_s,
        reply.model_served,
        record.list_price,
        record.paid_price,
        record.source,
        record.served_by,
    )


def dispatch_row(record: DispatchRecord) -> Row:
    """Return the row of an attempt that is about to be made."""
    turn, slot = record.place
    return (
        *(record.session, turn, slot, record.attempt),
        *(record.usd, record.prompt_tokens, record.completion_tokens),
    )


def read_reply(row: Any, place: Place) -> Reply:
    """Return the reply in a row that begins with SEEN_COLUMNS, latency_s and model_served."""
    text, boundary, cause, message, distribution, source = row[:6]
    prompt, completion, reasoning, cached, finish, repaired, latency_s, served = row[6:14]
    tokens = prompt or completion or reasoning or cached
    return Reply(
        text,
        None if boundary is None else Failure(boundary, message, cause),
        None if distribution is None else tuple(json.loads(distribution)),
        source,
        Usage(prompt, completion, reasoning, cached) if tokens else NO_USAGE,
        finish,
        bool(repaired),
        place,
        latency_s,
        served,
    )
