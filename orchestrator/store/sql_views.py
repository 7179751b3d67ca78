"""The SQL views of a store: ``runs``, ``sessions``, ``asks``, ``replies``, ``verdicts``.

They hold no data and belong to no format: whoever opens a store for writing creates them, or makes
them anew where this moot writes them otherwise. So a view never needs a migration, and a migration
first drops them. Their columns are described in ``docs/data.md``; they hold the sessions that a
run still asks for, as its table does.

``correct`` follows ``workflows.questions.answer_key.AnswerKey.correctness``; a test holds the two
together.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, inspect, text

from orchestrator.store.sql_dialects import DIALECTS, Dialect

VIEWS = (
    *("gold_answers", "recorded_flags", "unjudged_sessions"),
    *("runs", "sessions", "asks", "replies", "verdicts"),
)
"""The views; each reads only those before it. The first three read the answer keys."""
STAMP = "views_made"
"""The view that tells which text the others were made from."""
WANTED = "('pending', 'finished', 'failed')"

_SUMS = (
    *("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens"),
    *("list_price", "paid_price"),
)


def views_are_current(connection: Connection) -> bool:
    """Whether a store has the views as this moot writes them."""
    if STAMP not in inspect(connection).get_view_names():
        return False
    made = connection.execute(text(f"SELECT stamp FROM {STAMP}")).scalar()
    return bool(made == _stamp(_statements(connection)))


def create_views(connection: Connection) -> None:
    """Create every view, in place of those that are there."""
    drop_views(connection)
    statements = _statements(connection)
    for name, query in statements.items():
        _run(connection, f"CREATE VIEW {name} AS {query}")
    _run(connection, f"CREATE VIEW {STAMP} AS SELECT '{_stamp(statements)}' AS stamp")


def drop_views(connection: Connection) -> None:
    """Drop the views, so that the tables under them can be changed."""
    for name in (STAMP, *reversed(VIEWS)):
        _run(connection, f"DROP VIEW IF EXISTS {name}")


def _run(connection: Connection, statement: str) -> None:
    """Run a statement in which colons and percent signs are what they are."""
    connection.execute(text(statement.replace(":", r"\:")))


def _stamp(statements: dict[str, str]) -> str:
    return hashlib.sha256("\n".join(statements.values()).encode()).hexdigest()[:16]


def _statements(connection: Connection) -> dict[str, str]:
    """Return the query of each view, in the words of the connection's database."""
    return view_queries(connection.dialect.name)


def view_queries(database: str) -> dict[str, str]:
    """Return the query of each view.

    Args:
        database: ``sqlite`` or ``postgresql``.
    """
    d = DIALECTS[database]
    queries = (
        *(_gold_answers(d), _recorded_flags(d), _unjudged_sessions(d)),
        *(_runs(), _sessions(d), _asks(), _replies(d), _verdicts(d)),
    )
    return dict(zip(VIEWS, queries, strict=True))


_KEYS = "FROM run JOIN part AS document ON document.id = run.answer_key_part"


def _gold_answers(d: Dialect) -> str:
    entries = d.entries(d.json("document.body", "gold"), "g")
    return f"""
        SELECT run.id AS run_id, g.key AS question_id, g.value AS gold
        {_KEYS} CROSS JOIN {d.lateral} {entries}"""


def _recorded_flags(d: Dialect) -> str:
    experts = d.entries(d.json("document.body", "flags"), "f")
    return f"""
        SELECT run.id AS run_id, f.key AS expert, q.key AS question_id,
               CAST(q.value AS double precision) AS flag
        {_KEYS} CROSS JOIN {d.lateral} {experts} CROSS JOIN {d.lateral} {d.entries("f.value", "q")}
    """


def _unjudged_sessions(d: Dialect) -> str:
    recorded = d.entries(d.json("document.body", "recorded"), "r")
    return f"""
        SELECT run.id AS run_id, r.key AS question_id
        {_KEYS} CROSS JOIN {d.lateral} {recorded} WHERE {d.text("r.value", "judge")} IS NULL"""


def _spent(attempts: str, accepted: str) -> str:
    """Return the columns of what was spent, of attempts that fit a condition."""
    sums = [
        f"(SELECT sum(a.{name}) FROM {attempts}) AS {name}"
        if name.endswith("price")
        else f"(SELECT coalesce(sum(a.{name}), 0) FROM {attempts}) AS {name}"
        for name in _SUMS
    ]
    return f"""
        (SELECT count(*) FROM {attempts} AND {accepted}) AS asks,
        (SELECT count(*) FROM {attempts}) AS attempts,
        {", ".join(sums)},
        (SELECT count(*) FROM {attempts} AND a.list_price IS NULL) AS unpriced,
        (SELECT coalesce(sum(a.latency_s), 0.0) FROM {attempts}) AS latency_s"""


def _runs() -> str:
    wanted = f"w.run = r.id AND w.status IN {WANTED}"
    counts = ", ".join(
        f"(SELECT count(*) FROM session AS w WHERE {wanted}{more}) AS {name}"
        for name, more in (
            ("sessions", ""),
            ("finished", " AND w.status = 'finished'"),
            ("failed", " AND w.status = 'failed'"),
        )
    )
    attempts = f"session AS w JOIN reply AS a ON a.session = w.id WHERE {wanted}"
    return f"""
        SELECT r.id AS run_id, r.name AS run, r.status, r.created_at, r.finished_at, r.parent,
               r.config_hash, r.code_revision, {counts}, {_spent(attempts, "a.accepted")},
               r.config, r.packages
        FROM run AS r"""


def _sessions(d: Dialect) -> str:
    o, q = "s.outcome", "question.body"
    return f"""
        SELECT x.run_id, x.run, x.session, x.protocol, x.question_id, x.ordinal, x.kind, x.version,
               x.cluster, x.category, x.subject, x.seed, x.repeat, x.parent, x.fork_turn,
               x.status, x.ended, x.answer, x.gold, {_correct(d)} AS correct, x.missing,
               {_value_at(d, "x.distribution", d.place("x.gold"))} AS p_gold,
               x.score, x.answered_by, x.rule, x.tie_rule, x.tie_broken, x.boundary, x.unparsed,
               x.failures, x.distribution, x.readings, x.votes,
               {_spent("reply AS a WHERE a.session = x.session", "a.accepted")},
               x.message, x.key, x.question, x.options, x.parameters, x.detail
        FROM (
            SELECT s.run AS run_id, run.name AS run, s.id AS session, s.entry AS protocol,
                   s.question_id, s.ordinal, s.kind, s.version,
                   coalesce(nullif({d.text(q, "cluster")}, ''), s.question_id) AS cluster,
                   {d.text(q, "category")} AS category, {d.text(q, "subject")} AS subject,
                   s.seed, s.repeat, s.parent, s.fork_turn, s.status,
                   {d.text(o, "status")} AS ended, {d.text(o, "answer")} AS answer, g.gold,
                   CASE WHEN {d.text(o, "status")} IS NOT NULL
                       THEN {d.text(o, "status")} = 'failed'
                           AND coalesce({d.text(o, "boundary")}, '') IN ('provider', 'timeout')
                       END AS missing,
                   {d.number(o, "score")} AS score, {d.text(o, "answered_by")} AS answered_by,
                   {d.text(o, "rule")} AS rule, {d.text(o, "tie_rule")} AS tie_rule,
                   {d.flag(o, "tie_broken")} AS tie_broken, {d.text(o, "boundary")} AS boundary,
                   {d.integer(o, "unparsed")} AS unparsed, {d.json(o, "failures")} AS failures,
                   {d.json(o, "distribution")} AS distribution,
                   {d.json(o, "readings")} AS readings, {d.json(o, "votes")} AS votes,
                   s.message, s.key, {d.text(q, "text")} AS question,
                   {d.json(q, "options")} AS options, parameters.body AS parameters,
                   CASE WHEN {o} LIKE '[%' THEN {o} ELSE {d.json(o, "detail")} END AS detail,
                   f.flag, u.question_id IS NOT NULL AS unjudged
            FROM session AS s
            JOIN run ON run.id = s.run
            JOIN part AS question ON question.id = s.question_part
            JOIN part AS parameters ON parameters.id = s.parameters_part
            LEFT JOIN gold_answers AS g ON g.run_id = s.run AND g.question_id = s.question_id
            LEFT JOIN recorded_flags AS f ON f.run_id = s.run AND f.question_id = s.question_id
                AND f.expert = {d.text(o, "answered_by")}
            LEFT JOIN unjudged_sessions AS u ON u.run_id = s.run
                AND u.question_id = s.question_id
            WHERE s.status IN {WANTED}
        ) AS x"""


def _correct(d: Dialect) -> str:
    """Return how right an outcome is, as a column; the order of the cases is that of Python."""
    place = d.place("x.gold")
    of_readings = f"""(SELECT avg({_score(d, "v.value", place, "x.tie_rule")})
        FROM {d.arrays("x.readings", "v")})"""
    return f"""
        CASE WHEN x.ended IS NULL THEN NULL
             WHEN x.flag IS NOT NULL AND (x.rule = 'single' OR x.missing) THEN x.flag
             WHEN x.missing OR x.gold IS NULL OR (x.unjudged AND x.ended = 'abstained') THEN NULL
             WHEN x.ended NOT IN ('answered', 'tied') THEN 0.0
             WHEN x.readings <> '[]' THEN {of_readings}
             WHEN x.ended = 'tied' AND x.distribution <> '[]'
                 THEN {_score(d, "x.distribution", place, "x.tie_rule")}
             WHEN x.ended = 'tied' THEN {_even_vote(d)}
             WHEN lower(x.answer) = lower(x.gold) THEN 1.0
             ELSE 0.0 END"""


def _score(d: Dialect, spread: str, place: str, rule: str) -> str:
    """Return what one distribution is worth; see ``answer_key._reading``."""
    return f"""(
        SELECT CASE WHEN coalesce(max(CASE WHEN t.top AND t.key = {place} THEN 1 END), 0) = 0
                        THEN 0.0
                    WHEN sum(CASE WHEN t.top THEN 1 ELSE 0 END) = 1 THEN 1.0
                    WHEN {rule} = 'first' AND min(CASE WHEN t.top THEN t.key END) = {place}
                        THEN 1.0
                    WHEN {rule} = 'half' THEN 1.0 / sum(CASE WHEN t.top THEN 1 ELSE 0 END)
                    ELSE 0.0 END
        FROM {_tops(d.numbers(spread, "e"), d.numbers(spread, "m"))})"""


def _tops(values: str, again: str) -> str:
    """Return values by key, with whether each is among the highest."""
    return f"""(SELECT e.key, e.value >= (SELECT max(m.value) FROM {again}) - 1e-9 AS top
        FROM {values}) AS t"""


def _even_vote(d: Dialect) -> str:
    return f"""(
        SELECT CASE WHEN x.tie_rule = 'half'
                        AND max(CASE WHEN t.top AND lower(t.key) = lower(x.gold) THEN 1 END) = 1
                    THEN 1.0 / sum(CASE WHEN t.top THEN 1 ELSE 0 END) ELSE 0.0 END
        FROM {_tops(d.weights("x.votes", "e"), d.weights("x.votes", "m"))})"""


def _value_at(d: Dialect, spread: str, place: str) -> str:
    return f"(SELECT e.value FROM {d.numbers(spread, 'e')} WHERE e.key = {place})"


_SLOT = """
    s.run AS run_id, run.name AS run, s.id AS session, s.entry AS protocol, s.question_id,
    a.turn, a.slot, a.seat, a.role, a.expert, a.model"""
_OF_RUN = """
    FROM session AS s JOIN run ON run.id = s.run JOIN ask AS a ON a.session = s.id"""


def _asks() -> str:
    return f"""
        SELECT {_SLOT}, a.revision, a.key, a.occurrence, a.sampling,
               coalesce(a.options, '[]') AS options, a.reply_schema
        {_OF_RUN} WHERE s.status IN {WANTED}"""


def _replies(d: Dialect) -> str:
    return f"""
        SELECT {_SLOT}, r.attempt, r.accepted, r.model_served, length(r.text) AS characters,
               r.failure_boundary, r.failure_cause, r.failure_message, r.distribution,
               r.distribution_source, {", ".join(f"r.{name}" for name in _SUMS)},
               r.finish, r.repaired, r.latency_s, {d.hex("r.digest")} AS digest, r.text,
               r.source, r.served_by
        {_OF_RUN}
        JOIN reply AS r ON r.session = a.session AND r.turn = a.turn AND r.slot = a.slot
        WHERE s.status IN {WANTED}"""


def _verdicts(d: Dialect) -> str:
    about = "s.run_id, s.run, s.session, s.protocol, s.question_id"
    tied, gold = "coalesce(s.tie_rule, 'none')", d.place("s.gold")

    def likeliest(spread: str) -> str:
        tops = _tops(d.numbers(spread, "e"), d.numbers(spread, "m"))
        return f"""(SELECT CASE WHEN count(*) = 1 THEN {d.label("min(t.key)")} END
            FROM {tops} WHERE t.top)"""

    def highest(spread: str) -> str:
        return f"(SELECT max(e.value) FROM {d.numbers(spread, 'e')})"

    # Where the session counts otherwise than by its readings (missing, abstained, by the source's
    # own score) every reading counts as the session does.
    of_reading = f"""CASE WHEN s.correct IS NULL OR s.ended NOT IN ('answered', 'tied')
        OR s.recorded THEN s.correct ELSE {_score(d, "v.value", gold, tied)} END"""
    sessions = """(SELECT y.*, y.rule = 'single' AND EXISTS (SELECT 1 FROM recorded_flags AS f
        WHERE f.run_id = y.run_id AND f.question_id = y.question_id AND f.expert = y.answered_by)
        AS recorded FROM sessions AS y) AS s"""
    return f"""
        SELECT {about}, 'reading' AS source, v.key AS number, {likeliest("v.value")} AS answer,
               {highest("v.value")} AS weight, s.gold, {of_reading} AS correct,
               {_value_at(d, "v.value", gold)} AS p_gold, v.value AS distribution
        FROM {sessions} CROSS JOIN {d.lateral} {d.arrays("s.readings", "v")}
        UNION ALL
        SELECT {about}, 'distribution', 0, {likeliest("s.distribution")},
               {highest("s.distribution")}, s.gold, s.correct, s.p_gold, s.distribution
        FROM sessions AS s WHERE s.readings = '[]' AND s.distribution <> '[]'
        UNION ALL
        SELECT {about}, 'vote',
               row_number() OVER (PARTITION BY s.session ORDER BY v.key {d.by_bytes}) - 1,
               v.key, v.value, s.gold,
               CASE WHEN s.gold IS NULL THEN NULL
                    WHEN lower(v.key) = lower(s.gold) THEN 1.0 ELSE 0.0 END,
               NULL, NULL
        FROM sessions AS s CROSS JOIN {d.lateral} {d.weights("s.votes", "v")}"""
