"""What fits together on a card, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflows.terminal import moot
from workflows.checking.doctor_models import together


@pytest.mark.parametrize(
    ("sizes", "memory", "said"),
    [
        ({"a": 15.0, "b": 15.0}, 40.0, "all 2 experts at once (a 15, b 15)"),
        ({"a": 15.0, "b": 15.0, "c": 15.0}, 40.0, "2 of 3 experts at once (as a 15, b 15)"),
        ({"a": 30.0, "b": 15.0, "c": 20.0}, 40.0, "1 to 2 of 3 experts at once (as b 15, c 20)"),
        ({"a": 40.0, "b": 40.0}, 40.0, "1 of 2 experts at once (as a 40)"),
    ],
)
def test_what_fits_together(sizes: dict[str, float], memory: float, said: str) -> None:
    assert together(sizes, memory) == said


def look(
    tmp_path: Path, fleet: str, expert: str = "{model: scripted/voter, gpu_gb: 10}"
) -> list[dict[str, str]]:
    place = tmp_path / "w.yaml"
    place.write_text(
        "questions: {path: moot:mmlu_pro_questions, limit: 2}\n"
        f"experts: {{a: {expert}, b: {expert}}}\n"
        "pool: [a, b]\n"
        f"fleet: {fleet}\n"
        "protocols: [{kind: multiagent_debate, rounds: 2}]\n"
    )
    checks: list[dict[str, str]] = moot("doctor", "--workflow", str(place), "--json").json["checks"]
    return checks


def test_loads_are_predicted_beside_their_bound(tmp_path: Path) -> None:
    found = {check["name"]: check for check in look(tmp_path, "{gpus: 1, gpu_gb: 10}")}
    assert found["gpu-0"]["found"] == "10 GB: 1 of 2 experts at once (as a 10)"
    said = found["predicted loads"]["found"]
    assert said.startswith("4 loads of 2 experts in ")
    assert "no order of work needs fewer than 4 (2 of 2 sessions played" in said


def test_an_expert_that_fits_on_no_card_is_bad(tmp_path: Path) -> None:
    (last,) = [c for c in look(tmp_path, "{gpus: 1, gpu_gb: 8}") if c["name"] == "experts on GPUs"]
    assert last["state"] == "bad"
    assert "a asks for 1 GPU with 10 GB, and the GPUs here have 8 GB" in last["found"]


def test_without_gpu_gb_nothing_is_loaded(tmp_path: Path) -> None:
    checks = look(tmp_path, "local", "scripted/voter")
    assert checks[-1]["found"] == "none says gpu_gb: none needs loads"
    checks = look(tmp_path, "ray")
    assert "--address looks at its nodes" in checks[-1]["found"]
