"""Solving prompts: how a question is put to an expert that is to answer it.

One place for all protocols, so that the first answers of every deliberation are asks with the same
keys. Parts come prefix-first: passage, question and options, then what was said, then the task.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocols.asks import Ask, Seat
from protocols.cast import Cast
from protocols.messages import Message, Part
from protocols.prompts import prompt
from protocols.question import Question

TEMPLATE = "answer"
"""The template file of the solving prompt."""
PROSE_TEMPLATE = "team"
"""The template file of what is asked where the whole reply is the answer; see ``teams.py``."""


def solver_messages(
    question: Question,
    *,
    passage: bool,
    said: Sequence[Part] = (),
    system: Part | None = None,
    exemplars: Sequence[Part] = (),
    task: Part | None = None,
) -> tuple[Message, ...]:
    """Return the prompt that asks for an answer to `question`.

    Args:
        question: what is asked.
        passage: whether the passage is shown; pass ``cast.reads_passage(role)``.
        said: what stands between the question and the task: quoted replies.
        system: the system part; the plain solver's by default.
        exemplars: what follows it: settled cases, the same for all questions.
        task: what to do now; by default to answer in the form that fits the question.
    """
    parts: list[Part] = []
    if passage and question.passage:
        parts.append(question.passage_part)
    parts.append(question.text_part)
    if question.options:
        parts.append(question.options_part)
    parts.extend(said)
    parts.append(answer_task(question) if task is None else task)
    opening = prompt(TEMPLATE, "system") if system is None else system
    return (Message("system", (opening, *exemplars)), Message("user", tuple(parts)))


def answer_task(question: Question) -> Part:
    """Return the task that asks for an answer to `question` and says in which form."""
    if question.kind == "prose":
        return prompt(PROSE_TEMPLATE, "task")
    return prompt(TEMPLATE, "task", kind=question.kind, labels=question.labels)


def solver_asks(question: Question, cast: Cast, seats: Sequence[Seat]) -> tuple[Ask, ...]:
    """Return the asks that put `question` to `seats`, which all have one role.

    The passage is shown if the role reads it. All asks share their messages.
    """
    messages = solver_messages(question, passage=cast.reads_passage(seats[0].role))
    return tuple([Ask(seat, messages, question=question.id) for seat in seats])


def reordered(question: Question, order: Sequence[int]) -> Question:
    """Return `question` with its options in another order.

    Args:
        question: a question with options.
        order: `order[i]` is the place, in `question`, of the option that now stands at i.
    """
    fields = {name: getattr(question, name) for name in type(question).model_fields}
    return Question(**{**fields, "options": tuple(question.options[i] for i in order)})
