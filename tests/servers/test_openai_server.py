"""The loopback server itself: what goes wrong when it is told to, what it counts, by hand too."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from agents.engine import Throttled
from agents.litellm_engine import LiteLLMEngine
from protocols.replies import RateHint, Reply
from tests.agents.hosted import an_ask, expert
from tests.servers.answers import FAULTS, Answer, Limited, faulty
from tests.servers.openai_server import main

ROOT = Path(__file__).resolve().parents[2]
GOOD = Answer()


def good(body: dict[str, Any], number: int) -> Answer:
    return GOOD


async def outcomes(url: str, count: int) -> Counter[str]:
    """Return what an engine makes of so many asks, by failure."""
    engine = LiteLLMEngine(expert(url, timeout_s=20.0))
    found: Counter[str] = Counter()
    for result in await engine.generate([an_ask(str(number)) for number in range(count)]):
        if isinstance(result, Throttled):
            found["throttled"] += 1
        else:
            found[result.failure.cause if result.failure else "good"] += 1
    await engine.unload()
    return found


def test_faults_come_at_their_rate_and_the_same_ones_for_a_seed() -> None:
    rule, again = faulty(0.1, seed=1, rule=good), faulty(0.1, seed=1, rule=good)
    other = faulty(0.1, seed=2, rule=good)
    first = [rule({}, number) for number in range(2_000)]
    assert first == [again({}, number) for number in range(2_000)]
    assert first != [other({}, number) for number in range(2_000)]
    assert 150 < sum(answer is not GOOD for answer in first) < 250
    assert {answer.status for answer in first} == {200, 429, 500}


@pytest.mark.parametrize("kind", FAULTS)
async def test_every_fault_is_met_by_a_client_and_counted(loopback: Any, kind: str) -> None:
    server = loopback(rule=faulty(0.5, seed=3, kinds=(kind,), rule=good))
    found = await outcomes(server.url, 12)
    bad = sum(server._rule({}, number) is not GOOD for number in range(12))
    assert 0 < bad < 12
    assert found["good"] == 12 - bad
    assert server.requests == sum(server.answered.values()) == 12


async def test_a_limit_turns_away_what_passes_it_and_says_what_is_left(loopback: Any) -> None:
    now = [0.0]
    limited = Limited(good, requests=6, tokens=1_000, clock=lambda: now[0])
    server = loopback(rule=limited)
    assert await outcomes(server.url, 8) == {"good": 6, "throttled": 2}
    engine = LiteLLMEngine(expert(server.url))
    (turned_away,) = await engine.generate([an_ask()])
    assert isinstance(turned_away, Throttled)
    assert turned_away.wait_s == pytest.approx(10.0)
    now[0] += 10.0
    (reply,) = await engine.generate([an_ask()])
    await engine.unload()
    assert isinstance(reply, Reply)
    assert reply.rate_hint == RateHint(6, 0, 60.0, 1_000, 982, 1.08)


def test_tokens_are_limited_too() -> None:
    now = [0.0]
    limited = Limited(good, requests=1_000, tokens=40, clock=lambda: now[0])
    assert [limited({}, n).status for n in range(3)] == [200, 200, 429]
    now[0] += 21.0
    assert [limited({}, n).status for n in range(2)] == [200, 429]


@contextmanager
def by_hand(*arguments: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.servers.openai_server", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.slow
def test_by_hand_it_fails_as_often_as_it_is_told_and_tells_its_counts() -> None:
    with by_hand(
        "--fail", "0.3", "--seed", "5", "--kinds", "500,cut", "--text", "Answer: B"
    ) as url:
        found = asyncio.run(outcomes(url, 40))
        with urlopen(url.removesuffix("/v1") + "/counts") as response:
            counts = json.load(response)
    assert found["unavailable"] == counts["500"] > 0
    assert found["connection"] == counts["cut"] > 0
    assert found["good"] == counts["200"] > 0
    assert counts["requests"] == 40


@pytest.mark.slow
def test_by_hand_it_can_limit() -> None:
    with by_hand("--requests", "5") as url:
        assert asyncio.run(outcomes(url, 8)) == {"good": 5, "throttled": 3}


def test_an_unknown_kind_of_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--fail", "0.1", "--kinds", "429,fire"])
    assert "unknown fire; known are 429, 500" in capsys.readouterr().err
