"""Small files and workflows for the tests of this room."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from workflows.questions.data_files import Inputs, LoadedQuestions, load_inputs, load_questions
from workflows.settings.configuration import Workflow
from workflows.settings.sections import QuestionsSpec

DATA = Path(__file__).resolve().parents[1] / "data"


def write_lines(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read_packed(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.open(DATA / f"{name}.jsonl.gz", "rt")]


def recorded_row(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A multiple-choice row with three recorded models: right, wrong, unread."""
    return {
        "id": f"t/{number}",
        "source": "t",
        "kind": "mcq",
        "category": "c",
        "subject": "s",
        "question": f"Which is {number}?",
        "options": ["one", "two", "three"],
        "gold": "B",
        "answers": {"good": "B", "bad": "A", "mute": None},
        "correct": None,
        "chars": None,
        "metric": None,
        **fields,
    }


def load(path: str | Path, **fields: Any) -> LoadedQuestions:
    return load_questions(QuestionsSpec.model_validate({"path": str(path), **fields}))


def make(data: dict[str, Any], where: str = "w.yaml") -> tuple[Workflow, Inputs]:
    workflow = Workflow.from_mapping(data, where)
    return workflow, load_inputs(workflow)
