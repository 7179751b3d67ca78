"""Where a result comes from: the code's revision and the packages' versions."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("moot", "ray", "litellm", "pydantic", "networkx", "sqlmodel", "tenacity")


@lru_cache(maxsize=1)
def package_versions() -> dict[str, str]:
    """Return the versions of the packages that matter, as installed."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@lru_cache(maxsize=1)
def code_revision() -> str:
    """Return the commit that moot runs from, with ``+`` when changed; its version in a wheel."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return package_versions().get("moot", "")
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return package_versions().get("moot", "")
    return found.stdout.strip() or package_versions().get("moot", "")
