"""Killed with SIGKILL again and again, the same command ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestrator.replay import replay
from orchestrator.store import Store
from tests import postgres
from tests.orchestrator.crash_examples import CALLS, command
from tests.orchestrator.run_examples import outcomes
from tests.orchestrator.store_examples import ROOT

pytestmark = pytest.mark.slow

Slot = tuple[int, int, int]


class Victim:
    """A store whose command is killed; remembers every call that was made to an engine."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: Counter[str] = Counter()

    def run(self, lines: int | None = None) -> Counter[str]:
        """Start the command, kill it when it has told so many lines; return its calls.

        Args:
            lines: after how many lines of what it does; None lets it finish.
        """
        with subprocess.Popen(
            [sys.executable, "-m", "tests.orchestrator.crash_examples", self.url],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            told = []
            if lines is not None:
                told = [process.stdout.readline().strip() for _ in range(lines)]
                process.kill()
            told += [line.strip() for line in process.stdout]
        if lines is None:
            assert process.returncode == 0
            assert told[-1] == "finished"
        calls = Counter(line for line in told if len(line) == 64)
        self.calls += calls
        return calls

    def recorded(self) -> dict[Slot, dict[int, dict[str, Any]]]:
        """Return every attempt that is recorded, by slot and number."""
        found: dict[Slot, dict[int, dict[str, Any]]] = {}
        with Store.open(self.url) as store:
            for run in store.runs():
                for row in store.reply_rows([s.id for s in store.sessions(run.id)]):
                    slot = row["session"], row["turn"], row["slot"]
                    found.setdefault(slot, {})[row["attempt"]] = row
        return found

    def keys(self) -> dict[Slot, str]:
        with Store.open(self.url) as store:
            return {
                (row["session"], row["turn"], row["slot"]): row["key"]
                for run in store.runs()
                for row in store.ask_rows([s.id for s in store.sessions(run.id)])
            }

    def ended(self) -> dict[int, str]:
        with Store.open(self.url) as store:
            return {
                row.id: row.outcome_json
                for run in store.runs()
                for row in store.sessions(run.id)
                if row.outcome_json is not None
            }


def kill_again_and_again(victim: Victim, moments: list[int]) -> None:
    """Kill the command at each of the moments and check after each what the next one keeps."""
    before: dict[Slot, dict[int, dict[str, Any]]] = {}
    ended: dict[int, str] = {}
    answered: set[str] = set()
    lost: Counter[str] = Counter()
    for moment in [*moments, None]:
        calls = victim.run(moment)
        assert not answered & set(calls), "what was answered is never asked again"
        assert calls or moment is not None, "the last command finds something left to do"
        now, keys = victim.recorded(), victim.keys()
        for slot, attempts in before.items():
            for number, row in attempts.items():
                assert now[slot][number] == row, "what was recorded stays as it was"
        assert ended.items() <= victim.ended().items()
        recorded = Counter(keys[slot] for slot, attempts in now.items() for _ in attempts)
        assert recorded <= victim.calls, "every recorded attempt was a call"
        unrecorded = victim.calls - recorded
        assert lost <= unrecorded
        lost = unrecorded
        answered = {
            keys[slot]
            for slot, attempts in now.items()
            if sum(row["accepted"] for row in attempts.values()) == 1
        }
        before, ended = now, victim.ended()
    assert answered == set(victim.keys().values()), "one accepted reply a slot"
    assert len(answered) == CALLS
    assert max(lost.values(), default=0) <= len(moments)


def check_against_an_undisturbed_run(victim: Victim, undisturbed: str) -> None:
    asyncio.run(command(undisturbed, lambda line: None))
    with Store.open(undisturbed) as whole, Store.open(victim.url) as store:
        (expected,), (run,) = whole.runs(), store.runs()
        assert run.status == "finished"
        assert outcomes(store, run.id) == outcomes(whole, expected.id)
        report = replay(store, run.id)
        assert (report.identical, report.incomplete) == (report.sessions, 0)


def moments(seed: int, count: int) -> list[int]:
    """Return after how many lines to kill: some at once, most while asks are in flight."""
    draws = random.Random(seed)
    return [
        draws.choice((0, 1, 2, draws.randint(3, 40), draws.randint(3, 40))) for _ in range(count)
    ]


def test_twenty_kills_of_a_run_in_sqlite(tmp_path: Path) -> None:
    victim = Victim(str(tmp_path / "runs.db"))
    kill_again_and_again(victim, moments(seed=20, count=20))
    check_against_an_undisturbed_run(victim, str(tmp_path / "whole.db"))


@pytest.mark.postgres
def test_some_kills_of_a_run_in_postgresql(tmp_path: Path) -> None:
    with postgres.database() as url:
        victim = Victim(url)
        kill_again_and_again(victim, [1, 2, *moments(seed=5, count=4)])
        check_against_an_undisturbed_run(victim, str(tmp_path / "whole.db"))
