"""A Ray cluster for the tests that are marked `ray`; one a session, as it takes seconds.

Its head offers two GPUs that are not there. Tests may add nodes to it and kill them.
"""

from __future__ import annotations

import logging
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FAILURE_DETECTION = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""A node that is killed is seen in 2 s instead of 17."""


@dataclass(frozen=True)
class Cluster:
    """Where a cluster is reached."""

    address: str
    """HOST:PORT, for fleets."""
    dashboard: str
    """URL of the job API."""
    nodes: Any
    """Ray's own object for adding and removing nodes."""

    @contextmanager
    def node(self, **offers: Any) -> Iterator[Any]:
        """Add a node, for example with ``num_cpus=1``; remove it in the end, unless it is gone."""
        added = self.nodes.add_node(**{"num_cpus": 0, **_own_ports(), **offers})
        try:
            yield added
        finally:
            if added in self.nodes.list_all_nodes():
                self.nodes.remove_node(added)

    def kill(self, node: Any) -> None:
        """End a node's processes hard."""
        self.nodes.remove_node(node, allow_graceful=False)


def free_port() -> int:
    """Return a port of the loopback interface on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _own_ports() -> dict[str, int]:
    """Return the ports of a node that several clusters on one machine would contend for."""
    return {"dashboard_agent_listen_port": free_port()}


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of this process, which has joined it, with a token of its own and a job API."""
    import ray
    from ray._private.authentication.authentication_token_setup import enable_token_auth_by_default
    from ray.cluster_utils import Cluster as Nodes

    home: Path = tmp_path_factory.mktemp("ray")
    own = tempfile.mkdtemp(prefix="moot-ray-")
    empty = home / "empty"
    empty.mkdir()
    (home / "auth_token").write_text("a" * 64, encoding="utf-8")
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**FAILURE_DETECTION, "RAY_USAGE_STATS_ENABLED": "0"}.items():
            patch.setenv(name, value)
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "auth_token"))
        patch.setenv("RAY_AUTH_MODE", "")  # so that leaving unsets what Ray sets
        patch.delenv("RAY_AUTH_MODE")  # a mode set after Ray's import is unseen; this one is seen:
        enable_token_auth_by_default()
        offers = {
            "num_cpus": 2,
            "num_gpus": 2,
            "include_dashboard": True,
            "dashboard_port": port,
            # Jobs look there for the address of their cluster, and would find another of this
            # machine. The names of sockets must be short.
            "temp_dir": own,
            **_own_ports(),
        }
        nodes = Nodes(initialize_head=True, head_node_args=offers)
        root = Path(__file__).resolve().parents[1]
        try:
            ray.init(
                address=nodes.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"working_dir": str(empty), "env_vars": {"PYTHONPATH": str(root)}},
            )
            yield Cluster(nodes.address, f"http://127.0.0.1:{port}", nodes)
        finally:
            ray.shutdown()
            nodes.shutdown()
            shutil.rmtree(own, ignore_errors=True)
