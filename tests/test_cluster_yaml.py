"""cluster.yaml is what Ray's cluster launcher accepts, and fits the rest of the tree."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ray_cluster import free_port

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "cluster.yaml").read_text(encoding="utf-8")


def cluster() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(TEXT)
    return loaded


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    """Return what the launcher makes of a configuration; raises where it does not accept it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    ready: dict[str, Any] = prepare_config(config)
    validate_config(ready)
    return ready


@pytest.mark.ray
def test_the_launcher_accepts_it() -> None:
    types = prepared(cluster())["available_node_types"]
    assert {name: kind["max_workers"] for name, kind in types.items()} == {
        "ray.head.default": 0,
        "moot.api": 4,
        "moot.gpu.small": 2,
        "moot.gpu.large": 1,
    }


@pytest.mark.ray
def test_the_launcher_would_refuse_a_wrong_one() -> None:
    config = cluster()
    config["head_node_type"] = "head"
    with pytest.raises(ValueError, match="head_node_type"):
        prepared(config)


def test_the_head_is_for_drivers_and_an_api_worker_is_always_there() -> None:
    config = cluster()
    types = config["available_node_types"]
    assert config["head_node_type"] == "ray.head.default"
    assert types["ray.head.default"]["resources"] == {"CPU": 0}
    assert types["moot.api"]["min_workers"] >= 1
    assert sum("GPU" in kind["resources"] for kind in types.values()) == 2


def test_the_nodes_run_the_ray_that_is_tested() -> None:
    pinned = re.search(r"(?m)^ray==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert pinned is not None
    images = re.findall(r"rayproject/ray:([\w.]+)-py311", TEXT)
    assert images == [pinned.group(1)] * 3


def test_nothing_secret_or_foreign_travels() -> None:
    config = cluster()
    assert list(config["file_mounts"]) == ["/tmp/moot"]
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])
    assert not re.search(r"(?i)(_KEY|_TOKEN|PASSWORD)\s*[:=]", TEXT)


def kuberay() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(
        (ROOT / "docs" / "kuberay.yaml").read_text(encoding="utf-8")
    )
    return loaded


def test_the_manifest_for_kubernetes_runs_the_same_ray_and_keeps_keys_to_api_workers() -> None:
    spec = kuberay()["spec"]["rayClusterSpec"]
    text = (ROOT / "docs" / "kuberay.yaml").read_text(encoding="utf-8")
    pinned = re.search(r"(?m)^ray==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert pinned is not None
    assert spec["rayVersion"] == pinned.group(1)
    assert re.findall(r"rayproject/ray:([\w.]+)-py311", text) == [pinned.group(1)]
    pods = {group["groupName"]: group["template"]["spec"] for group in spec["workerGroupSpecs"]}
    pods["head"] = spec["headGroupSpec"]["template"]["spec"]
    keyed = [name for name, pod in pods.items() if "envFrom" in pod["containers"][0]]
    assert keyed == ["api"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_the_manifest_for_kubernetes_runs_a_command_that_there_is() -> None:
    from typer.testing import CliRunner

    from workflows.cli.application import app

    shell, flag, script = shlex.split(kuberay()["spec"]["entrypoint"])
    assert (shell, flag) == ("sh", "-c")
    moot, verb, _, *options = shlex.split(script)
    assert moot == "moot"
    shown = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).output
    assert {option for option in options if option.startswith("--")} <= set(
        re.findall(r"--[a-z-]+", shown)
    )


CLIENT = """
import sys, time
import ray

ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False)

def sizes():
    offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sorted((int(offer.get("CPU", 0)), int(offer.get("GPU", 0))) for offer in offers)

end = time.monotonic() + 60
while (4, 0) not in sizes() and time.monotonic() < end:
    time.sleep(0.2)  # the autoscaler looks once a second
print(sizes())

@ray.remote(num_gpus=1, label_selector={"ray.io/accelerator-type": "A10G"})
class Expert:
    def node(self):
        return ray.get_runtime_context().get_node_labels()["ray.io/accelerator-type"]

expert = Expert.remote()
print(ray.get(expert.node.remote(), timeout=60))
print(sizes())
"""


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The cluster of cluster.yaml with its node types as processes here: address, environment."""
    import psutil  # type: ignore[import-untyped]

    port = free_port()
    config = prepared(cluster())
    config["provider"] = {"type": "fake_multinode", "gcs_address": f"127.0.0.1:{port}"}
    for kind in config["available_node_types"].values():
        kind["node_config"] = {}
    (tmp_path / "cluster.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "token").write_text("b" * 64, encoding="utf-8")
    (tmp_path / "dist").mkdir()  # what the nodes would install
    folder = tempfile.mkdtemp(prefix="moot-ray-")  # tmp_path is too long for Ray's sockets
    environment = {
        **os.environ,
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token"),
    }
    log = (tmp_path / "log").open("w", encoding="utf-8")
    head = psutil.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--num-cpus=0", f"--port={port}", "--node-ip-address=127.0.0.1"),
            *("--include-dashboard=false", f"--temp-dir={folder}"),
            f"--autoscaling-config={tmp_path / 'cluster.json'}",
        ],
        cwd=tmp_path,
        env=environment,
        stdout=log,
        stderr=log,
    )
    try:
        while "will now block" not in (tmp_path / "log").read_text(encoding="utf-8"):
            assert head.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")
            time.sleep(0.1)
        yield f"127.0.0.1:{port}", environment
    finally:
        family = [*head.children(recursive=True), head]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        head.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.ray
def test_its_node_types_start_when_they_are_needed(
    launched: tuple[str, dict[str, str]],
) -> None:
    address, environment = launched
    client = subprocess.run(
        [sys.executable, "-c", CLIENT, address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert client.stdout.splitlines() == [
        "[(0, 0), (4, 0)]",
        "A10G",
        "[(0, 0), (4, 0), (8, 1)]",
    ], client.stderr
