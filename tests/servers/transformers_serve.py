"""``transformers serve`` on loopback with a tiny model: a server that others wrote.

It needs another release of a library that LiteLLM holds back, hence an environment of its own,
``.venv-serve``, which ``make serve`` makes. Where that is absent the tests are skipped with a line
that says so; with ``MOOT_SERVE_TESTS=required`` they fail.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / ".venv-serve" / "bin" / "python"
REQUIRED = "MOOT_SERVE_TESTS"


@dataclass(frozen=True)
class Served:
    """A running server."""

    url: str
    """The base URL, ending in ``/v1``."""
    model: str
    """The name under which it serves the tiny model."""


def interpreter() -> Path:
    """Return the Python that can serve; skips or fails where there is none."""
    if OWN.exists():
        return OWN
    why = f"nothing here serves a model: no {OWN.relative_to(ROOT)}; run  make serve"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Write the model into `folder` and serve it until the block is left."""
    python = interpreter()
    home = folder / "home"
    home.mkdir()
    model = folder / "tiny"
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    writing = [str(python), str(Path(__file__).with_name("tiny_model.py")), str(model)]
    subprocess.run(writing, env=environment, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(str(python.with_name("transformers")), "serve", str(model)),
        *("--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--log-level", "info"),
    ]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = until(process.stdout, "Uvicorn running on")
            assert process.poll() is None, said
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield Served(f"http://127.0.0.1:{port}/v1", str(model))
        finally:
            process.kill()


def until(stream: IO[str], words: str) -> str:
    """Read lines until one holds `words` or the stream ends; return what was read."""
    said = ""
    for line in stream:
        said += line
        if words in line:
            break
    return said
