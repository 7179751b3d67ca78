"""What the tests of experts are made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.engines import identify
from agents.roster import Expert
from protocols.asks import Ask, Seat
from protocols.messages import Message, Part, Place
from protocols.question import Question

TASK = Part("task", "Answer the question. End with a line 'Answer: X'.")


def question_number(i: int) -> Question:
    """Question `i`, with four options and a passage."""
    return Question(
        id=f"made/{i}",
        text=f"Which number is {i}?",
        options=(f"{i}", f"{i + 1}", f"{i + 2}", f"{i + 3}"),
        passage=f"It is known that the number is {i}. Nobody doubts it.",
        category="numbers",
        subject="even" if i % 2 == 0 else "odd",
    )


def ask_about(
    expert: Expert,
    question: Question,
    *extra: Part,
    role: str = "solver",
    seat: str = "solver",
    place: Place | None = None,
) -> Ask:
    """Return an ask as protocols put them: passage, question, options, what was said, task."""
    parts = (question.passage_part, question.text_part, question.options_part, *extra, TASK)
    return Ask(
        Seat(seat, role, expert.label or "x", identify(expert)),
        (Message("system", (Part("system", "You are an expert."),)), Message("user", parts)),
        question=question.id,
        place=place,
    )


def row(i: int, **changes: Any) -> dict[str, Any]:
    """Return line `i` of a file of recorded answers; the right answer is A."""
    question = question_number(i)
    line: dict[str, Any] = {
        "id": question.id,
        "source": "made",
        "kind": "mcq",
        "category": question.category,
        "subject": question.subject,
        "question": question.text,
        "options": list(question.options),
        "gold": "A",
        "answers": {"good": "A", "bad": "B", "mute": None},
        "correct": None,
        "chars": {"good": 400, "bad": 41},
        "metric": None,
    }
    return line | changes


def write_rows(path: Path, *rows: dict[str, Any] | str) -> Path:
    """Write a file of recorded answers; a text is a line as it stands."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def recorded_expert(path: Path, model: str = "good") -> Expert:
    """Return a recorded expert of the files that :func:`write_rows` writes."""
    return Expert(label=model, model=f"recorded/made/{model}", data=str(path))
