"""Several drivers of one command keep a limit together, before a server that counts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.servers.openai_server import Answer, OpenAIServer
from workflows.api import run
from workflows.settings.configuration import Workflow

pytestmark = pytest.mark.slow

QUESTIONS = 50
A_SECOND = 10.0
AT_ONCE = 4
LATE = 8
"""Requests that a loaded machine may hold up and then let arrive together."""


@pytest.mark.parametrize("drivers", [1, 2])
def test_drivers_together_are_never_above_the_limit(tmp_path: Path, drivers: int) -> None:
    arrived: list[float] = []

    def rule(body: dict[str, Any], number: int) -> Answer:
        arrived.append(time.monotonic())
        return Answer("Answer: A", delay_s=0.02)

    rows = [
        {"id": f"q{i}", "text": f"Which one is {i}?", "options": ["this", "that"], "gold": "A"}
        for i in range(QUESTIONS)
    ]
    text = "".join(json.dumps(one) + "\n" for one in rows)
    (tmp_path / "questions.jsonl").write_text(text, encoding="utf-8")
    with OpenAIServer(rule=rule) as server:
        workflow = Workflow.from_mapping(
            {
                "questions": {"path": "questions.jsonl"},
                "experts": {"ann": {"model": "openai/a", "base_url": server.url}},
                "cast": {"judge": "ann"},
                "protocols": [{"kind": "direct_answer"}],
                "store": str(tmp_path / "moot.db"),
                "limits": {
                    server.url: {"requests_per_minute": 60 * A_SECOND, "concurrency": AT_ONCE}
                },
            },
            where="w.yaml",
            folder=tmp_path,
        )
        result = run(workflow, drivers=drivers)
        assert result.ending == "finished"
        assert server.requests == QUESTIONS
        assert server.most_running <= AT_ONCE
    burst = A_SECOND  # what the buckets of all drivers hold together
    for first, begin in enumerate(arrived):
        for last in range(first, QUESTIONS):
            allowed = A_SECOND * (arrived[last] - begin) + burst + LATE
            assert last - first + 1 <= allowed, (first, last, arrived[last] - begin)
