"""B3: a provider that allows 600 requests and 60,000 tokens a minute: what of it is used."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from agents.engines import identify
from agents.roster import Expert
from benchmarks.loopback import Loopback
from benchmarks.measuring import Figure, Result, fresh
from benchmarks.workload import SQLITE
from orchestrator.driver import DriverSettings
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.limits.limits import Limit
from orchestrator.run import execute, prepare
from orchestrator.spec import Entry, RunSpec
from orchestrator.store import Store
from protocols.cast import Cast, Member
from protocols.direct_answer import DirectAnswer
from protocols.question import Question

REQUESTS, TOKENS = 600.0, 60_000.0
BURST_S = 5.0
"""Of its rates that the provider lets through at once."""
LEAVE_OUT_S = 2.0
"""At the beginning: a first burst is no rate."""


class Load(NamedTuple):
    """What is asked of the provider."""

    name: str
    completion: int
    """Mean length of a reply, in tokens; they spread from a half to one and a half of it."""
    seconds: int
    named: bool
    """Whether the client is told the limits; else it finds out by being turned away."""
    target: float | None


LOADS = (
    Load("requests are short", 20, 90, True, 0.98),
    Load("tokens are short", 200, 90, True, 0.98),
    Load("no limits named, requests are short", 20, 60, False, None),
)


def client(url: str, asks: int, named: bool) -> dict[str, Any]:
    """Ask, from two experts that share the provider; return what came of it."""
    experts = tuple(
        Expert(label=label, model=f"openai/{label}", base_url=url) for label in ("ann", "bob")
    )
    entries = tuple(
        Entry(
            one.label,
            DirectAnswer(),
            Cast(members={"judge": (Member(expert=one.label, model=identify(one)),)}),
        )
        for one in experts
    )
    questions = tuple(
        Question(id=f"q{i}", text=f"Which of them is number {i}?", options=("this", "that"))
        for i in range(asks // 2)
    )
    wanted = RunSpec("rates", entries, questions, experts)
    limits = {url: Limit(requests_per_minute=REQUESTS, tokens_per_minute=TOKENS)} if named else {}
    with (
        tempfile.TemporaryDirectory(prefix="moot-bench-") as folder,
        Store.open(str(Path(folder) / "b3.db")) as store,
    ):
        prepared = prepare(store, wanted)
        settings = DriverSettings(limits=limits)
        asyncio.run(execute(store, prepared, wanted, LocalFleet(), settings=settings))
        rows = store.sessions(prepared.run_id)
        replies = list(store.reply_rows([row.id for row in rows]))
    answered = [r for r in replies if r["accepted"] and r["failure_boundary"] is None]
    return {"asked": 2 * len(questions), "answered": len(answered), "attempts": len(replies)}


def measured(load: Load, seconds: int) -> dict[str, Any]:
    """Run one load against a provider of its own."""
    tokens = load.completion + 60  # of a prompt, roughly
    asks = round(seconds * min(REQUESTS, TOKENS / tokens) / 60.0)
    arguments = {
        "requests_per_minute": REQUESTS,
        "tokens_per_minute": TOKENS,
        "burst_s": BURST_S,
        "completion": load.completion,
        "delay_s": 0.3,
        "retry_after": True,
    }
    with Loopback("RateLimited", **arguments) as provider:
        found = fresh("benchmarks.b3:client", url=provider.url, asks=asks, named=load.named)
        counts = provider.counts()
    begin = counts["taken"][0][0] + LEAVE_OUT_S
    later = [(at, tokens) for at, tokens in counts["taken"] if at > begin]
    minutes = max((later[-1][0] - begin) / 60.0, 1e-9) if later else 1.0
    return {
        **found,
        "turned_away": counts["turned_away"],
        "requests": counts["requests"],
        "used": max(
            len(later) / (REQUESTS * minutes), sum(t for _, t in later) / (TOKENS * minutes)
        ),
    }


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    times = 1 if quick else min(runs, 3)
    found: dict[str, list[dict[str, Any]]] = {load.name: [] for load in LOADS}
    with ThreadPoolExecutor(len(LOADS)) as pool:  # each waits most of the time
        for _ in range(times):
            jobs = {
                load: pool.submit(measured, load, 3 if quick else load.seconds) for load in LOADS
            }
            for load, job in jobs.items():
                found[load.name].append(job.result())
    figures = []
    for load in LOADS:
        each = found[load.name]
        lost = [float(one["asked"] - one["answered"]) for one in each]
        uncounted = [float(max(0, one["requests"] - one["attempts"])) for one in each]
        figures += [
            Figure(
                f"{load.name}: share of the allowed rate",
                "",
                [one["used"] for one in each],
                load.target,
                "at least",
            ),
            Figure(f"{load.name}: asks lost", "", lost, 0.0),
            Figure(f"{load.name}: requests not recorded", "", uncounted, 0.0),
            Figure(f"{load.name}: requests turned away", "", [one["turned_away"] for one in each]),
        ]
    yield Result(
        "b3",
        f"{REQUESTS:,.0f} requests and {TOKENS:,.0f} tokens a minute allowed, 429 beyond, "
        "through LiteLLM",
        SQLITE,
        figures,
        [
            f"the first {LEAVE_OUT_S:g} s are left out of the rate, as a first burst is none;",
            f"the provider lets {BURST_S:g} s of its rates through at once, the client uses 1 s;",
            f"the loads run side by side, {', '.join(f'{one.seconds} s' for one in LOADS)} long",
        ],
    )
