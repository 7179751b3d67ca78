"""The benchmark of experts on a card runs, on the CPU with tiny models, and needs little for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tests.agents.torch_here  # noqa: F401 - skips where torch is absent
from benchmarks.gpu_experts import main
from benchmarks.gpu_experts_bench import QUICK, Budget
from benchmarks.gpu_experts_models import LARGE, TINY, parameters
from benchmarks.gpu_experts_parts import PARTS, fitted
from benchmarks.gpu_experts_runs import Pacing, Setting, Unhinted, bounds_of, foretell
from benchmarks.measuring import RESULTS
from orchestrator.bounds import reference_loads
from orchestrator.workloads import EXPERTS, seat, workload
from protocols.asks import Ask, Sampling, Seat
from tests.orchestrator.gpu_fleet_contract import on_gpu
from tests.test_benchmarks import check

pytestmark = pytest.mark.torch

ABSENT = ("ray", "litellm", "sqlalchemy", "sqlmodel", "alembic", "tenacity", "networkx", "typer")
"""What the benchmark must do without."""


@pytest.mark.slow
def test_a_quick_run_of_all_parts_without_what_it_does_not_need(tmp_path: Path) -> None:
    target = tmp_path / "gpu_experts_cpu.json"
    arguments = ["--quick", "--device", "cpu", "--json", str(target), "--folder", str(tmp_path)]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r}))\n"
        f"from benchmarks.gpu_experts import main; main({arguments!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert [file.name for file in tmp_path.iterdir()] == [target.name]
    check(target, "gpu_experts_cpu", quick=True)
    found = json.loads(target.read_text(encoding="utf-8"))
    letters = {figure["name"][0] for figure in found["figures"] if figure["name"][1] == ":"}
    assert letters == set(PARTS)
    figures = {figure["name"]: figure for figure in found["figures"]}
    same = [f for name, f in figures.items() if "that differ" in name]
    assert len(same) == 2
    assert all(figure["median"] == 0.0 for figure in same)
    assert any("no measurement of a GPU" in note for note in found["notes"])
    assert "GPU_EXPERTS_CPU" in done.stdout


def test_what_was_kept_says_where_it_ran() -> None:
    for path in RESULTS.glob("gpu_experts_*.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        on_cpu = any("no measurement of a GPU" in note for note in found["notes"])
        assert on_cpu == path.stem.endswith("_cpu")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--parts", "x"], "no part 'x'"), (["--device", "cuda"], "no CUDA")],
)
def test_wrong_arguments_are_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        main(arguments)


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu_experts.NEEDED", ("torch", "no_such_library"))
    with pytest.raises(SystemExit, match="no_such_library not installed"):
        main([])


def test_steps_are_fitted() -> None:
    assert fitted({1: 3.0, 2: 5.0, 4: 9.0}) == pytest.approx((1.0, 2.0))
    assert fitted({4: 2.0}) == (2.0, 0.0)
    assert fitted({1: 5.0, 2: 3.0}) == (4.0, 0.0)  # a step never gets shorter
    start, slope = fitted({1: 0.1, 10: 10.0})
    assert start == 0.0
    assert slope == pytest.approx(1.0, rel=0.01)


def test_the_planner_is_not_told_how_long_replies_will_be() -> None:
    lengths = Unhinted(40.0)
    usual = seat("solver", "expert_00")
    forced = Seat(
        usual.name, usual.role, usual.expert, usual.model, Sampling(temperature=0.0, max_tokens=3)
    )
    assert lengths.predict(Ask(forced, ())) == 40.0
    for _ in range(8):
        lengths.learn(Ask(forced, ()), 3)
    assert lengths.predict(Ask(forced, ())) == 3.0


def test_what_the_simulator_foretells_is_near_the_bounds() -> None:
    experts = [on_gpu(f"expert_{i:02}") for i in range(EXPERTS)]
    setting = Setting(
        experts,
        factory=lambda _: pytest.fail("nothing is run"),
        batch_limit=16,
        size_gb=40.0,
        pacing=Pacing(0.5, 0.01, 0.0001, 0.001),
    )
    traces = workload("debate", 240)
    report = foretell("planner, wave", setting, traces)
    bounds = bounds_of(setting, traces)
    assert bounds.makespan_s <= report.makespan_s <= 2 * bounds.makespan_s
    assert report.load_count <= reference_loads(EXPERTS, 3, 3) + 2
    slower = foretell("barrier", setting, traces)
    assert slower.makespan_s > report.makespan_s


def test_sizes_are_what_they_are_called() -> None:
    assert 1.4e9 < parameters(LARGE) < 1.6e9
    assert parameters(TINY) < 1e6
    assert QUICK.questions < 10
    assert Budget(1.0).left_s <= 60.0
