"""Grading recorded answers: the answer key joined to what single experts said."""

from __future__ import annotations

from collections.abc import Iterable

from agents.recorded_file import RecordedFile
from agents.recorded_row import RecordedQuestion
from protocols.parsing import canonical_answer
from protocols.question import QuestionKind


def grade(answer: str | None, gold: str, kind: QuestionKind) -> bool:
    """Whether `answer` is `gold`, both in canonical form; numbers are compared as numbers.

    None, and what has no canonical form, is wrong.
    """
    if answer is None:
        return False
    value = canonical_answer(answer, kind)
    return value is not None and value == canonical_answer(gold, kind)


def graded_singles(file: RecordedFile, models: Iterable[str]) -> dict[str, dict[str, bool]]:
    """Return by model and question id whether the model's own answer is right.

    The source's flag counts where there is one, else the answer against gold; a null answer is
    wrong. A question for which the model is unavailable is absent: missing, not wrong.
    """
    graded: dict[str, dict[str, bool]] = {}
    for model in models:
        graded[model] = {}
        for row in file.rows:
            right = _graded(row, model)
            if right is not None:
                graded[model][row.id] = right
    return graded


def _graded(row: RecordedQuestion, model: str) -> bool | None:
    """Return whether `model` is right on a row, None where it is unavailable."""
    if row.answers is not None and model not in row.answers:
        return None
    flag = None if row.correct is None else row.correct.get(model)
    if flag is not None:
        return flag == 1
    if row.answers is None:
        return None
    return grade(row.answers[model], row.gold, row.kind)
