"""The key `fleet` of a workflow file, and what a command line says in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.roster import Expert
from orchestrator.fleets.fleet import Fleet
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.fleets.ray_fleet import RayFleet
from protocols.errors import Mistake
from workflows.settings.configuration import Workflow, load_workflow
from workflows.settings.fleets import FleetSpec, Where, chosen_fleet, make_fleet
from workflows.settings.schema import json_schema

WHOLE = {
    "kind": "ray",
    "address": "head:6379",
    "workers": 2,
    "gpus": 4,
    "gpu_gb": 80,
    "mode": "wave",
    "drivers": 3,
    "patience_s": 60,
}


def workflow(fleet: Any) -> Workflow:
    return Workflow.from_mapping(
        {
            "questions": {"path": "moot:mmlu_pro_questions"},
            "protocols": [{"kind": "plurality", "cast": {"solver": "a"}}],
            "experts": {"a": "scripted/voter"},
            "fleet": fleet,
        }
    )


@pytest.mark.parametrize(
    ("said", "expected", "written"),
    [
        (None, FleetSpec(), "local"),
        ("ray", FleetSpec(kind="ray"), "ray"),
        ({"kind": "ray"}, FleetSpec(kind="ray"), "ray"),
        (WHOLE, FleetSpec.model_validate(WHOLE), WHOLE),
    ],
    ids=["nothing", "a name", "a short mapping", "a mapping"],
)
def test_a_name_or_a_mapping(said: Any, expected: FleetSpec, written: Any) -> None:
    loaded = workflow(said)
    assert loaded.fleet == expected
    resolved = loaded.resolved()
    assert resolved["fleet"] == written
    assert Workflow.from_mapping(json.loads(json.dumps(resolved))).fleet == expected


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("cloud", "fleet: input should be 'local' or 'ray'"),
        (["ray"], "fleet"),
        ({"kind": "ray", "adress": "x"}, "unknown key 'adress'; did you mean 'address'?"),
        ({"workers": 0}, "fleet.workers: input should be greater than or equal to 1"),
        ({"gpus": 0}, "fleet.gpus: input should be greater than or equal to 1"),
        ({"gpu_gb": 0}, "fleet.gpu_gb: input should be greater than 0"),
        ({"mode": "fifo"}, "fleet.mode: input should be 'auto', 'cycle' or 'wave'"),
        ({"patience_s": -1}, "fleet.patience_s: input should be greater than 0"),
    ],
)
def test_one_line_for_what_is_wrong(said: Any, says: str) -> None:
    with pytest.raises(Mistake) as caught:
        workflow(said)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_override_reaches_into_the_mapping() -> None:
    loaded = load_workflow("skills", ["fleet={kind: ray}", "fleet.patience_s=600"])
    assert loaded.fleet == FleetSpec(kind="ray", patience_s=600.0)


def test_the_schema_takes_both_forms() -> None:
    fleet = json_schema()["properties"]["fleet"]
    assert fleet["anyOf"][0]["enum"] == ["local", "ray"]
    assert fleet["anyOf"][1] == {"$ref": "#/$defs/FleetSpec"}


@pytest.mark.parametrize(
    ("name", "address", "expected"),
    [
        (None, None, FleetSpec(kind="ray", address="a:1", workers=2)),
        ("local", None, FleetSpec(kind="local", address="a:1", workers=2)),
        ("ray", "b:2", FleetSpec(kind="ray", address="b:2", workers=2)),
        (None, "b:2", FleetSpec(kind="ray", address="b:2", workers=2)),
    ],
)
def test_a_command_line_takes_precedence(name: Any, address: Any, expected: FleetSpec) -> None:
    said = FleetSpec(kind="ray", address="a:1", workers=2)
    assert chosen_fleet(said, name, address) == expected


def test_an_address_alone_is_one_of_ray() -> None:
    assert chosen_fleet(FleetSpec(), None, "b:2") == FleetSpec(kind="ray", address="b:2")
    with pytest.raises(Mistake, match="--address is that of a Ray cluster"):
        chosen_fleet(FleetSpec(kind="ray"), "local", "b:2")


def test_fleets_are_made_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Noted(RayFleet):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            made.append((arguments, settings))
            super().__init__(*arguments, **settings)

    monkeypatch.setattr("orchestrator.fleets.ray_fleet.RayFleet", Noted)
    spec = FleetSpec.model_validate(WHOLE)
    fleet: Fleet = make_fleet(spec, "other:6379", shared="run", share=(1, 3))
    assert make_fleet(fleet) is fleet
    assert isinstance(make_fleet("ray"), RayFleet)
    assert isinstance(make_fleet(FleetSpec(gpus=1, gpu_gb=8.0)), LocalFleet)
    settings = {"gpus": 4, "gpu_gb": 80.0, "patience_s": 60.0, "shared": "run", "share": (1, 3)}
    assert made[0] == (("other:6379", 2), settings)


def test_where_a_run_goes() -> None:
    said = FleetSpec(kind="ray", drivers=2)
    assert Where.chosen(said) == Where(said, drivers=2)
    assert Where.chosen(said, drivers=4).drivers == 4
    assert Where.chosen(said).on_ray
    local = LocalFleet()
    assert Where.chosen(said, local) == Where(local)
    assert not Where.chosen(said, local).on_ray
    assert Where.chosen(FleetSpec(), said) == Where(said, drivers=2)


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_gpus_belong_to_one_driver(kind: str) -> None:
    on_gpu = Expert(label="math", model="scripted/gpu", gpu_gb=15.0)
    where = Where.chosen(FleetSpec.model_validate(kind), drivers=2)
    where.check([Expert(label="x", model="scripted/echo")])
    with pytest.raises(Mistake, match="math: GPUs belong to one driver, and this run has 2"):
        where.check([on_gpu])
    spec = FleetSpec(kind="ray") if kind == "ray" else FleetSpec(gpus=1, gpu_gb=20.0)
    Where.chosen(spec).check([on_gpu])


def test_gpus_that_are_not_here_are_refused_before_a_run_is_kept() -> None:
    large = Expert(label="math", model="scripted/gpu", gpu_gb=30.0)
    where = Where.chosen(FleetSpec(gpus=2, gpu_gb=24.0))
    with pytest.raises(Mistake, match="math asks for 1 GPU with 30 GB, and the GPUs here have 24"):
        where.check([large])


def test_the_file_says_where_its_fleet_is(tmp_path: Path) -> None:
    place = tmp_path / "w.yaml"
    place.write_text(
        "questions: {path: moot:mmlu_pro_questions}\n"
        "protocols: [{kind: plurality, cast: {solver: a}}]\n"
        "experts: {a: scripted/voter}\n"
        "fleet: {kind: ray, address: 'head:6379', gpu_gb: 40}\n"
    )
    assert load_workflow(place).fleet == FleetSpec(kind="ray", address="head:6379", gpu_gb=40.0)
