"""A Ray cluster as moot meets it: joining it, its nodes, places for workers on them.

Everything here blocks for as long as Ray does; limits on waiting are the caller's, but for joining.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agents.machine import MachineReport, build, look
from orchestrator.fleets import ray_environment as environment
from orchestrator.fleets.delivery import in_one_line
from orchestrator.planner.placement import API_CPUS, Node, Place
from protocols.errors import Mistake

PACKAGES = ("protocols", "agents")
"""What a worker imports; these travel to a cluster on which moot is not installed."""
NAMESPACE = "moot"
"""Where the names of shared workers live."""

_HINT = (
    "start one with `ray start --head`, give its address as HOST:6379, or `local` for a new one on "
    "this machine"
)
_ACCELERATOR_LABEL = "ray.io/accelerator-type"
_ACCELERATOR_RESOURCE = "accelerator_type:"
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")


def connect(address: str | None, patience_s: float) -> bool:
    """Join or start a cluster; return whether this process was in none before.

    Raises:
        Mistake: it does not answer in time, runs another Ray or Python, or Ray refused.
    """
    import ray

    if ray.is_initialized():
        return False
    target = locate(address)
    if target is None:
        start()
    else:
        join(target, patience_s)
    return True


def disconnect() -> None:
    """Leave the cluster; one that :func:`connect` started ends."""
    import ray

    ray.shutdown()


def living_nodes(gpu_gb: float | None = None) -> tuple[Node, ...]:
    """Return the nodes that live; `gpu_gb` is the memory of each GPU, where somebody told it."""
    import ray

    return tuple(node_from(entry, gpu_gb) for entry in ray.nodes() if entry["Alive"])


def node_from(entry: Mapping[str, Any], gpu_gb: float | None = None) -> Node:
    """Return a node from Ray's description of it."""
    resources = entry["Resources"]
    kinds = sorted(name for name in resources if name.startswith(_ACCELERATOR_RESOURCE))
    labelled = (entry.get("Labels") or {}).get(_ACCELERATOR_LABEL, "")
    return Node(
        id=entry["NodeID"],
        cpus=resources.get("CPU", 0.0),
        gpus=int(resources.get("GPU", 0.0)),
        accelerator=labelled or (kinds[0].removeprefix(_ACCELERATOR_RESOURCE) if kinds else ""),
        gpu_gb=gpu_gb,
    )


def make_actor(kind: type[Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """Make an actor that Ray neither restarts nor sends a batch a second time."""
    import ray

    fixed = {"max_restarts": 0, "max_task_retries": 0}
    return ray.remote(kind).options(**fixed, **options).remote(*arguments)


def options_of(place: Place, group: Any = None) -> dict[str, Any]:
    """Return an actor's options for a place: its node where that has room, its kind of GPU always.

    Args:
        place: where the actor belongs.
        group: the placement group that holds the place's GPUs; None where it has none.
    """
    from ray.util.scheduling_strategies import (
        NodeAffinitySchedulingStrategy,
        PlacementGroupSchedulingStrategy,
    )

    if not place.gpus:
        options: dict[str, Any] = {"num_cpus": API_CPUS}
    else:
        options = {"num_cpus": 0, "num_gpus": place.gpus}
    if group is not None:
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
        return {**options, "scheduling_strategy": strategy}
    if place.node:
        strategy = NodeAffinitySchedulingStrategy(place.node, soft=True)
        options["scheduling_strategy"] = strategy
    return {**options, **_kind_of_gpu(place)}


def reserve(place: Place) -> Any:
    """Ask for the GPUs of a place, all on one node; return the placement group.

    It is granted when a node has them free; an autoscaler sees what is asked for.
    """
    from ray.util.placement_group import placement_group

    bundle: dict[str, float] = {"GPU": place.gpus}
    selector: dict[str, str] = {}
    kind = _kind_of_gpu(place)
    if "accelerator_type" in kind:
        bundle[f"{_ACCELERATOR_RESOURCE}{kind['accelerator_type']}"] = 0.001
    elif kind:
        selector = kind["label_selector"]
    labelled = {"bundle_label_selector": [selector]} if selector else {}
    return placement_group([bundle], strategy="STRICT_PACK", **labelled)


def is_granted(group: Any, timeout_s: float) -> bool:
    """Wait until a placement group has its GPUs; return whether it has."""
    return bool(group.wait(timeout_s))


def release(group: Any) -> None:
    """Give a placement group's GPUs back."""
    from ray.util.placement_group import remove_placement_group

    with suppress(Exception):
        remove_placement_group(group)


def _kind_of_gpu(place: Place) -> dict[str, Any]:
    """Return the option that asks for a place's kind of GPU.

    Nodes tell it as a resource or as a label. Of a node that is still to come nothing is known;
    labels are what node types of autoscalers declare.
    """
    import ray

    if not place.gpus or not place.accelerator:
        return {}
    resource = f"{_ACCELERATOR_RESOURCE}{place.accelerator}"
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if any(resource in node["Resources"] for node in nodes) and not any(
        (node.get("Labels") or {}).get(_ACCELERATOR_LABEL) == place.accelerator for node in nodes
    ):
        return {"accelerator_type": place.accelerator}
    return {"label_selector": {_ACCELERATOR_LABEL: place.accelerator}}


def locate(address: str | None) -> str | None:
    """Return ``HOST:PORT`` of the cluster to join; None where one is to be started.

    Raises:
        Mistake: the address has another form, or there is no cluster where one was asked for.
    """
    from ray._private.services import canonicalize_bootstrap_address

    wanted = environment.wanted_address(address)
    if wanted not in (None, "auto", "local"):
        return wanted
    try:
        located: str | None = canonicalize_bootstrap_address(wanted)
    except Exception as error:  # noqa: BLE001 - Ray raises what it likes
        raise Mistake(f"{in_one_line(error)}; {_HINT}") from None
    return located


def start() -> None:
    """Start a cluster of this process. Not in a thread: its processes die with the thread.

    Raises:
        Mistake: Ray refused.
    """
    with tempfile.TemporaryDirectory(prefix="moot-") as empty:
        _initialise(None, Path(empty))


def join(target: str, patience_s: float) -> None:
    """Join the cluster at `target`.

    Raises:
        Mistake: it does not answer in time, or Ray refused.
    """
    host, _, port = target.rpartition(":")
    environment.probe(host.strip("[]"), int(port), _HINT)
    with tempfile.TemporaryDirectory(prefix="moot-") as empty:
        environment.within(
            patience_s,
            partial(_initialise, target, Path(empty)),
            f"the Ray cluster at {target} does not answer; {_HINT}",
        )


def _initialise(target: str | None, empty: Path) -> None:
    """Join the cluster at `target`, or start one.

    Raises:
        Mistake: Ray refused.
    """
    import ray
    from ray._private.authentication import authentication_token_setup as tokens

    # As `ray start` does: the token of this user's own clusters, which goes to no other machine.
    own = (*environment.LOOPBACK, ray.util.get_node_ip_address())
    if target is not None and target.rpartition(":")[0].strip("[]") in own:
        logging.getLogger(tokens.__name__).setLevel(logging.ERROR)
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    # Ray reports the use of clusters that it starts to its makers unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = target is None
    workers = environment.runtime_environment(empty, packages=PACKAGES, here=here)
    options: dict[str, Any] = {"include_dashboard": False} if here else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=target or "local",
            runtime_env=environment.beside_the_jobs(workers),
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    except Exception as error:  # noqa: BLE001 - Ray raises what it likes
        raise Mistake(_refusal(target or "this machine", error)) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray takes it; it is the program's


def _refusal(where: str, error: Exception) -> str:
    """Return why a cluster cannot be used, in one line."""
    versions = _VERSIONS.findall(str(error))
    if len(versions) == 2 and "ersion mismatch" in str(error):
        (ray_there, python_there), (ray_here, python_here) = versions
        return (
            f"the cluster at {where} runs Ray {ray_there} on Python {python_there}, this process "
            f"Ray {ray_here} on Python {python_here}; use the same versions here and there"
        )
    return f"cannot use Ray at {where}: {in_one_line(error)}"


def own_environment(connected: bool) -> dict[str, Any]:
    """Return an actor's options for the job that it is part of.

    Args:
        connected: whether :func:`connect` made the job; else its environment is the caller's, and
            a worker finds moot's source by its path.
    """
    home = environment.package_home()
    if connected or environment.is_installed(home):
        return {}
    return {"runtime_env": {"env_vars": {"PYTHONPATH": str(home)}}}


def expected_build() -> str | None:
    """Return the build that workers must have; None where this one's packages travel to them."""
    return build() if environment.is_installed(environment.package_home()) else None


def shared_options(name: str) -> dict[str, Any]:
    """Return the options of an actor that lives for all drivers that know its name."""
    return {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
    }


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a node of a cluster says of itself."""

    name: str
    """Its address and the beginning of its id."""
    node: Node
    report: MachineReport | str
    """Why there is none, where it gave no answer."""


def survey(address: str | None, variables: Sequence[str], patience_s: float) -> list[Surveyed]:
    """Return what every living node of a cluster says of itself; joins it and leaves it.

    Args:
        address: see :class:`orchestrator.fleets.ray_fleet.RayFleet`.
        variables: environment variables to look for; of them only whether they are set is told.
        patience_s: how long the cluster may take to answer, and then its nodes.

    Raises:
        Mistake: no cluster answers, or it runs another Ray or Python.
    """
    connected = connect(address, patience_s)
    try:
        return _survey(list(variables), patience_s, own_environment(connected))
    finally:
        if connected:
            disconnect()


def _survey(variables: list[str], patience_s: float, own: Mapping[str, Any]) -> list[Surveyed]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(look)
    entries = sorted(
        (entry for entry in ray.nodes() if entry["Alive"]),
        key=lambda entry: (entry["NodeManagerAddress"], entry["NodeID"]),
    )
    calls = []
    for entry in entries:
        strategy = NodeAffinitySchedulingStrategy(entry["NodeID"], soft=False)
        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": strategy, **own}
        calls.append(remote.options(**options).remote(variables))
    ray.wait(calls, num_returns=len(calls), timeout=patience_s)
    found = []
    for entry, call in zip(entries, calls, strict=True):
        name = f"{entry['NodeManagerAddress']} ({entry['NodeID'][:8]})"
        try:
            report = ray.get(call, timeout=0.1)
        except Exception as error:  # noqa: BLE001 - whatever it is, the node gave nothing
            report = f"gave no answer: {in_one_line(error)[:200]}"
        found.append(Surveyed(name, node_from(entry), report))
    return found
