"""Evidence from recorded answers: how every expert did, one question at a time."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from agents.grading import graded_singles
from agents.recorded_file import RecordedFile
from agents.recorded_row import RecordedQuestion
from protocols.canonical import canonical_json, sha256_hex
from protocols.evidence import MISSING, RIGHT, WRONG, Evidence, EvidenceQuestion
from protocols.parsing import canonical_answer


def evidence_from_recorded(file: RecordedFile, models: Mapping[str, str]) -> Evidence:
    """Return how experts did on a file of recorded answers.

    Answers are graded as in :func:`agents.grading.graded_singles`. The cost of an expert is the
    mean length of its recorded texts, in characters, where the file has it.

    Args:
        file: the questions that the experts are measured on.
        models: label in the roster -> model as the file names it.
    """
    graded = graded_singles(file, sorted(set(models.values())))
    costs = {label: _mean_length(file, model) for label, model in models.items()}
    known = {label: cost for label, cost in costs.items() if cost is not None}
    content = canonical_json(sorted(question.key for question in file.questions.values()))
    return Evidence(
        questions=tuple(EvidenceQuestion.of(file.question(row)) for row in file.rows),
        right={label: _flags(file, graded[model]) for label, model in models.items()},
        answers={
            label: tuple(_answer(row, model) for row in file.rows)
            for label, model in models.items()
            if model in file.answers
        },
        cost=known,
        cost_unit="characters" if known else "",
        measured_on=sha256_hex(content)[:16],
    )


def _flags(file: RecordedFile, graded: Mapping[str, bool]) -> str:
    """Return one character a question."""
    marks = {True: RIGHT, False: WRONG, None: MISSING}
    return "".join(marks[graded.get(row.id)] for row in file.rows)


def _answer(row: RecordedQuestion, model: str) -> str | None:
    """Return a recorded answer in canonical form, None where there is none that can be read."""
    written = (row.answers or {}).get(model)
    return None if written is None else canonical_answer(written, row.kind)


def _mean_length(file: RecordedFile, model: str) -> float | None:
    """Return the mean number of characters of a model's recorded texts; None without any."""
    lengths = [row.chars[model] for row in file.rows if row.chars and model in row.chars]
    return round(fmean(lengths), 6) if lengths else None
