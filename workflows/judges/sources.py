"""Files of verdicts: recorded votes on pairs of answers, and recorded debates with their judges.

What a file is, its content says. Votes are read in the schema of pairwise votes: ``votes`` holds
for every judge ``ab`` and, where it was asked in both orders, ``ba``, already mapped back to the
pair's own order. Of a recorded debate the live judge's last belief is the verdict. The judges of a
stored run are read in ``run_verdicts.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from protocols.errors import Mistake
from workflows.judges.verdicts import (
    Distribution,
    Order,
    Pair,
    Reading,
    Verdict,
    VerdictSet,
    Vote,
    vote_of,
)
from workflows.questions.fields import text_field
from workflows.questions.loaders import recognise
from workflows.questions.sources import Row, open_source, read_rows

VOTES = ("1", "2", "tie")
ORDERS: tuple[Order, ...] = ("ab", "ba")


def verdicts_of_file(path: str) -> VerdictSet:
    """Return the verdicts in a file of recorded votes or of recorded debate sessions.

    Raises:
        Mistake: it cannot be read, is neither, or holds no verdict.
    """
    rows = read_rows(open_source(path))
    kind = recognise(rows[0])
    if kind == "votes":
        return vote_verdicts(path, rows)
    if kind == "debates":
        return session_verdicts(path, rows)
    raise Mistake(
        f"{path}: holds neither recorded votes nor recorded debate sessions; judges are read from "
        "files with 'votes' and 'gold' or 'human_majority', or with 'rounds' and 'answers'"
    )


def vote_verdicts(name: str, rows: Sequence[Row]) -> VerdictSet:
    """Return the verdicts of recorded votes.

    Raises:
        Mistake: a row is malformed, an id stands twice, or there is no vote at all.
    """
    pairs: dict[str, Pair] = {}
    columns: dict[str, dict[str, Verdict]] = {}
    people: dict[str, None] = {}
    majority = False
    for row in rows:
        pair = _pair(row)
        if pair.item in pairs:
            raise Mistake(f"{row.at}: the id {pair.item!r} stands twice; ids must differ")
        pairs[pair.item] = pair
        majority |= "human_majority" in row.values
        votes = row.values.get("votes")
        if not isinstance(votes, dict):
            raise Mistake(f"{row.at}: 'votes' is not an object of judges")
        for judge, told in votes.items():
            verdict = Verdict(judge, pair.item, _readings(row.at, judge, told))
            columns.setdefault(judge, {})[pair.item] = verdict
            if told.get("type") == "human":
                people[judge] = None
    if not columns:
        raise Mistake(f"{name}: holds no vote of any judge")
    return VerdictSet(
        name,
        pairs,
        {judge: columns[judge] for judge in sorted(columns)},
        people=tuple(sorted(people)) if majority else (),
        notes=_gold_notes(pairs.values()),
    )


def _gold_notes(pairs: Iterable[Pair]) -> tuple[str, ...]:
    golds = [pair.gold for pair in pairs]
    notes = []
    if unknown := golds.count(None):
        notes.append(f"{unknown:,} of {len(golds):,} pairs have no gold answer and are not scored")
    if ties := golds.count("tie"):
        notes.append(f"of {ties:,} of {len(golds):,} pairs the gold answer is a tie")
    return tuple(notes)


def _pair(row: Row) -> Pair:
    """Return the pair of one row."""
    values = row.values
    item = text_field(row, "id")
    gold = values.get("gold", values.get("human_majority"))
    if gold is not None and gold not in VOTES:
        raise Mistake(f"{row.at}: gold {gold!r} is not '1', '2' or 'tie'")
    texts = (values.get("response_1"), values.get("response_2"))
    models = (values.get("model_1"), values.get("model_2"))
    named = all(isinstance(one, str) and one for one in models)
    told = models if named else texts
    answers = (str(told[0]), str(told[1])) if all(isinstance(t, str) for t in told) else None
    prompt = None
    if isinstance(values.get("instruction"), str):
        prompt = f"{values['instruction']}\0{values.get('input') or ''}"
    return Pair(
        item=item,
        cluster=text_field(row, "item", needed=False) or item,
        gold=cast("Vote | None", gold),
        category=text_field(row, "category", needed=False),
        answers=answers,
        named=named,
        lengths=_lengths(values, texts),
        prompt=prompt,
    )


def _lengths(values: Mapping[str, Any], texts: tuple[Any, Any]) -> tuple[int, int] | None:
    if isinstance(texts[0], str) and isinstance(texts[1], str):
        return len(texts[0]), len(texts[1])
    first, second = values.get("chars_1"), values.get("chars_2")
    return (first, second) if isinstance(first, int) and isinstance(second, int) else None


def _readings(at: str, judge: str, told: Any) -> tuple[Reading, ...]:
    """Return what is recorded of one judge on one pair, in the orders that there are."""
    if not isinstance(told, dict):
        raise Mistake(f"{at}: the votes of {judge!r} are not an object with 'ab' and 'ba'")
    readings = []
    for order in ORDERS:
        if order not in told:
            continue
        vote = told[order]
        if vote is not None and vote not in VOTES:
            raise Mistake(
                f"{at}: {judge!r} voted {vote!r}; a vote is '1', '2', 'tie' or null (not readable)"
            )
        readings.append(Reading(order, vote))
    return tuple(readings)


def session_verdicts(name: str, rows: Sequence[Row]) -> VerdictSet:
    """Return the last beliefs of the live judges of recorded debates and consultancies.

    Those count that the published figures count (``in_paper``) where any does; an even belief is
    wrong, as in the source. Sessions of one story repeat together.

    Raises:
        Mistake: a row is malformed, or no session had a live judge.
    """
    from workflows.nyu.sessions import read_sessions

    sessions = read_sessions(rows, {})
    judged = [one for one in sessions if one.judge is not None]
    counted = [one for one in judged if one.facts.in_paper] or judged
    pairs: dict[str, Pair] = {}
    columns: dict[str, dict[str, Verdict]] = {}
    for one in counted:
        item = one.question.id
        belief = _last_belief(one.turns)
        gold: Vote | None = None if one.gold is None else "1" if one.gold == "A" else "2"
        pairs[item] = Pair(item, one.question.unit, gold, category=one.setting)
        readings = () if belief is None else (Reading("ab", vote_of(belief), belief, "stated"),)
        judge = str(one.judge)
        columns.setdefault(judge, {})[item] = Verdict(judge, item, readings)
    if not columns:
        raise Mistake(f"{name}: no session had a live judge")
    notes = [f"{len(counted):,} of {len(sessions):,} recorded sessions count"]
    if len(judged) < len(sessions):
        notes.append(f"{len(sessions) - len(judged):,} had no live judge")
    if len(counted) < len(judged):
        notes.append(f"{len(judged) - len(counted):,} are not in the published figures")
    return VerdictSet(
        name,
        pairs,
        {judge: columns[judge] for judge in sorted(columns)},
        tie="wrong",
        calibrate="category",
        notes=("; ".join(notes), *_gold_notes(pairs.values())),
    )


def _last_belief(turns: Sequence[Sequence[Any]]) -> Distribution | None:
    """Return the last distribution that the judge gave."""
    found = [
        said.reply.distribution
        for turn in turns
        for said in turn
        if said.who == "J" and said.reply.distribution is not None
    ]
    return (found[-1][0], found[-1][1]) if found else None
