"""As a stranger would: an installed wheel, a cluster of `ray start --head`, a foreign folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ray_cluster import free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
TREE = ("protocols", "agents", "orchestrator", "workflows")


@dataclass(frozen=True)
class Installed:
    """An environment with moot's wheel in it, and a folder that is not its source."""

    bin: Path
    folder: Path
    environment: dict[str, str]

    def moot(self, *arguments: str, status: int = 0) -> str:
        """Run the installed command in the folder; return what it prints."""
        done = subprocess.run(
            [self.bin / "moot", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run the installed command; return the JSON object that it prints."""
        found = json.loads(self.moot(*arguments, "--json"))
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """moot's wheel in an environment of its own, beside the libraries that are here."""
    home = tmp_path_factory.mktemp("installed")
    source = home / "source"
    for room in TREE:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", home / "dist", source], check=True)
    (wheel,) = (home / "dist").glob("moot-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "venv"], check=True)
    (packages,) = (home / "venv" / "lib").glob("python*/site-packages")
    # A path file in a path file is not read: an editable moot that stands there stays unseen.
    libraries = Path(pytest.__file__).resolve().parents[1]
    (packages / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    python = home / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    folder = home / "elsewhere"
    (folder / "agents").mkdir(parents=True)
    (folder / "agents" / "__init__.py").write_text("raise ImportError('a foreign package')\n")
    (home / "token").write_text("d" * 64, encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHONPATH"))}
    environment = {
        **kept,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(home / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OPENAI_API_KEY": "sk-planted-0123456789abcdef",
    }
    return Installed(python.parent, folder, environment)


@pytest.fixture(scope="module")
def head(installed: Installed) -> Iterator[str]:
    """The dashboard of a cluster of `ray start --head`; all of it ends with the test."""
    import psutil  # type: ignore[import-untyped]

    port, dashboard = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="moot-ray-")  # a longer one is too long for Ray's sockets
    log = Path(folder) / "head.log"
    with log.open("w", encoding="utf-8") as output:
        process = psutil.Popen(
            [
                *(installed.bin / "python", "-m", "ray.scripts.scripts", "start", "--head"),
                *("--block", f"--port={port}", f"--dashboard-port={dashboard}"),
                *("--num-cpus=2", f"--temp-dir={folder}"),
            ],
            cwd=folder,
            env=installed.environment,
            stdout=output,
            stderr=output,
        )
        try:
            while "will now block" not in log.read_text(encoding="utf-8"):
                assert process.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{dashboard}"
        finally:
            for one in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)


def test_the_installed_command_is_the_wheels(installed: Installed) -> None:
    done = subprocess.run(
        [installed.bin / "python", "-P", "-c", "import workflows; print(workflows.__file__)"],
        cwd=installed.folder,
        env=installed.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(installed.bin.parent)


def test_submit_status_and_replay(installed: Installed, head: str) -> None:
    store = str(installed.folder / "job.db")
    limit = ("--set", "questions.limit=60")
    here = installed.json("run", "skills", *limit, "--store", str(installed.folder / "here.db"))
    job = installed.json(
        "submit", "workflows/library/skills.yaml", *limit, "--store", store, "--address", head
    )
    assert job["status"] == "SUCCEEDED", job
    assert job["result"]["rows"] == here["rows"]
    status = installed.moot("status", job["job_id"], "--address", head)
    assert "succeeded" in status
    assert f"{here['sessions']}/{here['sessions']} sessions" in status  # of the run behind the job
    again = installed.json("replay", here["name"], "--store", store)
    assert (again["identical"], again["diverged"], again["model_calls"]) == (here["sessions"], 0, 0)
    logs = installed.moot("logs", job["job_id"], "--address", head)
    assert "sk-planted" not in logs + status + json.dumps(job)


def test_rays_own_command_runs_it_too(installed: Installed, head: str) -> None:
    store = str(installed.folder / "plain.db")
    limit = ("--set", "questions.limit=20")
    here = installed.json("run", "skills", *limit, "--store", str(installed.folder / "few.db"))
    run = ("moot", "run", "skills", *limit, "--fleet", "ray")
    done = subprocess.run(
        [
            *(installed.bin / "python", "-m", "ray.scripts.scripts", "job", "submit"),
            *("--address", head, "--", *run, "--store", store),
        ],
        cwd=installed.folder,
        env=installed.environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    again = installed.json("replay", "skills", "--store", store)
    assert (again["identical"], again["model_calls"]) == (here["sessions"], 0)


def test_a_detached_job_is_followed_and_cancelled(installed: Installed, head: str) -> None:
    (installed.folder / "slow.yaml").write_text(
        "questions: {path: 'moot:nyu_passages', limit: 40}\n"
        "experts: {s: {model: scripted/slow, options: {inner: voter, latency_s: 5}}}\n"
        "protocols: [{kind: direct_answer}]\n"
        "cast: {judge: s}\n",
        encoding="utf-8",
    )
    store = str(installed.folder / "slow.db")
    job = installed.moot("submit", "slow.yaml", "--detach", "--store", store, "--address", head)
    job = job.strip()
    assert installed.moot("status", job, "--address", head)
    assert installed.json("cancel", job, "--address", head)["job_id"] == job
    assert "succeeded" not in installed.moot("status", job, "--address", head)
