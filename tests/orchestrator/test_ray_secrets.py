"""No key reaches a cluster: not its jobs, runtime environments, actors, processes or logs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.ray_cluster import Cluster

pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[2]

DRIVER = """
import asyncio, shutil, sys
sys.path[:0] = [{root!r}]
from agents.roster import Expert
from orchestrator.fleets.fleet import Inbox
from orchestrator.fleets.ray_fleet import RayFleet
from orchestrator.submit import pack_workflow, submit_job
from protocols.errors import Mistake

hosted = Expert(
    label="hosted", model="openai/gpt", key_env="MOOT_PLANTED_KEY", base_url="http://127.0.0.1:9/v1"
)

async def main():
    fleet = RayFleet({address!r}, shared={name!r})
    try:
        await fleet.start([hosted], Inbox())
    except Mistake as mistake:
        print(mistake)
    finally:
        await fleet.close()

if sys.argv[1:] == ["submit"]:
    folder = pack_workflow({{}})
    command = ["python", "-c", "import os; print('planted', 'MOOT_PLANTED_KEY' in os.environ)"]
    submit_job(command, address={dashboard!r}, working_dir=folder)
    shutil.rmtree(folder)
else:
    asyncio.run(main())
"""


def texts_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()


def told_by_the_cluster(dashboard: str) -> str:
    """Return all that the cluster tells about jobs, actors, tasks and runtime environments."""
    from ray.util.state import list_actors, list_jobs, list_runtime_envs, list_workers

    listings = (list_actors, list_jobs, list_runtime_envs, list_workers)
    return "\n".join(
        str(entry)
        for listing in listings
        for entry in listing(address=dashboard, detail=True, limit=10_000)
    )


def environments_of_workers(session: str) -> Iterator[bytes]:
    """Yield the environment of every process that runs for this cluster's session."""
    for process in Path("/proc").iterdir():
        try:
            if session.encode() in (process / "cmdline").read_bytes():
                yield (process / "environ").read_bytes()
        except OSError:
            continue


def test_a_key_stays_where_it_is(ray_cluster: Cluster, tmp_path: Path) -> None:
    key = f"sk-{uuid4().hex}"
    script = tmp_path / "driver.py"
    script.write_text(
        DRIVER.format(
            root=str(ROOT),
            address=ray_cluster.address,
            dashboard=ray_cluster.dashboard,
            name=uuid4().hex,
        )
    )
    planted = {**os.environ, "MOOT_PLANTED_KEY": key, "OPENAI_API_KEY": key}
    said = []
    for arguments in ([], ["submit"]):
        done = subprocess.run(
            [sys.executable, str(script), *arguments],
            cwd=tmp_path,
            env=planted,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "the environment variable MOOT_PLANTED_KEY is not set" in said[0]
    assert said[1].endswith("\nplanted False\n")
    told = told_by_the_cluster(ray_cluster.dashboard)
    assert "RayWorker" in told
    assert "planted" in told  # the job's command is among it
    assert key not in told
    session = Path(ray_cluster.nodes.head_node.get_session_dir_path())
    read = list(texts_below(session))
    assert any(path.name.startswith("job-driver") for path, _ in read)
    assert [path for path, text in read if key.encode() in text] == []
    environments = list(environments_of_workers(session.name))
    assert environments
    assert not any(key.encode() in environment for environment in environments)
