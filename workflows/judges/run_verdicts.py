"""The verdicts of a stored run's judges: the readings of each outcome, one for each answer order.

An outcome keeps what its judge said in every order, mapped back to the question's own order; so
its votes are what each reading chose. Where both assignments of sides were played, each is a
verdict of its own, and both repeat together with their question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from protocols.errors import Mistake
from protocols.question import LABELS
from workflows.comparing.results import WANTED, answer_key, session_outcome
from workflows.judges.verdicts import Order, Pair, Reading, Verdict, VerdictSet, Vote, vote_of

if TYPE_CHECKING:
    from orchestrator.store import RunRow, SessionRow, Store
    from protocols.outcome import Outcome
    from workflows.questions.answer_key import AnswerKey

JUDGE = "judge"
ORDERS: tuple[Order, ...] = ("ab", "ba")
GOLD: Mapping[str, Vote] = {LABELS[0]: "1", LABELS[1]: "2"}


def verdicts_of_run(run: str, *, store: str = "moot.db") -> VerdictSet:
    """Return the verdicts of the judges of a stored run, one judge for each protocol and expert.

    Of imported sessions the judges are those that their source names, and those sessions count
    that its published figures count.

    Args:
        run: name or id.
        store: a file of SQLite, or a database URL; it is not written.

    Raises:
        Mistake: there is no such store or run, or no judge in it decides between two options.
    """
    from orchestrator.store import Store
    from workflows.api import find_run

    with Store.read(store) as opened:
        return run_verdicts(opened, find_run(opened, run))


def run_verdicts(store: Store, run: RunRow) -> VerdictSet:
    """Return the verdicts of a stored run (see :func:`verdicts_of_run`)."""
    key = answer_key(run)
    sessions = store.sessions(run.id, statuses=WANTED)
    parts = {part for one in sessions for part in (one.cast_part, one.question_part)}
    documents = {part: json.loads(text) for part, text in store.documents(parts).items()}
    pairs: dict[str, Pair] = {}
    columns: dict[str, dict[str, Verdict]] = {}
    left: dict[str, int] = {}
    for session in sessions:
        question = documents[session.question_part]
        judge = _judge_of(session, documents[session.cast_part], key)
        if judge is None or len(question.get("options") or ()) != 2:
            left[session.entry] = left.get(session.entry, 0) + 1
            continue
        for case, readings in _cases(session_outcome(session)):
            pair = _pair(session, case, key)
            pairs[pair.item] = pair
            columns.setdefault(judge, {})[pair.item] = Verdict(judge, pair.item, readings)
    if not columns:
        raise Mistake(f"{store.shown}: in run {run.name!r} no judge decides between two options")
    return VerdictSet(
        run.name,
        pairs,
        columns,
        tie="wrong" if key.recorded else "half",
        calibrate="category" if key.recorded else "judge",
        notes=_notes(left),
    )


def _notes(left: Mapping[str, int]) -> tuple[str, ...]:
    if not left:
        return ()
    told = ", ".join(f"{count:,} of {entry}" for entry, count in left.items())
    return (f"sessions in which no judge that counts decides between two options: {told}",)


def _pair(session: SessionRow, case: str, key: AnswerKey) -> Pair:
    """Return the question of a session as a pair, which the judges of all protocols share."""
    question = session.question_id
    facts = key.recorded.get(question)
    gold = GOLD.get(key.gold.get(question, ""))
    repeat = f"#{session.repeat}" if session.repeat else ""
    return Pair(
        f"{question}{repeat}{case}",
        key.clusters.get(question, question),
        gold,
        category=facts.setting if facts else "",
    )


def _judge_of(session: SessionRow, cast: Mapping[str, Any], key: AnswerKey) -> str | None:
    """Return what the table calls the judge of a session; None where none counts."""
    facts = key.recorded.get(session.question_id)
    if facts is not None:
        return facts.judge if facts.in_paper else None
    members = cast.get("members", {}).get(JUDGE)
    return f"{session.entry} ({members[0]['expert']})" if members else None


def _cases(outcome: Outcome | None) -> list[tuple[str, tuple[Reading, ...]]]:
    """Return the readings of every assignment of sides that was played, by answer order."""
    if outcome is None or outcome.missing:
        return [("", ())]
    readings = outcome.readings or ((outcome.distribution,) if outcome.distribution else ())
    if not readings:
        orders = ORDERS if "orders" in outcome.rule else ORDERS[:1]
        return [("", tuple(Reading(order, None) for order in orders))]
    sources = outcome.detail.get("distribution_sources") or [None] * len(readings)
    sides = outcome.detail.get("sides") or [{"side": "", "readings": range(len(readings))}]
    cases = []
    for entry in sides:
        places = [place for place in entry["readings"] if place < len(readings)]
        made = [
            _reading(order, readings[place], sources[place])
            for order, place in zip(ORDERS, places, strict=False)
        ]
        cases.append((f"/{entry['side']}" if len(sides) > 1 else "", tuple(made)))
    return cases


def _reading(order: Order, values: Sequence[float], source: str | None) -> Reading:
    """Return one reading of an outcome; an empty one could not be read."""
    distribution = (values[0], values[1]) if len(values) == 2 else None
    return Reading(order, vote_of(values), distribution, source)
