"""Whether PyTorch and Transformers are there, for tests that run a model in this process.

Where they are absent the tests are skipped with a line that says so; with
``MOOT_TORCH_TESTS=required`` they fail. Import this module before anything that imports torch.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

REQUIRED = "MOOT_TORCH_TESTS"
NEEDED = ("torch", "transformers", "safetensors")


def need_torch() -> None:
    """Skip or fail the module that calls it where a library is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return
    why = f"{' and '.join(missing)} not installed: pip install 'moot[gpu]'"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(why, pytrace=False)
    pytest.skip(why, allow_module_level=True)


def one_thread() -> None:
    """Let models compute in one thread each: tiny ones are slower in several."""
    need_torch()
    import torch

    torch.set_num_threads(1)


need_torch()
