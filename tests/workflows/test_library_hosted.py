"""Library workflows on a hosted model, by one override: against a server on this machine.

The overrides are those that the head of each file names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.openai_server import Answer, OpenAIServer
from tests.workflows.terminal import moot
from workflows.settings.configuration import library_workflows

pytestmark = pytest.mark.slow
MODEL = "openai/some-model"


@pytest.mark.parametrize(
    ("workflow", "override", "everybody"),
    [
        ("oversight", ["--cast", "judge={model}"], False),
        ("oversight", ["--set", "experts.*={model}"], True),
        ("deliberation", ["--set", "experts.ada={model}"], False),
        ("deliberation", ["--set", "experts.*={model}"], True),
    ],
)
def test_one_override_casts_a_hosted_model(
    workflow: str,
    override: list[str],
    everybody: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loopback: Callable[..., OpenAIServer],
) -> None:
    head = library_workflows()[workflow].read_text(encoding="utf-8").partition("\n\n")[0]
    assert override[1].format(model="openai/gpt-4o-mini") in head
    server = loopback(Answer(text="Answer: A"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "planted")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    few: list[Any] = ["--set", "questions.limit=2", "--store", "few.db", "--json"]
    done = moot("run", workflow, *[part.format(model=MODEL) for part in override], *few)
    assert done.code == 0, done.err
    assert done.json["ending"] == "finished"
    assert server.requests > 0
    exported = moot("export", done.json["name"], "--store", "few.db").out.splitlines()
    asks = [ask for line in exported for turn in json.loads(line)["turns"] for ask in turn]
    hosted = sum(not ask["model"].startswith(("offline/", "scripted/")) for ask in asks)
    assert 0 < hosted <= len(asks)
    assert (hosted == len(asks)) == everybody
    rows = [row for row in done.json["rows"] if row["kind"] == "protocol"]
    assert all((row["n"], row["failed"]) == (2, 0) for row in rows)
