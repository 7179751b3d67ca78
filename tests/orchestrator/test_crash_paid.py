"""Killed with SIGKILL, a run that costs money pays nothing twice but what was in flight."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.money.accounts import LOST
from orchestrator.store import Store
from tests import postgres
from tests.orchestrator.paid_examples import CALLS, IN_FLIGHT, MAX_TOKENS
from tests.orchestrator.store_examples import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "runs.db")
    else:
        with postgres.database() as url:
            yield url


def command(url: str, usd: float = 0.0, *, kill_after: int | None = None) -> tuple[list[str], str]:
    """Run the command, killed after so many calls; return the calls and its last line."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.orchestrator.paid_examples", url, str(usd)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told: list[str] = []
        while kill_after is not None and sum(len(line) == 64 for line in told) < kill_after:
            line = process.stdout.readline()
            if not line:  # it ended before
                break
            told.append(line.strip())
        if kill_after is not None:
            process.kill()
        told += [line.strip() for line in process.stdout if line.endswith("\n")]
    return [line for line in told if len(line) == 64], told[-1]


def test_kills_pay_twice_only_what_was_in_flight_and_book_it(url: str) -> None:
    calls: Counter[str] = Counter()
    draws = random.Random(3)
    kills = 5
    for _ in range(kills):
        made, _ = command(url, kill_after=draws.randint(5, 40))
        calls.update(made)
        with Store.open(url) as store:
            (run,) = store.runs()
            counted = sum(one.calls for one in store.spent(run.id).values())
            assert counted >= calls.total(), "every call counts, also one of unknown fate"
    made, ending = command(url)
    calls.update(made)
    assert ending == "finished"
    assert len(calls) == CALLS
    assert calls.total() - CALLS <= kills * IN_FLIGHT
    with Store.open(url) as store:
        (run,) = store.runs()
        rows = list(store.reply_rows([row.id for row in store.sessions(run.id)]))
        lost = [row for row in rows if row["failure_cause"] == LOST]
        assert sum(row["accepted"] for row in rows) == CALLS
        assert len(rows) == CALLS + len(lost)
        assert len(lost) <= kills * IN_FLIGHT
        assert all(row["completion_tokens"] == MAX_TOKENS for row in lost)
        assert all(row["paid_price"] > 0 for row in lost)
        spent = sum(one.paid for one in store.spent(run.id).values())
        assert spent == pytest.approx(sum(row["paid_price"] for row in rows))
        assert sum(row["calls"] for row in _spent(store, run.id)) == len(rows)


def _spent(store: Store, run: int) -> list[dict[str, float]]:
    return [one._asdict() for one in store.spent(run).values()]


def test_a_budget_holds_over_kills(url: str) -> None:
    """Each command counts what the killed ones may have spent, so all stay within the budget."""
    usd, made = 4.0, 0
    for kill_after in (10, 10):
        calls, _ = command(url, usd, kill_after=kill_after)
        made += len(calls)
    calls, ending = command(url, usd)
    made += len(calls)
    assert ending == "budget"
    with Store.open(url) as store:
        (run,) = store.runs()
        spent = store.spent(run.id).values()
        assert sum(one.paid for one in spent) <= usd
        assert sum(one.calls for one in spent) >= made
    _, ending = command(url)
    assert ending == "finished"
