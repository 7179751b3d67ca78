"""A Ray cluster for the tests that are marked `ray`; one a session, as it takes seconds."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Cluster:
    """Where a cluster is reached."""

    address: str
    """HOST:PORT, for fleets."""
    dashboard: str
    """URL of the job API."""


def free_port() -> int:
    """Return a port of the loopback interface on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of this process, with a token of its own and a job API."""
    import ray

    home: Path = tmp_path_factory.mktemp("ray")
    empty = home / "empty"
    empty.mkdir()
    (home / "auth_token").write_text("a" * 64, encoding="utf-8")
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "auth_token"))
        patch.setenv("RAY_AUTH_MODE", "")  # so that leaving unsets what Ray sets
        patch.delenv("RAY_AUTH_MODE")  # Ray turns tokens on; a mode set after its import is unseen
        root = Path(__file__).resolve().parents[1]
        ray.init(
            address="local",
            num_cpus=2,
            dashboard_port=port,
            include_dashboard=True,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"working_dir": str(empty), "env_vars": {"PYTHONPATH": str(root)}},
            _node_ip_address="127.0.0.1",
        )
        address = ray.get_runtime_context().gcs_address
        try:
            yield Cluster(address, f"http://127.0.0.1:{port}")
        finally:
            ray.shutdown()
