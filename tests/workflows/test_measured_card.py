"""``moot estimate --measured``: a prediction from what a card was measured to take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from protocols.errors import Mistake
from tests.workflows.terminal import moot
from workflows.forecast.measured_card import LOAD, NEW_ASK, SIZE, STEP, STEP_ASK, read_measured

FIGURES = {LOAD: 2_000.0, STEP: 20.0, STEP_ASK: 0.1, NEW_ASK: 10.0, SIZE: 4.0}
WORKFLOW = """
questions: {path: moot:mmlu_pro_questions, limit: 3}
experts:
  a: {model: scripted/voter, gpu_gb: 8}
  b: {model: scripted/voter, gpu_gb: 4}
pool: [a, b]
protocols: [{kind: plurality}]
store: m.db
"""


def write(path: Path, figures: dict[str, float]) -> Path:
    listed = [{"name": name, "unit": "x", "median": value} for name, value in figures.items()]
    path.write_text(json.dumps({"benchmark": "gpu_experts", "figures": listed}))
    return path


def test_loads_and_steps_go_with_the_size(tmp_path: Path) -> None:
    card = read_measured(write(tmp_path / "card.json", FIGURES))
    found = card.figures(100.0)
    assert found["load_s_per_gb"] == pytest.approx(0.5)
    assert found["step_s_per_gb"] == pytest.approx(0.005)
    assert found["step_ask_s"] == pytest.approx(0.0001 + 0.0001)


def test_without_a_size_every_model_takes_the_same(tmp_path: Path) -> None:
    figures = {name: FIGURES[name] for name in (LOAD, STEP, STEP_ASK)}
    found = read_measured(write(tmp_path / "card.json", figures)).figures(100.0)
    assert found == pytest.approx({"load_s": 2.0, "step_s": 0.02, "step_ask_s": 0.0001})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "holds no figure 'a: load, weights in host memory'"),
        ('{"figures": [3, {"name": "x"}, {"name": "y", "median": "z"}]}', "holds no figure"),
    ],
)
def test_what_is_no_calibration_is_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "card.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Mistake, match=said) as caught:
        read_measured(path)
    assert "\n" not in str(caught.value)


def test_the_command_predicts_from_a_measured_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    write(tmp_path / "card.json", FIGURES)
    told = moot("estimate", "w.yaml", "--measured", "card.json", "--gpu-gb", "8", "--json").json
    assert told["figures"]["load_s_per_gb"] == pytest.approx(0.5)
    assert told["figures"]["step_ask_s"] == pytest.approx(0.0001 + 0.01 / 400)
    slow = write(tmp_path / "slow.json", FIGURES | {LOAD: 200_000.0})
    later = moot("estimate", "w.yaml", "--measured", str(slow), "--gpu-gb", "8", "--json").json
    assert later["fleet"]["makespan_s"] > told["fleet"]["makespan_s"] + 100.0
    given = moot(
        *("estimate", "w.yaml", "--measured", str(slow), "--load-s", "1", "--gpu-gb", "8", "--json")
    ).json
    assert given["fleet"]["makespan_s"] < later["fleet"]["makespan_s"]
    missing = moot("estimate", "w.yaml", "--measured", "none.json")
    assert missing.code == 2
    assert missing.out == ""
    assert "none.json: cannot be read" in missing.message
