"""Holds what the tree is made of: it speaks of the product alone, and ships what it owes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import tomllib
import types
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("protocols", "agents", "orchestrator", "workflows")

MACHINE_PATH = re.compile(r"(?<![\w.])/(home|root|work|Users)/[\w.]")
REGISTRIES = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("debian", "org"),
    )
)
PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.!+]*")


def tracked_files() -> list[Path]:
    """Return the files that git tracks or would track, as they lie in the working tree."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """Yield (path from the root, text) of every tracked text file."""
    for file in tracked_files():
        content = file.read_bytes()
        if b"\0" not in content:
            yield file.relative_to(ROOT).as_posix(), content.decode("utf-8")


def strangers(path: str, text: str) -> list[str]:
    """Return the lines that name a path of one machine or the address of a registry."""
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for number, line in enumerate(text.split("\n"), 1)
        if MACHINE_PATH.search(line) or any(host in line for host in REGISTRIES)
    ]


def test_no_path_of_one_machine_and_no_registry() -> None:
    found = [line for path, text in texts() for line in strangers(path, text)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see " + "/ho" + "me/ann/x.py", True),
        ("'" + "/wo" + "rk/data'", True),
        ("https://files." + REGISTRIES[1] + "/x", True),
        ("protocols/home/x", False),
        ("https://example.com/work/x", False),
        ("/tmp/x", False),
    ],
)
def test_strangers_are_seen(line: str, found: bool) -> None:
    assert bool(strangers("x", line)) is found


def test_constraints_hold_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not PINNED.fullmatch(line)] == []
    names = [canonical(line.partition("==")[0]) for line in lines]
    assert len(names) == len(set(names))


def canonical(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_pin_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [
        one for extra, names in extras.items() if extra != "gpu" for one in names
    ]
    names = {canonical(match[0]) for one in wanted if (match := re.match(r"[\w.-]+", one))}
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert names - {canonical(line.partition("==")[0]) for line in pinned} == {"moot"}


def test_the_licence_is_whole() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_notice_names_every_packed_file() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    named = re.findall(r"(?:workflows|tests)/data/[\w./-]*\w", notice)
    paths = [file.relative_to(ROOT).as_posix() for file in tracked_files()]
    packed = [path for path in paths if re.match(r"(workflows|tests)/data/.*\.jsonl(\.gz)?$", path)]
    assert set(packed) <= set(named), "name it in NOTICE under the source it comes from"
    assert set(named) <= set(paths), "NOTICE names a file that is not there"


@pytest.mark.parametrize("source", ["MMLU-Pro", "QuALITY", "Project Gutenberg", "CC BY 4.0"])
def test_notice_names_every_source(source: str) -> None:
    assert source in " ".join((ROOT / "NOTICE").read_text(encoding="utf-8").split())


def packages() -> list[str]:
    """Return the four rooms and every package inside them but the migrations."""
    found = list(ROOMS)
    for room in ROOMS:
        inside = pkgutil.walk_packages([str(ROOT / room)], f"{room}.")
        found += [module.name for module in inside if module.ispkg]
    return [name for name in found if "migrations" not in name]


def public_names(package: types.ModuleType) -> set[str]:
    """Return the public names that a package holds and that come from one of the rooms."""
    return {
        name
        for name, value in vars(package).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and name != "TYPE_CHECKING"
        and getattr(value, "__module__", package.__name__).partition(".")[0] in ROOMS
    }


@pytest.mark.parametrize("name", packages())
def test_all_is_exact(name: str) -> None:
    """``__all__`` holds what the package shows, once each; ruff (RUF022) keeps it sorted."""
    package = importlib.import_module(name)
    declared = getattr(package, "__all__", [])
    assert len(declared) == len(set(declared))
    assert public_names(package) <= set(declared)
    assert [one for one in declared if not hasattr(package, one)] == []


def test_the_command_leads_to_a_function() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["moot"].partition(":")
    if find_spec(module):
        assert callable(getattr(importlib.import_module(module), function))
