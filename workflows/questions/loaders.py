"""Published data of four kinds, each told by its content, as questions with gold answers.

Recorded answers are read by :mod:`agents.recorded_file`; the other three kinds here. What cannot
be asked or scored is left out, and a note says how many and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from protocols.errors import Mistake
from protocols.question import Question
from workflows.questions.fields import Item, make_question, option_at, text_field
from workflows.questions.sources import Row

Kind = Literal["recorded", "votes", "debates", "passages", "own"]


class Loaded(NamedTuple):
    """Questions with their gold answers, and what was left out."""

    items: list[Item]
    notes: list[str]


def recognise(row: Row) -> Kind:
    """Return what kind of file `row` is the first row of."""
    names = set(row.values)
    if {"id", "kind", "question", "gold"} <= names and names & {"answers", "correct"}:
        return "recorded"
    if "votes" in names and names & {"gold", "human_majority"}:
        return "votes"
    if {"question_id", "answers", "rounds"} <= names:
        return "debates"
    if {"text", "questions"} <= names:
        return "passages"
    return "own"


def vote_items(rows: Sequence[Row]) -> Loaded:
    """Return pairwise votes as questions: an instruction with two responses as its options.

    The gold answer is the source's, or the majority of people. Pairs without text and pairs on
    which people tie are left out. Pairs of one instruction repeat together.
    """
    items, no_text, ties = [], 0, 0
    for row in rows:
        if row.values.get("response_1") is None or row.values.get("response_2") is None:
            no_text += 1
            continue
        gold = row.values.get("gold", row.values.get("human_majority"))
        if gold == "tie":
            ties += 1
            continue
        if gold not in ("1", "2"):
            raise Mistake(f"{row.at}: gold {gold!r} is not '1', '2' or 'tie'")
        items.append(Item(_pair_question(row), "A" if gold == "1" else "B", row.at))
    notes = []
    if no_text:
        notes.append(f"{no_text} of {len(rows)} pairs carry no text and are left out")
    if ties:
        notes.append(f"{ties} of {len(rows)} pairs are a tie among people and are left out")
    return Loaded(items, notes)


def _pair_question(row: Row) -> Question:
    instruction = text_field(row, "instruction")
    given = text_field(row, "input", needed=False)
    parts = ["Which response follows this instruction better?", f"Instruction: {instruction}"]
    if given.strip():
        parts.append(f"Input: {given}")
    return make_question(
        row.at,
        id=text_field(row, "id"),
        text="\n\n".join(parts),
        options=tuple(
            text_field(row, name, needed=False) or "(an empty response)"
            for name in ("response_1", "response_2")
        ),
        category=text_field(row, "category", needed=False),
        cluster=text_field(row, "item", needed=False),
    )


def debate_items(rows: Sequence[Row]) -> Loaded:
    """Return the distinct questions of recorded debate sessions, without passage.

    The first session of a question gives the order of its options. Questions of one story repeat
    together.
    """
    items: dict[str, Item] = {}
    for row in rows:
        id = f"{_origin(row)}/{text_field(row, 'question_id')}"
        options = _texts(row, row.values.get("answers"))
        gold = option_at(row.at, row.values.get("gold"), options)
        question = make_question(
            row.at,
            id=id,
            text=text_field(row, "question"),
            options=options,
            subject=text_field(row, "story_title", needed=False),
            cluster=text_field(row, "story_id"),
        )
        first = items.setdefault(id, Item(question, gold, row.at))
        if _gold_text(first) != _gold_text(Item(question, gold, row.at)):
            raise Mistake(f"{row.at}: question {id!r} has another gold answer than at {first.at}")
    note = f"{len(items)} distinct questions of {len(rows)} recorded sessions"
    return Loaded(list(items.values()), [note])


def passage_items(rows: Sequence[Row]) -> Loaded:
    """Return questions with the passage that they are about; those of one passage repeat together.

    The id is the passage's origin and the question's own id: ``nyu/08f2e1467d53``.
    """
    items = []
    for row in rows:
        story = text_field(row, "id").rpartition("/")[2]
        passage = text_field(row, "text")
        questions = row.values["questions"]
        if not isinstance(questions, list) or not all(isinstance(q, dict) for q in questions):
            raise Mistake(f"{row.at}: 'questions' is not a list of objects")
        for values in questions:
            inner = Row(row.at, values)
            options = _texts(inner, values.get("options"))
            question = make_question(
                row.at,
                id=f"{_origin(row)}/{text_field(inner, 'question_id')}",
                text=text_field(inner, "question"),
                options=options,
                passage=passage,
                subject=text_field(row, "title", needed=False),
                cluster=story,
            )
            items.append(Item(question, option_at(row.at, values.get("gold"), options), row.at))
    return Loaded(items, [])


LOADERS: dict[str, Callable[[Sequence[Row]], Loaded]] = {
    "votes": vote_items,
    "debates": debate_items,
    "passages": passage_items,
}
"""What reads the rows of each kind that is neither recorded answers nor a user's own."""


def _origin(row: Row) -> str:
    """Return the name of the collection: ``nyu`` of ``nyu/a-pail-of-air-0``."""
    return text_field(row, "id").partition("/")[0].removesuffix("_story")


def _texts(row: Row, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise Mistake(f"{row.at}: no list of options")
    if not all(isinstance(option, str) for option in value):
        raise Mistake(f"{row.at}: an option is not text")
    return tuple(value)


def _gold_text(item: Item) -> str:
    return item.question.options[item.question.labels.index(item.gold or "")]
