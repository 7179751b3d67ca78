"""cluster.yaml is what Ray's cluster launcher accepts, and fits the rest of the tree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

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
