"""How moot meets a Ray cluster: its address, its packages there, and limits on waiting.

Nothing here imports Ray. Its workers put the driver's working directory on their import path,
where a folder called ``agents`` would hide moot's; a working directory of our own cures that. Where
moot runs from a checkout or an editable installation, its packages are not on the workers' import
path and travel in that directory. Keys never travel: workers read them on their own node.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.fleets.delivery import in_one_line
from protocols.errors import Mistake

T = TypeVar("T")

PATIENCE_S = 25.0
"""How long a cluster may take to answer. Ray itself would try for many minutes."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that are this machine."""

_PROBE_S = 5.0
_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The environment variable in which Ray hands a job its configuration."""


def package_home() -> Path:
    """Return the folder that holds moot's four packages."""
    return Path(__file__).resolve().parents[2]


def is_installed(home: Path) -> bool:
    """Whether `home` is a folder of installed packages, which every Python there imports from."""
    return home.name in ("site-packages", "dist-packages")


def wanted_address(address: str | None) -> str | None:
    """Return the address to join: as told, else RAY_ADDRESS, else None.

    Raises:
        Mistake: it is neither ``HOST:PORT`` nor ``auto`` nor ``local``.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or None
    if wanted in (None, "auto", "local"):
        return wanted
    if "://" in wanted:
        raise Mistake(
            f"a Ray fleet joins a cluster at HOST:6379 from one of its nodes, not at {wanted!r}; "
            "from outside use `moot submit --address http://HOST:8265`"
        )
    host, _, port = wanted.rpartition(":")
    if not host or not port.isdigit():
        raise Mistake(f"{wanted!r} is no address of a Ray cluster; write HOST:6379")
    return wanted


def runtime_environment(
    folder: Path, *, packages: Sequence[str], here: bool, home: Path | None = None
) -> dict[str, Any]:
    """Return the runtime environment under which workers import moot's packages.

    Args:
        folder: becomes the working directory; holds nothing that hides a package.
        packages: the packages that must travel where moot is not installed; they are copied into
            `folder`, all beside each other as they must stand.
        here: whether the cluster is this process's own, on this machine.
        home: the folder of the packages; :func:`package_home` unless told.
    """
    home = package_home() if home is None else home
    environment: dict[str, Any] = {"working_dir": str(folder)}
    if is_installed(home):
        return environment
    if here:
        return {**environment, "env_vars": {"PYTHONPATH": str(home)}}
    for package in packages:
        shutil.copytree(
            home / package,
            folder / package,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
    return environment


def beside_the_jobs(environment: dict[str, Any]) -> dict[str, Any]:
    """Return what of `environment` the Ray job around this process, if any, left open.

    A job has its working directory from its submission; Ray refuses a driver that sets it again.
    """
    job = json.loads(os.environ.get(_JOB_CONFIG, "{}")).get("runtime_env") or {}
    return {key: value for key, value in environment.items() if key not in job}


def within(seconds: float, call: Callable[[], T], what: str) -> T:
    """Return what `call` returns, if it does so in time.

    The call runs in a daemon thread, so one that hangs does not keep the process alive.

    Raises:
        Mistake: it took longer; `what` says what did not answer, and what to do.
        BaseException: whatever the call raised.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="moot-ray", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise Mistake(what)
    return results[0]


def probe(host: str, port: int, hint: str) -> None:
    """Check that something listens at an address.

    Raises:
        Mistake: nothing does; `hint` says what to do.
    """
    try:
        socket.create_connection((host, port), timeout=_PROBE_S).close()
    except OSError as error:
        message = f"no Ray cluster answers at {host}:{port} ({in_one_line(error)}); {hint}"
        raise Mistake(message) from None
