"""Holds the rooms apart: who may import what, and what no room may do.

The tables say what is allowed; :func:`findings` reads one file's syntax tree and lists what is
not. Imports inside functions and under ``TYPE_CHECKING`` count like any other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ROOMS = ("protocols", "agents", "orchestrator", "workflows")
"""From left to right; a room imports itself and what stands to its left."""

OUTSIDE = {
    "protocols": "evalica jinja2 json_repair networkx numpy pydantic rapidfuzz scipy",
    "agents": "bm25s huggingface_hub jsonschema litellm ray safetensors sklearn torch transformers "
    "vllm yaml",
    "orchestrator": "alembic psycopg ray sqlalchemy sqlmodel tenacity",
    "workflows": "click dotenv inspect_ai matplotlib pandas plotly polars pyarrow "
    "pydantic_settings rich starlette statsmodels typer uvicorn yaml",
}
"""Import names of the libraries that each room brings in; rooms to its right may use them too."""

STORE = ("orchestrator/store/",)
CONFINED = {
    "evalica": ("workflows/judges/agreement.py",),
    "huggingface_hub": ("agents/weights_hub.py",),
    "inspect_ai": ("workflows/exports/inspect_",),
    "jsonschema": ("agents/hosted_reply.py",),
    "litellm": ("agents/litellm_engine.py",),
    "ray": (
        "agents/ray_worker.py",
        "orchestrator/fleets/ray_cluster.py",
        "orchestrator/fleets/ray_fleet.py",
        "orchestrator/fleets/ray_metrics.py",
        "orchestrator/submit.py",
    ),
    "sqlmodel": STORE,
    "sqlalchemy": STORE,
    "alembic": STORE,
    "psycopg": STORE,
    "safetensors": ("agents/weights",),
    "torch": ("agents/transformers_", "agents/weights", "agents/vllm_engine.py"),
    "transformers": ("agents/transformers_", "agents/weights"),
    "vllm": ("agents/vllm_engine.py",),
}
"""Where a library may be imported: these files, or everything under these folders."""

HEAVY = (
    "alembic bm25s evalica inspect_ai jinja2 jsonschema litellm matplotlib networkx numpy pandas "
    "polars psycopg pyarrow ray scipy sklearn sqlalchemy sqlmodel statsmodels torch transformers"
)
"""Libraries that no start of the command, and no import of a room, may load."""

IMPURE = (
    "asyncio concurrent datetime io logging multiprocessing os pathlib random secrets shutil "
    "signal socket sqlite3 subprocess tempfile threading time urllib uuid"
)
"""Modules that protocols/ may not import: clocks, files, networks, threads, global randomness."""

PURE_EXCEPTIONS = {("protocols/chance.py", "random")}
IMPURE_CALLS = {"open", "print", "input", "hash", "id"}
"""``hash`` and ``id`` differ from process to process."""
UNSEEN = {"latency_s", "model_served", "outside_mass", "rate_hint"}
"""What a reply carries and a session may not read."""

LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import, also of those through importlib."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def called(node: ast.Call) -> str:
    """Return the last name of what is called: ``f`` in ``f()`` and in ``a.f()``."""
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def builtin(node: ast.AST) -> str:
    """Return ``f`` where `node` is a call ``f()`` of a bare name, else nothing."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""


def import_findings(path: str, line: int, name: str) -> Iterator[str]:
    """Yield what is wrong with one import in the file at `path`."""
    room = path.partition("/")[0]
    reach = ROOMS[: ROOMS.index(room) + 1]
    top = name.partition(".")[0]
    if name.startswith("."):
        yield f"{path}:{line}: relative import; write the full name"
    elif top in ROOMS:
        if top not in reach:
            yield f"{path}:{line}: {room} may not import {top}; imports go left only"
    elif top in sys.stdlib_module_names:
        if room == "protocols" and top in IMPURE.split() and (path, top) not in PURE_EXCEPTIONS:
            yield f"{path}:{line}: protocols/ is pure and may not import {top}"
    elif not any(top in OUTSIDE[left].split() for left in reach):
        yield f"{path}:{line}: {room} may not import {top}; see OUTSIDE in this test"
    elif not path.startswith(CONFINED.get(top, "")):
        yield f"{path}:{line}: {top} belongs to {', '.join(CONFINED[top])} alone"


def purity_findings(path: str, node: ast.AST) -> Iterator[str]:
    """Yield what one node of a file in protocols/ does that a pure room may not."""
    where = f"{path}:{getattr(node, 'lineno', 0)}"
    if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
        yield f"{where}: protocols/ suspends only at yield; no async"
    if builtin(node) in IMPURE_CALLS:
        yield f"{where}: protocols/ is pure and may not call {builtin(node)}()"
    if isinstance(node, ast.Attribute):
        if node.attr in UNSEEN and path != "protocols/replies.py":
            yield f"{where}: a session may not read {node.attr}"
        if isinstance(node.value, ast.Name) and f"{node.value.id}.{node.attr}" in (
            "np.random",
            "numpy.random",
        ):
            yield f"{where}: the only randomness of protocols/ is the rng handed in"


def findings(path: str, source: str) -> list[str]:
    """Return everything that the file at `path` (from the root, with slashes) may not do."""
    tree = ast.parse(source, path)
    found = [
        finding for line, name in imported(tree) for finding in import_findings(path, line, name)
    ]
    lines = len(source.splitlines())
    if lines > LONGEST_FILE:
        found.append(f"{path}: {lines} lines; {LONGEST_FILE} at most")
    for node in ast.walk(tree):
        if path.startswith("protocols/"):
            found.extend(purity_findings(path, node))
        if builtin(node) in ("eval", "exec"):
            found.append(
                f"{path}:{getattr(node, 'lineno', 0)}: {builtin(node)}() runs what others wrote"
            )
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                where = f"{path}:{node.lineno}: {node.name}"
                found.append(f"{where} has {length} lines; {LONGEST_FUNCTION} at most")
    return found


def module_files() -> list[str]:
    """Return every Python file of the four rooms, from the root, with slashes."""
    return sorted(
        file.relative_to(ROOT).as_posix() for room in ROOMS for file in (ROOT / room).rglob("*.py")
    )


def test_every_file_keeps_to_its_room() -> None:
    files = module_files()
    assert {path.partition("/")[0] for path in files} == set(ROOMS)
    found = [
        finding
        for path in files
        for finding in findings(path, (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)


def test_no_module_is_named_like_a_library() -> None:
    libraries = {name for names in OUTSIDE.values() for name in names.split()}
    libraries |= {"hypothesis", "openai", "pytest", "httpx", "psycopg2", "pandas"}
    taken = [path for path in module_files() if not libraries.isdisjoint(Path(path).parts[1:])]
    taken += [path for path in module_files() if Path(path).stem in libraries]
    assert not taken


@pytest.mark.parametrize(
    ("path", "source", "said"),
    [
        ("protocols/x.py", "import agents.engine", "imports go left only"),
        ("agents/x.py", "from orchestrator.fleets.fleet import Fleet", "imports go left only"),
        ("agents/x.py", "from protocols import asks", None),
        ("workflows/x.py", "import tests.conftest", "may not import tests"),
        ("orchestrator/x.py", "from . import fleet", "relative import"),
        ("orchestrator/x.py", "def f():\n    import typer", "may not import typer"),
        ("workflows/x.py", "import tenacity", None),
        ("workflows/x.py", "import litellm", "agents/litellm_engine.py alone"),
        ("agents/litellm_engine.py", "import litellm", None),
        ("agents/x.py", "import importlib\nimportlib.import_module('ray')", "ray belongs to"),
        ("orchestrator/run.py", "from sqlmodel import Session", "sqlmodel belongs to"),
        ("orchestrator/store/tables.py", "from sqlmodel import Session", None),
        ("protocols/x.py", "import random", "may not import random"),
        ("protocols/chance.py", "import random", None),
        ("protocols/x.py", "from time import monotonic", "may not import time"),
        ("agents/x.py", "import time", None),
        ("protocols/x.py", "open('f')", "may not call open()"),
        ("protocols/x.py", "a = hash('b')", "may not call hash()"),
        ("protocols/x.py", "async def f(): ...", "no async"),
        ("protocols/x.py", "import numpy as np\nnp.random.rand()", "the only randomness"),
        ("protocols/x.py", "reply.latency_s", "may not read latency_s"),
        ("protocols/x.py", "reply.rate_hint", "may not read rate_hint"),
        ("protocols/replies.py", "self.model_served", None),
        ("orchestrator/x.py", "reply.latency_s", None),
        ("workflows/x.py", "eval('1')", "runs what others wrote"),
        ("workflows/x.py", "frame.eval('1')", None),
        ("agents/x.py", "x = 1\n" * 401, "401 lines; 400 at most"),
        ("agents/x.py", "def f():\n" + "    x = 1\n" * 60, "f has 61 lines; 60 at most"),
        ("agents/x.py", "def f():\n" + "    x = 1\n" * 59, None),
    ],
)
def test_the_check_itself(path: str, source: str, said: str | None) -> None:
    found = findings(path, source)
    if said is None:
        assert not found
    else:
        assert len(found) == 1
        assert said in found[0]


def heavy_after(module: str) -> list[str]:
    """Return the heavy libraries that importing `module` in a fresh process loads."""
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}.split()) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def light_modules() -> list[str]:
    """Return the rooms, and the module behind the command `moot`."""
    return [*ROOMS, *(["workflows.cli"] if find_spec("workflows.cli") else [])]


@pytest.mark.parametrize("module", light_modules())
def test_importing_loads_no_heavy_library(module: str) -> None:
    assert heavy_after(module) == []


def test_a_heavy_library_would_be_seen() -> None:
    assert heavy_after("networkx") == ["networkx"]
