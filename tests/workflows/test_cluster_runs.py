"""The same workflow on a Ray cluster: the same ask keys, the same outcomes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import Store
from tests.ray_cluster import Cluster

pytestmark = pytest.mark.ray

LIMIT = ["--set", "questions.limit=60"]


def moot(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the command in `folder`, which is not the source tree; return what it prints."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "workflows.cli", *arguments, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def recorded(store: Path) -> tuple[dict[str, str | None], set[tuple[str, str]]]:
    """Return outcomes by session key, and every (session key, ask key) with its reply's digest."""
    with Store.read(str(store)) as opened:
        (run,) = opened.runs()
        sessions = opened.sessions(run.id)
        asks: set[tuple[str, str]] = set()
        for row, loaded in zip(sessions, opened.tapes([s.id for s in sessions]), strict=True):
            for one in loaded.tape.values():
                asks.add((row.key, one.key + one.reply.digest.hex()))
        return {row.key: row.outcome_json for row in sessions}, asks


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder that holds a package of another vendor called `agents`."""
    folder = tmp_path / "elsewhere"
    (folder / "agents").mkdir(parents=True)
    (folder / "agents" / "__init__.py").write_text("raise ImportError('a foreign package')\n")
    return folder


def test_laptop_fleet_and_job_agree(ray_cluster: Cluster, tmp_path: Path, foreign: Path) -> None:
    here = moot(foreign, "run", "skills", *LIMIT, "--store", str(tmp_path / "local.db"))
    there = moot(
        foreign,
        *("run", "skills", *LIMIT, "--store", str(tmp_path / "ray.db")),
        *("--fleet", "ray", "--address", ray_cluster.address),
    )
    job = moot(
        foreign,
        *("submit", "skills", *LIMIT, "--store", str(tmp_path / "job.db")),
        *("--address", ray_cluster.dashboard),
    )
    shared = moot(
        foreign,
        *("run", "skills", *LIMIT, "--store", str(tmp_path / "two.db"), "--drivers", "2"),
        *("--fleet", "ray", "--address", ray_cluster.address),
    )
    expected = recorded(tmp_path / "local.db")
    assert len(expected[0]) == here["sessions"] > 100
    assert all(expected[0].values())
    assert recorded(tmp_path / "ray.db") == expected
    assert recorded(tmp_path / "job.db") == expected
    assert recorded(tmp_path / "two.db") == expected
    assert shared["rows"] == here["rows"]
    assert here["rows"] == there["rows"]
    assert here["name"] == there["name"]
    assert job["status"] == "SUCCEEDED"
    seen = moot(foreign, "status", job["job_id"], "--address", ray_cluster.dashboard)
    assert (seen["run"]["name"], seen["run"]["sessions_done"]) == (here["name"], here["sessions"])
    assert seen["metadata"] == {"run": here["name"], "store": str(tmp_path / "job.db")}
    again = moot(foreign, "replay", here["name"], "--store", str(tmp_path / "job.db"))
    assert (again["identical"], again["diverged"], again["model_calls"]) == (here["sessions"], 0, 0)
