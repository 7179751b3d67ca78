"""What the README shows works as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from workflows.settings.configuration import Workflow

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_first_screen_names_both_commands() -> None:
    first_screen = README[:1200]
    assert re.search(r"^make demo\b", first_screen, re.MULTILINE)
    assert re.search(r"^make test\b", first_screen, re.MULTILINE)


def test_the_python_example_prints_its_table(tmp_path: Path) -> None:
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert set(names) >= {"symbolic_moe", "plurality", "best_single", "random", "oracle"}


def test_the_workflow_example_is_valid() -> None:
    example, _ = blocks("yaml")  # the other is one line of experts
    workflow = Workflow.from_mapping(yaml.safe_load(example), where="README.md")
    assert [protocol.kind for protocol in workflow.protocols] == ["direct_answer", "debate"]


def test_files_that_are_named_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
