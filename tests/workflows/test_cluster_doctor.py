"""``moot doctor --address``: what the nodes of a cluster have, and which keys they lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.machine import Gpu, MachineReport, build
from agents.roster import Expert
from orchestrator.fleets.ray_cluster import Surveyed
from orchestrator.planner.placement import Node
from tests.ray_cluster import Cluster, free_port
from tests.workflows.terminal import moot
from workflows.checking.doctor import _node
from workflows.checking.keys import PROVIDER_KEYS, variables_of

WORKFLOW = """
questions: {path: moot:mmlu_pro_questions}
protocols: [{kind: plurality, cast: {solver: [a, b]}}]
experts:
  a: {model: openai/gpt, key_env: MOOT_DOCTOR_KEY, base_url: "http://127.0.0.1:9/v1"}
  b: {model: anthropic/claude}
"""


def report(**changes: object) -> MachineReport:
    said: dict[str, object] = {
        "host": "h",
        "moot": build(),
        "python": "3.11.7",
        "ray": "2.60.0",
        "gpus": (),
        "unset": (),
        **changes,
    }
    return MachineReport(**said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "needed", "state", "words"),
    [
        (report(), True, "good", "Python 3.11.7, Ray 2.60.0; 2 GPUs A100"),
        (report(unset=("A_KEY",)), True, "bad", "not set: A_KEY"),
        (report(unset=("A_KEY",)), False, "good", "not set: A_KEY"),
        (report(moot="0.0+0"), False, "bad", "another moot than here"),
        (report(gpus=(Gpu("0", "u", "H100", 85.5),)), False, "good", "2 GPUs A100 (H100 86 GB)"),
        ("gave no answer: x", False, "bad", "gave no answer: x"),
    ],
)
def test_a_node_is_one_check(
    said: MachineReport | str, needed: bool, state: str, words: str
) -> None:
    node = Node("id", gpus=2, accelerator="A100")
    check = _node(Surveyed("10.0.0.5 (id)", node, said), needed=needed)
    assert check.name == "node 10.0.0.5 (id)"
    assert check.state == state
    assert words in check.found


def test_variables_of_a_roster() -> None:
    experts = [
        Expert(label="a", model="openai/x", key_env="OWN_KEY"),
        Expert(label="b", model="anthropic/x"),
        Expert(label="c", model="openai/local", base_url="http://localhost:1/v1"),
        Expert(label="d", model="scripted/voter"),
        Expert(label="e", model="somebody/else"),
    ]
    assert variables_of(experts) == ("ANTHROPIC_API_KEY", "OWN_KEY")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workflow", "no-such.yaml"], "no-such.yaml"),
        (["--address", "nowhere"], "'nowhere' is no address of a Ray cluster"),
        (["--address", f"127.0.0.1:{free_port()}"], "no Ray cluster answers at 127.0.0.1"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    done = moot("doctor", *arguments)
    assert done.code == 2
    assert said in done.message
    assert "\n" not in done.message.strip()


@pytest.mark.ray
def test_every_node_says_what_it_lacks(
    ray_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "w.yaml"
    place.write_text(WORKFLOW)
    with ray_cluster.node(num_gpus=1, resources={"accelerator_type:A100": 1}):
        monkeypatch.setenv("MOOT_DOCTOR_KEY", "sk-only-here")  # not before: the node is a child
        done = moot("doctor", "--address", ray_cluster.address, "--workflow", str(place), "--json")
        assert done.code == 1, done.message
        checks = done.json["checks"]
        assert len(checks) >= 2
        for check in checks:
            assert check["state"] == "bad"
            assert "not set: ANTHROPIC_API_KEY, MOOT_DOCTOR_KEY" in check["found"]
            assert f"moot {build()}, Python 3." in check["found"]
        assert any("1 GPU A100" in check["found"] for check in checks)
        usual = moot("doctor", "--address", ray_cluster.address)
        assert usual.code == 0
        assert PROVIDER_KEYS[0] in usual.out
    assert "sk-only-here" not in done.out + usual.out
