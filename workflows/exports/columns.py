"""The columns of what is read from a store as tables: frames, exported files, SQL views.

Names and types are stable; a new column goes to the end of its table and raises ``SCHEMA`` only
where an older one changes. Prices are US dollars, times seconds, dates UTC in ISO 8601. What is
nested stands as JSON text.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

SCHEMA = 1
"""The version of these tables; Parquet files carry it in their metadata as ``moot.schema``."""

Kind = Literal["text", "integer", "number", "flag", "json"]
"""``json`` is text that holds one JSON value."""
TableName = Literal["runs", "sessions", "asks", "replies", "verdicts"]


class Column(NamedTuple):
    """One column."""

    name: str
    kind: Kind
    about: str
    """What it holds, with its unit."""
    in_view: bool = True
    """Whether the SQL view of the table has it too."""


def _column(name: str, kind: Kind, about: str) -> Column:
    return Column(name, kind, about)


def _beside(name: str, kind: Kind, about: str) -> Column:
    """Return a column that frames and files have and the SQL view has not."""
    return Column(name, kind, about, in_view=False)


_RUN = (
    _column("run_id", "integer", "the run's id"),
    _column("run", "text", "the run's name"),
)
_SESSION = (
    *_RUN,
    _column("session", "integer", "the session's id"),
    _column("protocol", "text", "the row of the table that the session counts for"),
    _column("question_id", "text", "the question's id"),
)
_SLOT = (
    *_SESSION,
    _column("turn", "integer", "from 0"),
    _column("slot", "integer", "place in the turn, from 0"),
    _column("seat", "text", "who was asked: debater_a, judge, solver_3"),
    _column("role", "text", "the role of that seat"),
    _column("expert", "text", "the expert's label in the roster"),
    _column("model", "text", "provider/model, as the roster names it"),
)
_TOKENS = (
    _column("prompt_tokens", "integer", "tokens"),
    _column("completion_tokens", "integer", "tokens, reasoning included"),
    _column("reasoning_tokens", "integer", "tokens"),
    _column("cached_tokens", "integer", "tokens of the prompt that the provider had cached"),
)
_PRICES = (
    _column("list_price", "number", "US dollars at list prices, cache hits included"),
    _column("paid_price", "number", "US dollars really paid"),
)
_SPENT = (
    _column("asks", "integer", "asks that have an accepted reply, be it a failure"),
    _column("attempts", "integer", "replies, accepted or not, also from the cache or inherited"),
    *_TOKENS,
    *_PRICES,
    _column("unpriced", "integer", "attempts whose list price is not known; the sums leave it out"),
    _column("latency_s", "number", "seconds from dispatch to reply, summed over the attempts"),
)

RUNS = (
    *_RUN,
    _column("status", "text", "running, finished, stopped, failed or waiting"),
    _column("created_at", "text", "UTC, ISO 8601"),
    _column("finished_at", "text", "UTC, ISO 8601; none while it goes on"),
    _column("parent", "integer", "id of the run that it branches off"),
    _column("config_hash", "text", "of the resolved configuration"),
    _column("code_revision", "text", "of moot"),
    _column("sessions", "integer", "sessions that the run asks for"),
    _column("finished", "integer", "of them, finished"),
    _column("failed", "integer", "of them, failed: their protocol raised"),
    *_SPENT,
    _column("config", "json", "the resolved configuration; it names keys, never holds one"),
    _column("packages", "json", "versions of packages"),
)
SESSIONS = (
    *_SESSION,
    _column("ordinal", "integer", "place in the run's order"),
    _column("kind", "text", "the protocol's kind"),
    _column("version", "integer", "the protocol's version"),
    _column("cluster", "text", "what repeats together; the question's id where nothing does"),
    _column("category", "text", "coarse topic"),
    _column("subject", "text", "finer topic"),
    _column("seed", "integer", "of the session's draws"),
    _column("repeat", "integer", "from 0"),
    _column("parent", "integer", "id of the session that it branches off"),
    _column("fork_turn", "integer", "the first turn that is its own, of a branch"),
    _column("status", "text", "pending, finished or failed"),
    _column(
        "ended",
        "text",
        "answered, tied, abstained, unparsed or failed; none if it goes on, or a group",
    ),
    _column("answer", "text", "the label, or the answer in canonical form"),
    _column("gold", "text", "the right answer, where the run has a key"),
    _column("correct", "number", "0 to 1, the mean over readings; none is missing, not wrong"),
    _column("missing", "flag", "a provider failure or a timeout: no answer, not a wrong one"),
    _column("p_gold", "number", "probability given to the right option"),
    _column("score", "number", "of protocols that end with a score"),
    _column("answered_by", "text", "the one expert whose answer it is"),
    _column("rule", "text", "how the answer came about: single, plurality..."),
    _column("tie_rule", "text", "how a tie is broken or scored"),
    _column("tie_broken", "flag", "whether that rule decided"),
    _column(
        "boundary", "text", "why the session failed: refused, overlong, malformed, provider..."
    ),
    _column("unparsed", "integer", "replies from which no answer could be read"),
    _column("failures", "json", "replies that failed, by boundary"),
    _column("distribution", "json", "probabilities over the options"),
    _column("readings", "json", "one distribution for each answer order or side"),
    _column("votes", "json", "weight of each answer"),
    *_SPENT,
    _column("message", "text", "why it failed, where its protocol raised"),
    _column("key", "text", "identity of the session, hexadecimal"),
    _column("question", "text", "the question's words"),
    _column("options", "json", "the options, in the order of their labels"),
    _beside("cast", "json", "role -> experts"),
    _column("parameters", "json", "of the protocol"),
    _column("detail", "json", "what the protocol tells: rounds, quotes; of a group all outcomes"),
)
ASKS = (
    *_SLOT,
    _column("revision", "text", "the model's revision, where one is known"),
    _column("key", "text", "identity of the ask, hexadecimal"),
    _column("occurrence", "integer", "how often the same was asked before in the session"),
    _column("sampling", "json", "temperature, top_p, max_tokens, stop, seed"),
    _column("options", "json", "labels over which a distribution was wanted"),
    _column("reply_schema", "json", "the JSON schema that the reply was to follow"),
    _beside("messages", "json", "the prompt: speakers with named parts; frames hold it on request"),
)
REPLIES = (
    *_SLOT,
    _column("attempt", "integer", "from 0"),
    _column("accepted", "flag", "whether the session got it; at most one attempt of an ask"),
    _column("model_served", "text", "the model that the provider says served it"),
    _column("characters", "integer", "length of the text"),
    _column("failure_boundary", "text", "refused, overlong, malformed, provider or timeout"),
    _column("failure_cause", "text", "finer: not_found, authentication, context..."),
    _column("failure_message", "text", "what happened"),
    _column("distribution", "json", "probabilities over the options asked for"),
    _column("distribution_source", "text", "logprobs, probe, samples, stated or exact"),
    *_TOKENS,
    *_PRICES,
    _column("finish", "text", "stop, length, content_filter or failure"),
    _column("repaired", "flag", "whether characters that no text may hold were replaced"),
    _column("latency_s", "number", "seconds from dispatch to reply"),
    _column("digest", "text", "SHA-256 of what the session saw, hexadecimal"),
    _column("text", "text", "the words"),
    _column(
        "source", "text", "cache or inherited (from a branch's parent); none where it was asked"
    ),
    _column("served_by", "text", "the fallback that served it; none where the expert itself did"),
)
VERDICTS = (
    *_SESSION,
    _column("source", "text", "reading (an answer order or side), distribution or vote"),
    _column("number", "integer", "of the reading from 0; of the vote's answers in sorted order"),
    _column("answer", "text", "the likeliest option, or what was voted for; none in a tie"),
    _column("weight", "number", "its probability, or the weight of the vote for it"),
    _column("gold", "text", "the right answer, where the run has a key"),
    _column("correct", "number", "0 to 1 by the tie rule, of a vote whether its answer is right"),
    _column("p_gold", "number", "probability given to the right option; none for a vote"),
    _column("distribution", "json", "probabilities over the options; none for a vote"),
)

TABLES: dict[TableName, tuple[Column, ...]] = {
    "runs": RUNS,
    "sessions": SESSIONS,
    "asks": ASKS,
    "replies": REPLIES,
    "verdicts": VERDICTS,
}
"""The tables, in the order in which they are told."""
