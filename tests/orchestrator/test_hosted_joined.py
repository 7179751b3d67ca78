"""What a provider says in its headers reaches the gate: server, engine, worker, driver, gate."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agents.engines import identify
from agents.roster import Expert
from orchestrator.driver import Driver, DriverSettings
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.journal import MemoryJournal, ReplyRecord
from orchestrator.limits.gates import Gate
from orchestrator.limits.limits import Limit
from orchestrator.limits.retry import RetryPolicy
from orchestrator.live import Job
from protocols.cast import Cast, Member
from protocols.direct_answer import DirectAnswer
from protocols.question import Question
from tests.servers.openai_server import Answer, OpenAIServer

OPENAI = {
    "x-ratelimit-limit-requests": "6000",
    "x-ratelimit-remaining-requests": "5990",
    "x-ratelimit-reset-requests": "10ms",
    "x-ratelimit-limit-tokens": "900000",
    "x-ratelimit-remaining-tokens": "899000",
    "x-ratelimit-reset-tokens": "66ms",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "6000",
    "anthropic-ratelimit-requests-remaining": "5990",
    "anthropic-ratelimit-tokens-limit": "900000",
    "anthropic-ratelimit-tokens-remaining": "899000",
}
TURNED_AWAY = Answer(status=429, headers={**OPENAI, "retry-after-ms": "1"})


async def gate_after(
    *answers: Answer, limit: Limit | None = None, labels: str = "a"
) -> tuple[Gate, list[ReplyRecord]]:
    """Return the gate of an endpoint after one question to each expert, and what was recorded."""
    with OpenAIServer(*answers) as server:
        experts = [Expert(label=one, model=f"openai/{one}", base_url=server.url) for one in labels]
        question = Question(id="q", text="Which?", options=("this", "that"))
        jobs = [
            Job(
                number,
                DirectAnswer(),
                question,
                Cast(members={"judge": (Member(expert=one.label, model=identify(one)),)}),
            )
            for number, one in enumerate(experts)
        ]
        journal = MemoryJournal()
        settings = DriverSettings(
            retry=RetryPolicy(first_wait_s=0.0), limits={server.url: limit} if limit else {}
        )
        driver = Driver(LocalFleet(), journal, experts, settings=settings)
        ended = await driver.run(jobs, total=len(jobs))
        assert ended.ending == "finished"
        (gate,) = driver.gates.by_endpoint.values()
        return gate, [one for one in journal.records if isinstance(one, ReplyRecord)]


@pytest.mark.parametrize("headers", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
async def test_the_headers_of_an_answer_reach_the_gate(headers: Mapping[str, str]) -> None:
    gate, records = await gate_after(Answer(headers=headers))
    assert gate.per_minute == pytest.approx((6_000.0, 900_000.0))
    assert [one.reply.failed for one in records] == [False]


async def test_the_headers_of_being_turned_away_reach_the_gate() -> None:
    gate, records = await gate_after(TURNED_AWAY, Answer())
    assert gate.per_minute == pytest.approx((6_000.0, 900_000.0))
    assert [one.accepted for one in records] == [False, True]


async def test_without_headers_nothing_is_known() -> None:
    gate, _ = await gate_after(Answer())
    assert gate.per_minute == (None, None)


async def test_a_limit_that_a_user_names_stays() -> None:
    limit = Limit(requests_per_minute=1_200.0)
    gate, _ = await gate_after(Answer(headers=OPENAI), limit=limit)
    assert gate.per_minute == pytest.approx((1_200.0, 900_000.0))


async def test_experts_of_one_server_share_what_it_says() -> None:
    gate, records = await gate_after(Answer(headers=OPENAI), labels="ab")
    assert gate.per_minute == pytest.approx((6_000.0, 900_000.0))
    assert len(records) == 2
