"""What a process can say of the machine that it runs on: its moot, its GPUs, which keys it has.

Plain functions without any fleet in them; they run on every node of a cluster. Of an environment
variable nothing is ever told but whether it is set.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOMS = ("protocols", "agents")
"""What a worker imports of moot."""
_GB_OF_MIB = 2**20 / 1e9
_SMI = (
    "nvidia-smi",
    "--query-gpu=index,uuid,name,memory.total,memory.free",
    "--format=csv,noheader,nounits",
)
_SMI_S = 10.0
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much memory a container may have."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as its driver describes it."""

    index: str
    uuid: str
    name: str
    memory_gb: float
    free_gb: float | None = None
    """What nobody uses now; None where it is not told."""


@dataclass(frozen=True, slots=True)
class MachineReport:
    """What a process found on its machine."""

    host: str
    moot: str
    """See :func:`build`."""
    python: str
    ray: str
    gpus: tuple[Gpu, ...]
    unset: tuple[str, ...]
    """The variables asked for that hold nothing here."""


def look(variables: Sequence[str]) -> MachineReport:
    """Return what this process finds here; `variables` are only looked at for being set."""
    return MachineReport(
        host=socket.gethostname(),
        moot=build(),
        python=platform.python_version(),
        ray=_installed("ray"),
        gpus=gpus(),
        unset=tuple(name for name in variables if not os.environ.get(name, "").strip()),
    )


@lru_cache(maxsize=1)
def build() -> str:
    """Return moot's version and a digest of the sources that workers import: ``0.1.0+1f0c9a2b``.

    Two processes with the same build run the same experts in the same way.
    """
    home = Path(__file__).resolve().parent.parent
    digest = blake2b(digest_size=4)
    for room in _ROOMS:
        for path in sorted((home / room).rglob("*")):
            if path.suffix in (".py", ".md"):
                digest.update(path.relative_to(home).as_posix().encode() + b"\0")
                digest.update(path.read_bytes() + b"\0")
    return f"{_installed('moot') or 'source'}+{digest.hexdigest()}"


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs of this machine; none where there is no driver that can be asked."""
    try:
        done = subprocess.run(_SMI, capture_output=True, text=True, timeout=_SMI_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(done.stdout)


def memory_gb(limits: Sequence[str] = _LIMITS) -> float:
    """Return the main memory that this process may have, in gigabytes: a container's, or all.

    Args:
        limits: files that may hold a container's limit in bytes.
    """
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in limits:
        try:
            most = min(most, int(Path(limit).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return most / 1e9


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs that ``nvidia-smi`` lists; skip other lines.

    Args:
        text: a line a GPU: index, uuid, name, MiB of memory, and perhaps MiB that are free.
    """
    found = []
    for line in text.splitlines():
        index, *fields = [field.strip() for field in line.split(",")]
        memories: list[float] = []
        if fields and fields[-1].startswith("["):  # [N/A]
            fields.pop()
        while len(fields) > 2 and len(memories) < 2:
            try:
                memories.insert(0, float(fields[-1]) * _GB_OF_MIB)
            except ValueError:  # a name, or a memory that is not told
                break
            fields.pop()
        if memories:
            found.append(Gpu(index, fields[0], ",".join(fields[1:]), *memories))
    return tuple(found)


def visible_gpu_gb(
    there: Sequence[Gpu] | None = None, environment: Mapping[str, str] | None = None
) -> float | None:
    """Return the memory of the smallest GPU that this process may use; None where unknown.

    Args:
        there: the machine's GPUs; asked for unless told.
        environment: holds CUDA_VISIBLE_DEVICES; this process's own unless told.
    """
    there = gpus() if there is None else there
    environment = os.environ if environment is None else environment
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = [name.strip() for name in listed.split(",") if name.strip()]
        there = [gpu for gpu in there for name in names if _is_called(gpu, name)]
        if len(there) < len(names):
            return None
    return min((gpu.memory_gb for gpu in there), default=None)


def _is_called(gpu: Gpu, name: str) -> bool:
    return name == gpu.index or (name.startswith("GPU-") and gpu.uuid.startswith(name))


def _installed(package: str) -> str:
    """Return the version of an installed package, or nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
