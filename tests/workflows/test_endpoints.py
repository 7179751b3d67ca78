"""The keys ``retry``, ``limits`` and ``fallbacks``: read, checked, and obeyed by a real run."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from agents.roster import Expert
from orchestrator.events import EventLog
from orchestrator.limits.limits import Limit
from orchestrator.limits.retry import RetryPolicy
from orchestrator.store import Store
from protocols.errors import Mistake
from tests.servers.openai_server import Answer, OpenAIServer
from workflows.api import Hooks, RunResult, run
from workflows.branching import rejudge
from workflows.settings.configuration import Workflow
from workflows.settings.endpoints import Rules, fallbacks_of

QUESTIONS = [
    {"id": f"q{i}", "text": f"Which one is {i}?", "options": ["this", "that"], "gold": "A"}
    for i in range(6)
]


def written(folder: Path, experts: dict[str, Any], **more: Any) -> Workflow:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in QUESTIONS), encoding="utf-8")
    data = {
        "questions": {"path": str(path), "format": "jsonl"},
        "experts": experts,
        "cast": {"judge": "ann"},
        "protocols": [{"kind": "direct_answer"}],
        "store": str(folder / "moot.db"),
        **more,
    }
    return Workflow.from_mapping(data, where="w.yaml", folder=folder)


def nobody() -> str:
    """Return an address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def replies(folder: Path, result: RunResult) -> list[dict[str, Any]]:
    with Store.open(str(folder / "moot.db")) as store:
        return list(store.reply_rows([row.id for row in store.sessions(result.run_id)]))


def test_the_keys_are_read_and_resolved(tmp_path: Path) -> None:
    url = "http://127.0.0.1:8000/v1"
    workflow = written(
        tmp_path,
        {"ann": {"model": "openai/a", "base_url": url, "fallbacks": ["bob"]}, "bob": "openai/b"},
        retry={"attempts": 7, "longest_total_s": 90},
        limits={"openai": {"requests_per_minute": 600, "concurrency": 32}, url: {}},
    )
    assert workflow.retry == RetryPolicy(attempts=7, longest_total_s=90.0)
    assert workflow.limits["openai"] == Limit(requests_per_minute=600.0, concurrency=32)
    assert workflow.experts["ann"].fallbacks == ("bob",)
    resolved = workflow.resolved()
    assert Rules.from_json(resolved) == workflow.rules
    assert Rules.from_json(json.loads(json.dumps(workflow.rules.as_json()))) == workflow.rules
    assert Workflow.from_mapping(resolved, where="w.yaml").rules == workflow.rules


def test_without_the_keys_there_are_defaults_and_no_limit(tmp_path: Path) -> None:
    workflow = written(tmp_path, {"ann": "openai/a"})
    assert workflow.rules == Rules()
    assert Rules.from_json({}) == Rules()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"retry": {"attempts": 0}}, r"w.yaml: retry.attempts: "),
        ({"retry": {"tries": 3}}, r"w.yaml: retry: unknown key .tries."),
        ({"limits": ["openai"]}, r"w.yaml: limits: not a mapping"),
        ({"limits": {"openai": {"rpm": 3}}}, r"w.yaml: limits.openai: unknown key .rpm."),
        ({"limits": {"openai": {"requests_per_minute": 0}}}, r"limits.openai.requests_per_minute"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, more: dict[str, Any], told: str) -> None:
    with pytest.raises(Mistake, match=told) as caught:
        written(tmp_path, {"ann": "openai/a"}, **more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fallbacks", "told"),
    [(["bub"], "no expert 'bub'.*bob"), (["ann"], "the expert itself"), (["bob", "bob"], "before")],
)
def test_a_fallback_that_cannot_be_one_is_told(
    tmp_path: Path, fallbacks: list[str], told: str
) -> None:
    ann = {"model": "scripted/voter", "fallbacks": fallbacks}
    workflow = written(tmp_path, {"ann": ann, "bob": "scripted/voter"})
    with pytest.raises(Mistake, match=told):
        run(workflow)


def test_a_limit_of_nobody_is_told_before_anything_is_spent(tmp_path: Path) -> None:
    workflow = written(tmp_path, {"ann": "scripted/voter"}, limits={"opnai": {"concurrency": 2}})
    with pytest.raises(Mistake, match=r"limits\.opnai: no expert of this run has that endpoint"):
        run(workflow)


def test_only_the_seated_bring_their_fallbacks() -> None:
    ann = Expert(label="ann", model="a/a", fallbacks=("bob", "openai/gpt"))
    assert list(fallbacks_of([ann])) == ["bob", "openai/gpt"]


def test_a_run_ends_on_its_fallback_and_says_so(tmp_path: Path) -> None:
    said = io.StringIO()
    notes: list[str] = []
    with OpenAIServer(Answer(text="Answer: A")) as server:
        workflow = written(
            tmp_path,
            {
                "ann": {"model": "openai/a", "base_url": nobody(), "fallbacks": ["bob"]},
                "bob": {"model": "openai/b", "base_url": server.url, "price": {"prompt": 1.0}},
            },
            retry={"attempts": 2, "first_wait_s": 0.0},
            limits={server.url: {"concurrency": 2}},
        )
        result = run(workflow, hooks=Hooks(on_note=notes.append, events=EventLog(said)))
        assert server.most_running <= 2
    assert result.ending == "finished"
    rows = replies(tmp_path, result)
    accepted = [row for row in rows if row["accepted"]]
    assert {(row["served_by"], row["model_served"]) for row in accepted} == {
        ("bob", "served-model-2026-11-01")
    }
    assert {row["list_price"] for row in accepted} == {11 / 1e6}
    failed = [row for row in rows if not row["accepted"]]
    assert {(row["served_by"], row["failure_cause"]) for row in failed} == {(None, "connection")}
    assert any("no answer, left alone for 15 s" in note for note in notes)
    kinds = [json.loads(line)["kind"] for line in said.getvalue().splitlines()]
    assert "circuit_open" in kinds


def test_an_account_without_quota_ends_as_a_failure_by_time(tmp_path: Path) -> None:
    turned_away = Answer(
        status=429,
        headers={"Retry-After": "0.05"},
        error="You exceeded your current quota",
        error_code="insufficient_quota",
    )
    with OpenAIServer(turned_away) as server:
        workflow = written(
            tmp_path,
            {"ann": {"model": "openai/a", "base_url": server.url}},
            retry={"first_wait_s": 0.0, "longest_total_s": 0.3},
        )
        result = run(workflow)
        requests = server.requests
    assert result.ending == "finished"
    rows = replies(tmp_path, result)
    accepted = [row for row in rows if row["accepted"]]
    assert {row["failure_cause"] for row in accepted} == {"throttled"}
    assert all("exceeded your current quota" in row["failure_message"] for row in accepted)
    unsent = [row for row in accepted if "given up after" in row["failure_message"]]
    assert len(rows) - len(unsent) == requests, "what was given up was not sent"


def test_a_branch_is_treated_as_its_parent(tmp_path: Path) -> None:
    with OpenAIServer(Answer(status=500), Answer(text="Answer: B")) as server:
        workflow = written(
            tmp_path,
            {"ann": "scripted/voter", "bob": {"model": "openai/b", "base_url": server.url}},
            protocols=[
                {"kind": "direct_answer"},
                {"kind": "direct_answer", "name": "other", "cast": {"judge": "bob"}},
            ],
            retry={"attempts": 1},
        )
        result = run(workflow)
        assert server.requests == len(QUESTIONS)
        branch = rejudge(result.run_id, "bob", store=str(tmp_path / "moot.db"))
    with Store.open(str(tmp_path / "moot.db")) as store:
        rows = {row.id: row for row in store.runs()}
    assert Rules.from_json(json.loads(rows[branch.run_id].config_json)).retry.attempts == 1
