"""Hosted experts behind a provider that goes wrong: nothing is lost, nothing is answered twice.

The command is ``moot run`` with the experts' ``base_url`` set on its line. A tenth of all requests
gets 429 with ``Retry-After``, 500, or a connection that is cut. The same is done again with
``kill -9`` in the middle and the same command afterwards.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agents.roster import Price
from benchmarks.loopback import Loopback
from benchmarks.measuring import ROOT, Figure, Result
from benchmarks.workload import SQLITE
from orchestrator.store import Store

SHARE = 0.1
ASKS = 3
"""Of a session: two speeches and a verdict."""
PRICE = Price(prompt=2.0, completion=8.0)
STORE = "faults.db"


def write(folder: Path, sessions: int) -> None:
    """Write the workflow; where its experts live is said on the command line."""
    price = PRICE.model_dump(include={"prompt", "completion"})
    workflow = {
        "questions": {"path": "questions.jsonl"},
        "experts": {
            label: {"model": f"openai/{label}", "price": price} for label in ("debater", "judge")
        },
        "cast": {"debater": "debater", "judge": "judge"},
        "protocols": [{"kind": "debate", "rounds": 1, "orders": 1}],
        "retry": {"attempts": 12, "malformed_attempts": 12, "first_wait_s": 0.05},
    }
    (folder / "faults.yaml").write_text(json.dumps(workflow), encoding="utf-8")  # JSON is YAML
    rows = [
        {"id": f"q{i}", "text": f"Which of them is number {i}?", "options": ["this", "that"]}
        for i in range(sessions)
    ]
    text = "".join(json.dumps({**row, "gold": "A"}) + "\n" for row in rows)
    (folder / "questions.jsonl").write_text(text, encoding="utf-8")


def command(url: str) -> list[str]:
    """Return the command line that a user would type."""
    places = [f"experts.{label}.base_url={url}" for label in ("debater", "judge")]
    settings = [word for place in places for word in ("--set", place)]
    moot = [sys.executable, "-m", "workflows.cli", "run", "faults.yaml"]
    return [*moot, *settings, "--store", STORE, "--json"]


class Found(NamedTuple):
    """What a run came to, beside what its provider has counted."""

    sessions_lost: int
    """Without an outcome, or with one that is not an answer."""
    asks_lost: int
    """Without an accepted reply, or with one that holds a failure."""
    asks_doubled: int
    """With more than one accepted reply."""
    attempts_recorded: int
    requests: int
    answered_again: int
    """Good answers beyond the first to the same ask."""
    unsure: int
    """Attempts under way at a kill, which are booked at their reserved price."""
    mispriced: int
    """Attempts whose recorded price is not that of their recorded tokens."""
    faults: dict[str, int]


def found(path: str, counts: dict[str, Any], sessions: int) -> Found:
    """Read the store and compare."""
    with Store.open(path) as store:
        rows = [row for run in store.runs() for row in store.sessions(run.id)]
        replies = list(store.reply_rows([row.id for row in rows]))
    slots = Counter((r["session"], r["turn"], r["slot"]) for r in replies if r["accepted"])
    good = sum(r["accepted"] and r["failure_boundary"] is None for r in replies)
    answered = [row for row in rows if '"status":"answered"' in (row.outcome_json or "")]
    unsure = sum(r["failure_cause"] == "lost" for r in replies)
    return Found(
        sessions_lost=sessions - len(answered),
        asks_lost=sessions * ASKS - good,
        asks_doubled=sum(count > 1 for count in slots.values()),
        attempts_recorded=len(replies),
        requests=counts["requests"],
        answered_again=sum(count - 1 for count in counts["answered"].values()),
        unsure=unsure,
        mispriced=sum(not _right_price(r) for r in replies),
        faults=counts["faults"],
    )


def _right_price(reply: dict[str, Any]) -> bool:
    tokens = reply["prompt_tokens"] * PRICE.prompt + reply["completion_tokens"] * PRICE.completion
    answered = reply["failure_boundary"] is None
    paid = reply["paid_price"]
    return math.isclose(paid, tokens / 1e6, abs_tol=1e-12) and (paid > 0.0 or not answered)


def run(sessions: int, *, killed: bool, seed: int = 1) -> Found:
    """Run the command against a provider of its own; kill it in the middle where told."""
    with (
        tempfile.TemporaryDirectory(prefix="moot-bench-") as folder,
        Loopback("Faulty", share=SHARE, seed=seed, delay_s=0.01) as provider,
    ):
        write(Path(folder), sessions)
        line = command(provider.url)
        where: dict[str, Any] = {
            "cwd": folder,
            "env": {**os.environ, "PYTHONPATH": str(ROOT)},
            "stdout": subprocess.DEVNULL,
        }
        if killed:
            with subprocess.Popen(line, **where) as process:
                provider.wait(sessions * ASKS // 2)
                os.kill(process.pid, signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL
        subprocess.run(line, **where, check=True)
        return found(str(Path(folder) / STORE), provider.counts(), sessions)


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sessions = 20 if quick else 1_000
    figures: list[Figure] = []
    notes: list[str] = []
    for killed in (False, True):
        each = [run(sessions, killed=killed, seed=seed) for seed in range(1, min(runs, 3) + 1)]
        when = "killed in the middle" if killed else "not killed"
        more = [float(one.attempts_recorded - one.requests) for one in each]
        figures += [
            Figure(f"{when}: sessions lost", "", [float(one.sessions_lost) for one in each], 0.0),
            Figure(f"{when}: asks lost", "", [float(one.asks_lost) for one in each], 0.0),
            Figure(
                f"{when}: asks answered twice", "", [float(one.asks_doubled) for one in each], 0.0
            ),
            Figure(f"{when}: attempts mispriced", "", [float(one.mispriced) for one in each], 0.0),
            Figure(f"{when}: requests", "", [float(one.requests) for one in each]),
            Figure(f"{when}: requests not recorded", "", [max(0.0, -one) for one in more], 0.0),
        ]
        if killed:
            beyond = [max(0.0, float(one.answered_again - one.unsure)) for one in each]
            figures += [
                Figure(f"{when}: attempts under way", "", [float(one.unsure) for one in each]),
                Figure(f"{when}: paid twice", "", [float(one.answered_again) for one in each]),
                Figure(f"{when}: paid twice beyond those under way", "", beyond, 0.0),
            ]
        else:
            figures.append(Figure(f"{when}: attempts without a request", "", more, 0.0))
        told = ", ".join(f"{count} {name}" for name, count in sorted(each[0].faults.items()))
        notes.append(f"faults of the first run, {when}: {told} (before, during: cut)")
    yield Result(
        "hosted_faults",
        f"{sessions:,} debates of {ASKS} asks by `moot run` through LiteLLM, "
        f"{SHARE:.0%} of the requests fail",
        SQLITE,
        figures,
        notes,
    )
