"""A look at what moot stands on. Nothing is called, changed or downloaded; no key is read out."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from protocols.errors import Mistake
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from orchestrator.fleets.ray_cluster import Surveyed
    from workflows.settings.configuration import Workflow

NEEDED = ("alembic", "litellm", "networkx", "pydantic", "ray", "sqlalchemy", "sqlmodel", "tenacity")
EXTRAS = ("matplotlib", "pyarrow", "torch", "transformers", "vllm")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: Literal["good", "absent", "bad"]
    """absent: not there, and not needed for everything."""
    found: str

    def as_json(self) -> dict[str, Any]:
        """Return the check as a JSON object."""
        return asdict(self)


def examine(store: str = "moot.db") -> list[Check]:
    """Return what was found.

    Args:
        store: the store to look at: a file of SQLite, or a database URL.
    """
    return [
        *_python(),
        _own_package(),
        *_packages(),
        _store(store),
        *_surroundings(),
        *_keys(),
    ]


def examine_cluster(
    address: str, workflow: Workflow | None = None, patience_s: float = 25.0
) -> list[Check]:
    """Return what the nodes of a Ray cluster say, one check a node; no key is read out.

    Args:
        address: HOST:PORT.
        workflow: whose experts' keys are looked for; what they lack is bad. By default the
            variables of common providers, which nobody needs all of.
        patience_s: how long the cluster and its nodes may take to answer.

    Raises:
        Mistake: no cluster answers, or it runs another Ray or Python.
    """
    from orchestrator.fleets.ray_cluster import survey
    from workflows.checking.keys import PROVIDER_KEYS, variables_of

    variables = PROVIDER_KEYS
    if workflow is not None:
        from workflows.questions.data_files import load_inputs
        from workflows.running.casting import Casting

        variables = variables_of(Casting(workflow, load_inputs(workflow)).roster().values())
    nodes = survey(address, variables, patience_s)
    return [_node(one, needed=workflow is not None) for one in nodes]


def _node(one: Surveyed, *, needed: bool) -> Check:
    """Return the check of one node; `needed`: whether a variable that is not set is bad."""
    from agents.machine import build

    name, report = f"node {one.name}", one.report
    if isinstance(report, str):
        return Check(name, "bad", report)
    cards = ", ".join(f"{gpu.name} {gpu.memory_gb:.0f} GB" for gpu in report.gpus)
    count = one.node.gpus
    offer = f"{count} GPU{'s' * (count != 1)} {one.node.accelerator}".rstrip()
    words = [
        f"moot {report.moot}, Python {report.python}, Ray {report.ray}",
        f"{offer} ({cards})" if cards else offer,
    ]
    other = report.moot != build()
    if other:
        words.append(f"another moot than here ({build()}); install the same")
    if report.unset:
        words.append(f"not set: {', '.join(report.unset)}")
    bad = other or (needed and bool(report.unset))
    return Check(name, "bad" if bad else "good", "; ".join(words))


def _python() -> Iterator[Check]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        yield Check("moot", "good", version("moot"))
    except PackageNotFoundError:
        yield Check("moot", "good", "not installed, runs from its source")
    words = sys.version.split()[0]
    good = sys.version_info >= (3, 11)
    yield Check("python", "good" if good else "bad", words if good else f"{words}; 3.11 is needed")


def _own_package() -> Check:
    """Look whether ``agents`` is ours: another vendor's SDK has the same import name."""
    from agents.worker import check_own_package

    try:
        check_own_package()
    except Mistake as mistake:
        return Check("agents", "bad", str(mistake))
    import agents

    return Check("agents", "good", f"moot's own, in {Path(agents.__file__ or '').parent}")


def _packages() -> Iterator[Check]:
    from importlib.metadata import PackageNotFoundError, version

    for name in (*NEEDED, *EXTRAS):
        needed = name in NEEDED
        if find_spec(name) is None:
            found = "not installed" + ("; pip install moot" if needed else " (optional)")
            yield Check(name, "bad" if needed else "absent", found)
            continue
        try:
            yield Check(name, "good", version(name))
        except PackageNotFoundError:
            yield Check(name, "good", "installed, of an unknown version")


def _store(store: str) -> Check:
    from orchestrator.store import Store
    from orchestrator.store.address import parse_address
    from orchestrator.store.connect import is_writable

    try:
        path = parse_address(store).path
        if path is not None and not path.exists():
            return _new_store(path)
        with Store.read(store) as opened:
            count = len(opened.runs())
        if path is not None and not is_writable(path):
            return Check(
                "store", "bad", f"{store}: {counted_of(count, 'run')}, but it is read-only"
            )
    except Mistake as mistake:
        return Check("store", "bad", str(mistake))
    return Check("store", "good", f"{opened.shown}: {counted_of(count, 'run')}")


def _new_store(path: Path) -> Check:
    folder = path.absolute().parent
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Check("store", "good", f"{path}: not there yet, will be made")
    return Check("store", "bad", f"{path}: {folder} is no folder that can be written")


def _surroundings() -> Iterator[Check]:
    postgres = shutil.which("postgres") or shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    place = postgres or (str(debian[-1]) if debian else "")
    yield Check("PostgreSQL server", "good" if place else "absent", place or "none on this machine")
    address = os.environ.get("RAY_ADDRESS", "")
    where = f"cluster at {address}" if address else "no RAY_ADDRESS; --fleet ray starts one here"
    yield Check("Ray cluster", "good" if address else "absent", where)
    yield from _gpus()
    env = Path(".env")
    there = env.is_file()
    yield Check(
        ".env", "good" if there else "absent", str(env.absolute()) if there else "none here"
    )


def _gpus() -> Iterator[Check]:
    """Yield each GPU, and whether torch could use one; torch is not imported."""
    from agents.local_models import torch_cuda
    from agents.machine import gpus

    found = gpus()
    for gpu in found:
        free = "" if gpu.free_gb is None else f", {gpu.free_gb:.1f} GB of it free"
        yield Check(f"GPU {gpu.index}", "good", f"{gpu.name}, {gpu.memory_gb:.1f} GB{free}")
    if not found:
        devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
        told = f"{devices} in /dev, and nvidia-smi tells of none" if devices else "none"
        yield Check("GPU", "bad" if devices else "absent", told)
    if find_spec("torch") is not None:
        built = torch_cuda()
        told = f"torch is built for CUDA {built}" if built else "torch is built without CUDA"
        unused = found and built is None
        here = "" if found or built is None else "; no GPU is here"
        yield Check("CUDA", "bad" if unused else "good" if found else "absent", told + here)


def _keys() -> Iterator[Check]:
    from workflows.checking.keys import keys_set

    keys = keys_set()
    yield from (Check(name, "good", "set") for name, there in keys.items() if there)
    unset = [name for name, there in keys.items() if not there]
    if unset:
        yield Check("keys not set", "absent", ", ".join(unset))
