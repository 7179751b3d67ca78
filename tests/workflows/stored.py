"""Runs in a store for tests of what is read from it: outcomes of every kind, hostile texts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.journal import AskRecord, ReplyRecord
from orchestrator.live import outcome_json
from orchestrator.store import NewRun, NewSession, RunRow, Store
from protocols.asks import Ask, Model, Seat
from protocols.canonical import canonical_json
from protocols.messages import Message, Part, Place
from protocols.outcome import Outcome, Status
from protocols.question import LABELS, Question
from protocols.replies import Reply, Usage, failed
from workflows.questions.answer_key import AnswerKey

CAST = canonical_json({"assets": {}, "members": {"judge": [{"expert": "e"}]}, "readers": ["judge"]})
HOSTILE = 'Ünï "quoted" \u202e\U0001f600 </script> \x1b[31m a\tb\r\nc \\u0000 $.gold = 1;--'


def some_outcomes(count: int, seed: int = 7) -> list[Outcome]:
    """Return outcomes of every status, rule and form, many of them even."""
    draw = random.Random(seed)
    return [_outcome(draw) for _ in range(count)]


def _spread(draw: random.Random, size: int) -> tuple[float, ...]:
    weights = [draw.choice((0, 1, 1, 2, 3)) for _ in range(size)]
    total = sum(weights)
    return tuple(one / total if total else 1 / size for one in weights)


def _outcome(draw: random.Random) -> Outcome:
    size = draw.choice((2, 3, 4))
    statuses: tuple[Status, ...] = ("answered", "tied", "abstained", "unparsed", "failed")
    status: Status = draw.choice((*statuses, "answered", "tied"))
    readings = draw.choice((0, 0, 1, 2, 2))
    fields: dict[str, Any] = {
        "answer": draw.choice(LABELS[:size]) if status == "answered" else None,
        "boundary": draw.choice(("provider", "timeout", "refused")) if status == "failed" else None,
        "tie_rule": draw.choice(("half", "wrong", "first", "best_expert", "none")),
        "rule": draw.choice(("single", "plurality")),
        "answered_by": draw.choice((None, "e", "f")),
        "readings": tuple(
            draw.choice((_spread(draw, size), _spread(draw, size), ())) for _ in range(readings)
        ),
        "distribution": draw.choice((None, _spread(draw, size))),
    }
    if draw.random() < 0.5:
        fields["votes"] = {label: float(draw.choice((1, 2, 2))) for label in LABELS[:size]}
    return Outcome(status=status, **fields)


def some_key(outcomes: Sequence[Outcome]) -> AnswerKey:
    """Return a key that lacks some gold answers and scores some experts itself."""
    ids = [f"q{number}" for number in range(len(outcomes))]
    return AnswerKey.model_validate(
        {
            "gold": {id: "AB"[n % 2] for n, id in enumerate(ids) if n % 7},
            "kinds": dict.fromkeys(ids, "choice"),
            "flags": {"e": {id: n % 2 for n, id in enumerate(ids) if n % 3 == 0}},
            "recorded": {
                id: {
                    "setting": "s",
                    "in_paper": True,
                    "judge": None if n % 10 else "j",
                    "question": id,
                }
                for n, id in enumerate(ids)
                if n % 5 == 0
            },
        }
    )


async def store_outcomes(
    store: Store,
    outcomes: Sequence[Outcome | None],
    key: AnswerKey | None = None,
    *,
    name: str = "r",
    replies: Mapping[int, Sequence[Reply]] | None = None,
) -> RunRow:
    """Store a run whose sessions end so; None is one that was not reached.

    Args:
        store: the store.
        outcomes: of the sessions, in order; session n is on question ``qn``.
        key: the answer key, if there is any.
        name: the run's name.
        replies: by number of the session, the attempts at its only ask; the last is accepted.
    """
    run = store.create_run(
        NewRun(
            name=name,
            config_json='{"roster": []}',
            config_hash="0" * 40,
            code_revision="",
            packages={},
            answer_key_json=None if key is None else canonical_json(key.as_json()),
        )
    )
    questions = [
        Question(id=f"q{number}", text=f"Which? {HOSTILE}", options=tuple("wxyz"), passage="Once.")
        for number in range(len(outcomes))
    ]
    ids = store.add_sessions(
        run,
        [
            NewSession(
                ordinal=number,
                shard=0,
                key=f"{number:040x}",
                entry=f"p{number % 2}",
                kind="plurality",
                version=1,
                parameters_json="{}",
                question_id=question.id,
                question_key=question.key,
                question_json=question.as_json,
                cast_json=CAST,
            )
            for number, question in enumerate(questions)
        ],
    )
    with store.journal(run) as journal:
        journal.start(lambda tokens: None)
        for number, (id, outcome) in enumerate(zip(ids, outcomes, strict=True)):
            for record in _slot(id, questions[number], (replies or {}).get(number, ())):
                journal.append([record])
            if outcome is not None:
                journal.append([outcome_json(id, outcome)])
        await journal.close()
    store.update_run(run, status="finished", finished=True)
    return next(row for row in store.runs() if row.id == run)


def _slot(session: int, question: Question, replies: Sequence[Reply]) -> list[Any]:
    """Return the records of a session's only ask and the attempts at it."""
    if not replies:
        return []
    parts = (question.passage_part, question.text_part, Part("task", "Say."))
    seat = Seat("judge", "judge", "e", Model("openai/some", "r1"))
    ask = Ask(seat, (Message("user", parts),), ("A", "B")).numbered(Place(0, 0), {})
    last = len(replies) - 1
    return [
        AskRecord(session, ask),
        *[
            ReplyRecord(
                session,
                Place(0, 0),
                number,
                number == last,
                reply.at(Place(0, 0)),
                list_price=0.25 if reply.failure is None else None,
                paid_price=0.125 if reply.failure is None else None,
            )
            for number, reply in enumerate(replies)
        ],
    ]


def tried_twice(text: str = HOSTILE) -> list[Reply]:
    """Return a time-out and then an answer."""
    return [
        failed("timeout", "no answer in 60 s", cause="deadline", latency_s=60.0),
        Reply(
            text,
            distribution=(0.25, 0.75),
            distribution_source="logprobs",
            usage=Usage(10, 4, 2, 6),
            latency_s=1.5,
            model_served="some-2026",
        ),
    ]
