"""A worker, a node and the driver die in the middle of a run; it comes out the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = 1_000


def test_nothing_is_lost_or_answered_twice_and_outcomes_stay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.child", "benchmarks.faults:told"),
            json.dumps({"sessions": SESSIONS}),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    faults = json.loads(done.stdout.splitlines()[-1])["faults"]
    times = [f"{one['name']} {one['recovered_s']:.1f} s" for one in faults]
    with capsys.disabled():
        sys.stdout.write(f" made good after: {', '.join(times)} ")
    assert [one["name"] for one in faults] == ["worker", "node", "driver"]
    for one in faults:
        assert (one["lost"], one["twice"], one["outcomes"]) == (0, 0, 0), one
