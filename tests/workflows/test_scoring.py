"""Experts that say how likely a text is: who may sit there, and how their scores are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflows.making import make, recorded_row, write_lines
from tests.workflows.terminal import moot
from workflows.checking.checks import check_workflow
from workflows.exports.transcripts import transcript

ABLE: dict[str, Any] = {
    name: {"model": "scripted/voter", "sampling": {"temperature": place / 10}}
    for place, name in enumerate(("ann", "bob", "cat", "dan", "eve"), start=1)
}
CANNOT = "'solver' tells how likely a text is, and the engine of {} cannot; cast an expert"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "q.jsonl", [recorded_row(number) for number in range(3)])
    return tmp_path


def workflow(solver: list[str], **more: Any) -> dict[str, Any]:
    cast = {"solver": solver, "aggregator": "ann"}
    return {
        "questions": {"path": "q.jsonl"},
        "experts": {**ABLE, "hosted": "openai/gpt-4o-mini", "judge": "offline/lexical-judge"},
        "protocols": [{"kind": "speculative_verdict", "cast": cast}],
        **more,
    }


def problems(data: dict[str, Any]) -> list[str]:
    return check_workflow(*make(data))


def test_experts_whose_engine_scores_prompts_may_sit_there() -> None:
    assert problems(workflow(list(ABLE))) == []


@pytest.mark.parametrize("expert", ["hosted", "judge", "good"])
def test_an_expert_whose_engine_does_not_may_not(expert: str) -> None:
    (found,) = problems(workflow(["ann", "bob", expert]))
    assert CANNOT.format(expert) in found
    assert "\n" not in found


def test_nor_may_a_team_which_has_no_likelihood_of_a_text() -> None:
    duo = {"kind": "plurality", "cast": {"solver": ["ann", "bob"]}}
    (found,) = problems(workflow(["cat", "duo"], teams={"duo": duo}))
    assert "tells how likely a text is, which no team can, nor 'duo'; cast an expert" in found


def test_an_expert_in_a_team_that_scores_must_be_able_to() -> None:
    inner = workflow(["ann", "hosted"])["protocols"][0]
    outer = {"kind": "plurality", "cast": {"solver": ["drafters", "bob"]}}
    found = problems(workflow([], teams={"drafters": inner}, protocols=[outer]))
    assert [line for line in found if CANNOT.format("hosted") in line]
    assert found[0].startswith("teams.drafters (speculative_verdict): ")


def test_validate_says_so_before_anything_is_spent() -> None:
    Path("w.yaml").write_text(yaml.safe_dump(workflow(["ann", "judge"])))
    for verb in ("validate", "run"):
        done = moot(verb, "w.yaml")
        assert done.code == 2
        assert CANNOT.format("judge") in done.message
    assert not Path("moot.db").exists()


def test_scores_are_shown_as_what_they_are() -> None:
    Path("w.yaml").write_text(yaml.safe_dump(workflow(list(ABLE))))
    assert moot("run", "w.yaml", "--set", "seed=1").code == 0
    shown = [moot("show", "w", str(number)).out for number in (1, 2, 3)]
    scored = [text for text in shown if "log-likelihood" in text]
    assert scored
    for text in scored:
        assert "“Answer: " in text
        assert "a token (perplexity " in text
        assert "(said nothing)" not in text
        assert "consensus, lowest first: " in text
        assert "to the verdict: " in text


def record_of(distribution: list[float] | None, text: str = "Answer: B") -> dict[str, Any]:
    ask = {
        "seat": "solver",
        "role": "solver",
        "expert": "ann",
        "options": [],
        "messages": [{"speaker": "assistant", "parts": [{"name": "scored", "text": text}]}],
        "other_attempts": [],
        "reply": {
            "text": "",
            "failure_boundary": None,
            "distribution": distribution,
            "distribution_source": "score",
            "prompt_tokens": 1,
            "completion_tokens": 0,
            "list_price": None,
        },
    }
    return {
        "name": "x", "parameters": {}, "session": 1, "cast": {}, "simulated": [], "turns": [[ask]],
        "question": {"id": "q", "text": "?", "options": []}, "fork_turn": None, "outcome": None,
        "message": "", "gold": None, "correct": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("distribution", "said"),
    [
        ([0.5], "“Answer: B”: log-likelihood \N{MINUS SIGN}0.693 a token (perplexity 2.00)"),
        ([1.0], "“Answer: B”: log-likelihood 0.000 a token (perplexity 1.00)"),
        ([0.0], "(no score of “Answer: B”)"),
        ([], "(no score of “Answer: B”)"),
        (None, "(no score of “Answer: B”)"),
    ],
)
def test_a_score_and_none(distribution: list[float] | None, said: str) -> None:
    assert f"  ann │ {said}" in transcript(record_of(distribution))


def test_a_long_scored_text_is_cut() -> None:
    lines = transcript(record_of([0.5], "word " * 100))
    assert any("word…”" in line or "…”" in line for line in lines)
    assert len(" ".join(lines)) < 400
