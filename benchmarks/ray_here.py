"""A Ray cluster of this process, for one measurement."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT


@contextmanager
def cluster(gpus: int = 0) -> Iterator[None]:
    """Start a cluster on this machine, with GPUs that are only counted, and end it."""
    import ray

    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        home = Path(folder)
        (home / "empty").mkdir()
        (home / "token").write_text("a" * 64, encoding="utf-8")
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(home / "token")
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        environment: dict[str, Any] = {
            "working_dir": str(home / "empty"),
            "env_vars": {"PYTHONPATH": str(ROOT)},
        }
        ray.init(
            address="local",
            num_cpus=2,
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=environment,
        )
        try:
            yield
        finally:
            ray.shutdown()
