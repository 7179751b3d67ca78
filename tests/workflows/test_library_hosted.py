"""Library workflows on a hosted model, by one override: against a server on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.openai_server import Answer, OpenAIServer
from tests.workflows.terminal import moot

pytestmark = pytest.mark.slow
MODEL = "openai/some-model"


@pytest.mark.parametrize(
    ("workflow", "override"),
    [
        ("oversight", ["--cast", f"judge={MODEL}"]),
        ("oversight-all", ["--cast", f"judge={MODEL}"]),
        ("deliberation", ["--set", f"experts.ada={MODEL}"]),
    ],
)
def test_one_override_casts_a_hosted_model(
    workflow: str,
    override: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loopback: Callable[..., OpenAIServer],
) -> None:
    server = loopback(Answer(text="Answer: A"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "planted")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    few: list[Any] = ["--set", "questions.limit=2", "--store", "few.db", "--json"]
    done = moot("run", workflow, *override, *few)
    assert done.code == 0, done.err
    assert done.json["ending"] == "finished"
    assert server.requests > 0
    rows = [row for row in done.json["rows"] if row["kind"] == "protocol"]
    assert all((row["n"], row["failed"]) == (2, 0) for row in rows)
