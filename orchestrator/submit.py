"""Submitting a run to a Ray cluster through its job API.

What travels is a folder with the workflow and the files that it names, and nothing else: the
user's own directory may hold an ``agents`` folder that would hide moot's. The job is the same
``moot run`` that a laptop runs. Keys do not travel; the cluster's nodes have their own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from orchestrator.fleets import ray_environment as environment
from orchestrator.fleets.delivery import in_one_line
from protocols.errors import Mistake

T = TypeVar("T")

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""Where the dashboard of a cluster on this machine listens."""
PACKAGES = ("protocols", "agents", "orchestrator", "workflows")
"""What a job imports; these travel to a cluster on which moot is not installed."""
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
"""Status of a job that runs no more."""

_POLL_S = 0.5
_HINT = "start a cluster with `ray start --head`, or give its dashboard as http://HOST:8265"
_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
    "ray._private.authentication.authentication_token_setup",
)
"""Loggers that tell of every upload and token; modules set their own level on being imported."""
_API_ADDRESS = "RAY_API_SERVER_ADDRESS"


@dataclass(frozen=True, slots=True)
class JobResult:
    """What is known of a job."""

    job_id: str
    status: str
    """``PENDING``, ``RUNNING``, ``STOPPED``, ``SUCCEEDED`` or ``FAILED``."""
    exit_code: int | None = None
    """The command's exit code, once it ended by itself."""
    message: str = ""
    """What Ray says about the status, in one line."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What was kept with it when it was submitted."""


def moot_command(arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs moot in a job, for example ``moot run FILE``."""
    if environment.is_installed(environment.package_home()):
        return ["moot", *arguments]
    return ["python", "-m", "workflows.cli", *arguments]


def pack_workflow(files: Mapping[str, Path]) -> Path:
    """Return a new temporary folder that holds copies of `files`, by their names in it.

    The caller removes the folder once the job is submitted.

    Raises:
        Mistake: a file cannot be read, or its name leaves the folder or would hide a package.
    """
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise Mistake(f"{name!r} lies outside the workflow's folder; put it beside the file")
        if path.suffix == ".py" and (len(path.parts) == 1 or path.parts[0] in PACKAGES):
            raise Mistake(f"{name!r} may hide a package that the job imports; rename it")
    folder = Path(tempfile.mkdtemp(prefix="moot-job-"))
    try:
        for name, source in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise Mistake(f"cannot pack {name!r}: {in_one_line(error)}") from None
    return folder


def submit_job(
    entrypoint: Sequence[str],
    *,
    address: str | None = None,
    working_dir: Path | None = None,
    metadata: Mapping[str, str] | None = None,
    wait: bool = True,
    on_accepted: Callable[[str], None] | None = None,
    on_line: Callable[[str], None] = print,
) -> JobResult:
    """Run a command as a Ray job.

    Args:
        entrypoint: the command line, see :func:`moot_command`; runs in the packed folder.
        address: the cluster's dashboard; RAY_API_SERVER_ADDRESS, RAY_ADDRESS or the cluster on
            this machine unless told.
        working_dir: the folder of :func:`pack_workflow`; an empty one where it is None. Where moot
            is not installed but runs from a checkout, its packages are copied into it.
        metadata: kept with the job, for everybody who sees it: no secrets.
        wait: follow the job until it ends; else return as soon as it is accepted.
        on_accepted: called with the job's id, once it has one.
        on_line: called with each line that the job prints, while waiting.

    Raises:
        Mistake: the cluster does not answer in 30 s, or turns the job away.
    """
    with tempfile.TemporaryDirectory(prefix="moot-") as empty:
        client = _client(address)
        job_id: str = _asked(
            "submit the job",
            partial(
                client.submit_job,
                entrypoint=shlex.join(entrypoint),
                runtime_env=_environment(working_dir or Path(empty)),
                metadata=dict(metadata or {}),
            ),
        )
    if on_accepted:
        on_accepted(job_id)
    if not wait:
        return _result(client, job_id)
    asyncio.run(_follow(client, job_id, on_line))
    while (result := _result(client, job_id)).status not in ENDED:
        time.sleep(_POLL_S)
    return result


def job_status(job_id: str, *, address: str | None = None) -> JobResult:
    """Return what is known of a job.

    Raises:
        Mistake: the cluster does not answer or does not know the job.
    """
    return _result(_client(address), job_id)


def job_logs(job_id: str, *, address: str | None = None) -> str:
    """Return all that a job printed so far.

    Raises:
        Mistake: the cluster does not answer or does not know the job.
    """
    logs: str = _asked(f"read job {job_id}", partial(_client(address).get_job_logs, job_id))
    return logs


def cancel_job(job_id: str, *, address: str | None = None) -> bool:
    """Stop a job; return whether it was running.

    Raises:
        Mistake: the cluster does not answer or does not know the job.
    """
    stopped: bool = _asked(f"stop job {job_id}", partial(_client(address).stop_job, job_id))
    return stopped


def dashboard_address(address: str | None) -> str:
    """Return the URL of the cluster's dashboard.

    Raises:
        Mistake: the address is not one of a dashboard.
    """
    wanted = address or os.environ.get(_API_ADDRESS) or os.environ.get("RAY_ADDRESS")
    if wanted in (None, "", "auto", "local"):
        return DEFAULT_ADDRESS
    url = urlsplit(wanted)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Mistake(f"{wanted!r} is no dashboard of a Ray cluster; write http://HOST:8265")
    return wanted.rstrip("/")


def _client(address: str | None) -> Any:
    """Return a client of the cluster's job API."""
    wanted = dashboard_address(address)
    url = urlsplit(wanted)
    port = url.port or (443 if url.scheme == "https" else 80)
    environment.probe(str(url.hostname), port, _HINT)

    def connect() -> Any:
        from ray._private.authentication import authentication_token_setup as tokens
        from ray.job_submission import JobSubmissionClient

        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        # As `ray start` does: the token of this user's own clusters, to no other machine.
        if url.hostname in environment.LOOPBACK:
            tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        with _preferred(wanted):
            return JobSubmissionClient(wanted)

    return _asked(f"use the Ray cluster at {wanted}", connect)


@contextmanager
def _preferred(address: str) -> Iterator[None]:
    """Let `address` count: Ray's client lets environment variables override its argument."""
    before = os.environ.get(_API_ADDRESS)
    os.environ[_API_ADDRESS] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[_API_ADDRESS]
        else:
            os.environ[_API_ADDRESS] = before


def _asked(what: str, call: Callable[[], T]) -> T:
    """Return what a call to the cluster gives; `what` says what it does.

    Raises:
        Mistake: the cluster does not answer, or refuses.
    """
    from ray.exceptions import AuthenticationError

    try:
        late = f"cannot {what}: no answer in {environment.PATIENCE_S:g} s; {_HINT}"
        return environment.within(environment.PATIENCE_S, call, late)
    except AuthenticationError:
        raise Mistake(
            f"cannot {what}: it wants its token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH "
            "to a file that holds the token of the cluster"
        ) from None
    except Mistake:
        raise
    except Exception as error:  # noqa: BLE001 - Ray raises what it likes
        raise Mistake(f"cannot {what}: {in_one_line(error)}") from None


def _environment(working_dir: Path) -> dict[str, Any]:
    """Return the job's runtime environment."""
    job = environment.runtime_environment(working_dir, packages=PACKAGES, here=False)
    # A cluster on this machine may have been started without this Python's commands on its path;
    # on another machine the folder is not there and changes nothing.
    commands = f"{Path(sys.executable).parent}{os.pathsep}${{PATH}}"
    return {**job, "env_vars": {"PATH": commands}}


def _result(client: Any, job_id: str) -> JobResult:
    """Return what the cluster says about a job."""
    details = _asked(f"read job {job_id}", partial(client.get_job_info, job_id))
    status = str(getattr(details.status, "value", details.status))
    message = " ".join((details.message or "").split())
    metadata = dict(details.metadata or {})
    return JobResult(job_id, status, details.driver_exit_code, message, metadata)


async def _follow(client: Any, job_id: str, on_line: Callable[[str], None]) -> None:
    """Hand on what a job prints, line by line, until the stream ends."""
    rest = ""
    try:
        async for chunk in client.tail_job_logs(job_id):
            *lines, rest = (rest + chunk).split("\n")
            for line in lines:
                on_line(line)
    except (RuntimeError, OSError) as error:
        on_line(f"(the log broke off: {in_one_line(error)}; see `moot logs {job_id}`)")
    if rest:
        on_line(rest)
