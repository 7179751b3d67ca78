"""Submitting through Ray's job API: what travels, what the job sees, and what goes wrong."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.fleets import ray_environment as environment
from orchestrator.submit import (
    DEFAULT_ADDRESS,
    cancel_job,
    dashboard_address,
    job_logs,
    job_status,
    moot_command,
    pack_workflow,
    submit_job,
)
from protocols.errors import Mistake
from tests.orchestrator.test_ray_fleet import DRIVER, ROOT
from tests.ray_cluster import Cluster, free_port


@pytest.fixture
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def pack(tmp_path: Path, **texts: str) -> Path:
    """Pack files with these names and texts."""
    files = {}
    for number, (name, text) in enumerate(texts.items()):
        files[name] = tmp_path / f"source-{number}"
        files[name].write_text(text, encoding="utf-8")
    return pack_workflow(files)


@pytest.mark.ray
def test_a_job_sees_what_was_packed_and_moots_packages(
    ray_cluster: Cluster, tmp_path: Path
) -> None:
    look = (
        "import agents, os, sys, workflows; print(open('w.yaml').read()); "
        "print(sorted(p for p in os.listdir('.') if not p.startswith('_'))); "
        "print(agents.__file__.startswith(os.getcwd())); print('end', end=''); sys.exit(3)"
    )
    folder = pack(tmp_path, **{"w.yaml": "name: x", "data/questions.jsonl": "{}"})
    lines: list[str] = []
    accepted: list[str] = []
    result = submit_job(
        ["python", "-c", look],
        address=ray_cluster.dashboard,
        working_dir=folder,
        metadata={"run": "demo", "store": "postgresql://me:***@h/d"},
        on_accepted=accepted.append,
        on_line=lines.append,
    )
    shutil.rmtree(folder)
    rooms = ["agents", "data", "orchestrator", "protocols", "w.yaml", "workflows"]
    assert lines[-4:] == ["name: x", str(rooms), "True", "end"]
    assert (result.status, result.exit_code) == ("FAILED", 3)
    assert accepted == [result.job_id]
    assert result.metadata == {"run": "demo", "store": "postgresql://me:***@h/d"}
    assert job_status(result.job_id, address=ray_cluster.dashboard) == result
    assert "name: x" in job_logs(result.job_id, address=ray_cluster.dashboard)


@pytest.mark.ray
def test_a_fleet_inside_a_job(ray_cluster: Cluster, tmp_path: Path) -> None:
    driver = DRIVER.replace("sys.path[:0] = [{root!r}]", "").format(address=None, patience=25.0)
    folder = pack(tmp_path, **{"driver.txt": driver})
    lines: list[str] = []
    result = submit_job(
        ["env", "PYTHONPATH=.", "python", "driver.txt"],
        address=ray_cluster.dashboard,
        working_dir=folder,
        on_line=lines.append,
    )
    shutil.rmtree(folder)
    assert (result.status, result.exit_code) == ("SUCCEEDED", 0)
    assert lines[-1] == "hi"


@pytest.mark.ray
def test_a_job_is_left_alone_and_stopped(ray_cluster: Cluster) -> None:
    command = ["python", "-c", "import signal; signal.pause()"]
    result = submit_job(command, address=ray_cluster.dashboard, wait=False)
    assert result.status in ("PENDING", "RUNNING")
    assert cancel_job(result.job_id, address=ray_cluster.dashboard)
    while (status := job_status(result.job_id, address=ray_cluster.dashboard)).status != "STOPPED":
        assert status.status in ("PENDING", "RUNNING")


@pytest.mark.ray
def test_a_job_that_is_not_there(ray_cluster: Cluster) -> None:
    for ask in (job_status, job_logs, cancel_job):
        with pytest.raises(Mistake, match="job none") as caught:
            ask("none", address=ray_cluster.dashboard)
        assert "\n" not in str(caught.value)


@pytest.mark.ray
def test_a_cluster_that_wants_a_token(ray_cluster: Cluster) -> None:
    code = (
        "from orchestrator.submit import job_status\n"
        "from protocols.errors import Mistake\n"
        f"try: job_status('x', address={ray_cluster.dashboard!r})\n"
        "except Mistake as mistake: print(mistake)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "it wants its token; set RAY_AUTH_MODE=token" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.ray
def test_the_token_of_ones_own_clusters_is_used(ray_cluster: Cluster) -> None:
    """`ray start` turns tokens on where the user has one, without a mode in the environment."""
    code = (
        "from orchestrator.fleets.ray_cluster import survey\n"
        "from orchestrator.submit import job_status\n"
        "from protocols.errors import Mistake\n"
        f"print(len(survey({ray_cluster.address!r}, [], 25.0)) > 0)\n"
        f"try: job_status('nobody', address={ray_cluster.dashboard!r})\n"
        "except Mistake as mistake: print(mistake)"
    )
    env = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("True\n")
    assert "job nobody does not exist" in done.stdout.lower()
    assert done.stderr == ""


def test_nobody_at_the_address() -> None:
    port = free_port()
    with pytest.raises(Mistake, match=f"no Ray cluster answers at 127.0.0.1:{port}"):
        job_status("x", address=f"http://127.0.0.1:{port}/")


@pytest.mark.ray
def test_a_server_that_says_nothing(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PATIENCE_S", 0.2)
    with pytest.raises(Mistake, match=r"no answer in 0\.2 s"):
        job_status("x", address=f"http://{silent_server}")


@pytest.mark.parametrize(
    ("argument", "api", "ray", "expected"),
    [
        (None, None, None, DEFAULT_ADDRESS),
        (None, None, "auto", DEFAULT_ADDRESS),
        ("http://a:1/", "http://b:2", "http://c:3", "http://a:1"),
        (None, "http://b:2", "http://c:3", "http://b:2"),
        (None, None, "https://c", "https://c"),
    ],
)
@pytest.mark.usefixtures("no_addresses")
def test_which_address_counts(
    argument: str | None,
    api: str | None,
    ray: str | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("RAY_API_SERVER_ADDRESS", api), ("RAY_ADDRESS", ray)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert dashboard_address(argument) == expected


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "ray://head:10001", "http://", "head"])
def test_what_is_no_dashboard(address: str) -> None:
    with pytest.raises(Mistake, match="write http://HOST:8265"):
        dashboard_address(address)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("head", "write HOST:6379"),
        ("head:", "write HOST:6379"),
        (":6379", "write HOST:6379"),
        ("http://head:8265", "moot submit"),
        ("ray://head:10001", "moot submit"),
    ],
)
def test_what_is_no_address_of_a_fleet(address: str, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        environment.wanted_address(address)


@pytest.mark.usefixtures("no_addresses")
def test_which_address_a_fleet_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.wanted_address(None) is None
    assert environment.wanted_address("[::1]:6379") == "[::1]:6379"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert environment.wanted_address(None) == "head:6379"
    assert environment.wanted_address("local") == "local"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../w.yaml", "outside"),
        ("/w.yaml", "outside"),
        ("", "outside"),
        ("json.py", "may hide"),
        ("agents/__init__.py", "may hide"),
    ],
)
def test_what_is_not_packed(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=said):
        pack(tmp_path, **{name: "x"})


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"questions\.jsonl"):
        pack_workflow({"data/questions.jsonl": tmp_path / "questions.jsonl"})


def test_the_runtime_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages"
    packages = ("protocols",)
    folder = tmp_path / "folder"
    folder.mkdir()
    plain = environment.runtime_environment(folder, packages=packages, here=False, home=installed)
    assert plain == {"working_dir": str(folder)}
    here = environment.runtime_environment(folder, packages=packages, here=True)
    assert here == {**plain, "env_vars": {"PYTHONPATH": str(ROOT)}}
    assert list(folder.iterdir()) == []
    assert environment.runtime_environment(folder, packages=packages, here=False) == plain
    assert (folder / "protocols" / "asks.py").is_file()
    assert not list(folder.rglob("__pycache__"))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"runtime_env": {"working_dir": "gcs://x"}}')
    assert environment.beside_the_jobs(here) == {"env_vars": here["env_vars"]}


def test_the_command_of_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert moot_command(["run", "w.yaml"])[-2:] == ["run", "w.yaml"]
    monkeypatch.setattr(environment, "package_home", lambda: tmp_path / "site-packages")
    assert moot_command(["run", "w.yaml"]) == ["moot", "run", "w.yaml"]
    monkeypatch.setattr(environment, "package_home", lambda: tmp_path)
    assert moot_command(["run"]) == ["python", "-m", "workflows.cli", "run"]


def test_a_call_in_time_gives_its_value_or_its_error() -> None:
    assert environment.within(5.0, lambda: None, "late") is None
    with pytest.raises(ZeroDivisionError):
        environment.within(5.0, lambda: 1 // 0, "late")
