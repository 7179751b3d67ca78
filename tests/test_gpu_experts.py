"""The benchmark of experts on a card runs, on the CPU with tiny models, and needs little for it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tests.agents.torch_here  # noqa: F401 - skips where torch is absent
from benchmarks.gpu_experts import main, run_parts
from benchmarks.gpu_experts_bench import CARD, QUICK, Bench, Budget, Run
from benchmarks.gpu_experts_calibration import fitted
from benchmarks.gpu_experts_fit import LEAST_QUESTIONS, LEAST_TOKENS, MARGIN, expected_s, fit
from benchmarks.gpu_experts_models import LARGE, TINY, make_models, parameters
from benchmarks.gpu_experts_parts import PARTS
from benchmarks.gpu_experts_report import Keeper
from benchmarks.gpu_experts_runs import Pacing, Setting, Unhinted, bounds_of, foretell
from benchmarks.measuring import RESULTS
from orchestrator.simulator.bounds import reference_loads
from orchestrator.simulator.workloads import EXPERTS, seat, workload
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


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    import torch

    return make_models(
        tmp_path_factory.mktemp("models") / "all", TINY, torch.device("cpu"), linked=True
    )


@pytest.fixture
def bench(tmp_path: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench that was calibrated, as a card might be."""
    import torch

    def made_before(*_: object, **__: object) -> list[Path]:
        return folders

    monkeypatch.setattr("benchmarks.gpu_experts_bench.make_models", made_before)
    sizes = replace(CARD, questions=96, debates=48, growth=(24, 96), slotted=16)
    made = Bench(torch.device("cpu"), TINY, sizes, tmp_path, Budget(9.0), 1.0, parts=tuple(PARTS))
    made.pacing, made.read_s, made.passage_s = Pacing(0.15, 0.018, 0.00003, 0.002), 4.0, 0.03
    return made


def test_sizes_stay_where_there_is_time(bench: Bench) -> None:
    bench.budget = Budget(60.0)
    asked = bench.sizes
    fit(bench)
    assert bench.sizes is asked
    assert not bench.notes


@pytest.mark.parametrize(("share", "fits"), [(0.9, True), (0.02, False)])
def test_sizes_are_made_to_fit_and_it_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, share: float, fits: bool
) -> None:
    asked, there = bench.sizes, share * expected_s(bench)
    monkeypatch.setattr(Budget, "left_s", there / MARGIN)
    fit(bench)
    assert (expected_s(bench) <= there) == fits
    assert LEAST_TOKENS <= bench.sizes.mean_tokens < asked.mean_tokens
    if not fits:
        assert bench.sizes.questions <= LEAST_QUESTIONS
    (note,) = bench.notes
    assert f"{bench.sizes.questions} questions for 96" in note


def test_less_is_expected_of_fewer_parts(bench: Bench) -> None:
    whole = expected_s(bench)
    bench.parts = ("a", "c")
    some = expected_s(bench)
    bench.parts = ("a", "c", "e")
    assert 0.0 < some < expected_s(bench) < whole


def test_what_there_is_no_time_for_is_left_out(bench: Bench) -> None:
    bench.budget = Budget(0.01)
    assert bench.measured(Run("d", "160 debates", "barrier", "debate", 160)) is None
    assert "left out" in bench.notes[0]
    assert not bench.figures


def test_what_takes_too_long_is_cut_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.pacing = Pacing(0.0, 1e-9, 0.0, 0.0)  # quicker than anything
    monkeypatch.setattr(Budget, "left_s", 0.2)
    assert bench.measured(Run("d", "160 debates", "barrier", "debate", 160)) is None
    assert "cut off" in bench.notes[0]
    assert not bench.figures


def test_what_was_run_for_another_part_is_not_run_again(bench: Bench) -> None:
    first = bench.measured(Run("c", "2 questions", "planner, wave", "symbolic_moe", 2))
    figures = len(bench.figures)
    again = bench.measured(Run("e", "2 sessions", "planner, wave", "symbolic_moe", 2))
    assert first is again is not None
    assert len(bench.figures) == figures


def test_prompts_are_as_long_as_they_are_meant_to_be(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.transformers_chat import Chat

    words = bench.words(passage=200)
    chat = Chat(bench.folders[0], None, {}, "expert_00")
    one, other = (chat.prompt(words.messages(number, ())) for number in (0, 1))
    assert len(one) == len(other) == words.least + 3 + 3 + 3  # what frames it; two messages, a turn
    assert one != other
    assert chat.text(one[1:4]) == "w1 w2 w3"
    monkeypatch.setattr(Chat, "prompt", lambda chat, messages: [0, 0, 1])
    with pytest.raises(RuntimeError, match="read 3 tokens of a longer prompt"):
        bench.measured(Run("c", "2 questions", "planner, wave", "symbolic_moe", 2))


def test_a_part_that_breaks_is_noted_and_the_others_go_on(bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "gpu_experts_cpu.json"
    keeper = Keeper(bench.device, target, quick=True)
    bench.keep, bench.parts = keeper.write, ("c", "d")
    said: list[list[str]] = []

    def breaks(_: Bench) -> None:
        raise ValueError("no\nmemory")

    def works(bench: Bench) -> None:
        said.append(json.loads(target.read_text(encoding="utf-8"))["notes"])
        bench.figure("d: loads", "", 2.0, 3.0)

    assert not run_parts(bench, {"c": breaks, "d": works})
    assert "c: BROKEN: ValueError: no memory" in said[0]
    assert any("still to come" in note for note in said[0])
    keeper.write(bench, whole=True)
    check(target, "gpu_experts_cpu", quick=True)
    whole = json.loads(target.read_text(encoding="utf-8"))
    assert not any("still to come" in note for note in whole["notes"])
    assert whole["figures"][0]["name"] == "d: loads"
    bench.pacing, bench.parts = None, ("a", "d")
    assert not run_parts(bench, {"a": breaks, "d": works})
    assert len(said) == 1  # nothing is worth anything without what (a) measures


def test_too_little_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    full = type("Usage", (), {"free": 10**8})
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    with pytest.raises(SystemExit, match=r"take 1\.0 GB, and .* has 0\.1 GB left"):
        main(["--device", "cpu", "--parts", "b"])


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
