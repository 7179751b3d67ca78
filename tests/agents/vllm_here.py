"""Whether vLLM's build for CPUs is there, for tests that run it.

``make vllm`` installs it into ``.venv-vllm``, an environment of its own, whose Python then runs
these tests. Elsewhere they are skipped with a line that says so; with ``MOOT_VLLM_TESTS=required``
they fail. Import this module before anything that imports torch.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

REQUIRED = "MOOT_VLLM_TESTS"


def need_vllm() -> None:
    """Skip or fail the module that calls it where vllm is missing."""
    if find_spec("vllm") is not None:
        return
    why = "vllm is not installed, so its engine was not run: make vllm, then .venv-vllm/bin/python"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(why, pytrace=False)
    pytest.skip(why, allow_module_level=True)


need_vllm()
