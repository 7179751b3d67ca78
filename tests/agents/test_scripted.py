"""Scripted experts: what they say, and that going wrong is the same in every process."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from agents.engine import Attempted, Throttled
from agents.engines import capabilities_of, identify, make_engine
from agents.roster import Expert
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.messages import Part, Place
from protocols.replies import Reply
from tests.agents.making import TASK, ask_about, question_number


def scripted(name: str, **options: Any) -> Expert:
    return Expert(label="x", model=f"scripted/{name}", options=options)


async def results(expert: Expert, *asks: Ask) -> list[Attempted]:
    return await make_engine(expert).generate(asks)


async def said(expert: Expert, *asks: Ask) -> list[str]:
    texts = []
    for result in await results(expert, *asks):
        assert isinstance(result, Reply)
        assert result.failure is None
        texts.append(result.text)
    return texts


def asks_of(expert: Expert, n: int) -> list[Ask]:
    return [ask_about(expert, question_number(i)) for i in range(n)]


async def test_constant_and_echo() -> None:
    constant, echo = scripted("constant", text="Answer: C"), scripted("echo")
    assert await said(constant, *asks_of(constant, 2)) == ["Answer: C", "Answer: C"]
    assert await said(echo, *asks_of(echo, 1)) == [TASK.text]


async def test_a_list_of_replies_is_picked_from_by_key() -> None:
    expert = scripted("script", replies=["one", "two", "three"])
    asks = asks_of(expert, 60)
    texts = await said(expert, *asks)
    assert set(texts) == {"one", "two", "three"}
    assert await said(expert, *asks[::-1]) == texts[::-1]


async def test_the_key_can_be_said() -> None:
    expert = scripted("script", replies=["<{key}>"])
    (ask,) = asks_of(expert, 1)
    assert await said(expert, ask) == [f"<{ask.key}>"]


async def test_a_script_by_seat_follows_the_turns() -> None:
    expert = scripted("script", replies={"judge": ["one", "two"], "debater": ["by role"]})

    async def line(seat: str, role: str, turn: int | None) -> str:
        place = None if turn is None else Place(turn, 0)
        ask = ask_about(expert, question_number(0), seat=seat, role=role, place=place)
        return (await said(expert, ask))[0]

    assert [await line("judge", "judge", turn) for turn in (None, 0, 1, 2, 9)] == [
        *("one", "one", "two", "two", "two")
    ]
    assert await line("debater_a", "debater", 0) == "by role"
    (missing,) = await results(expert, ask_about(expert, question_number(0), seat="other"))
    assert isinstance(missing, Reply)
    assert missing.failure is not None
    assert missing.failure.boundary == "provider"


async def test_a_voter_picks_letters_by_key() -> None:
    voter = scripted("voter")
    assert set(await said(voter, *asks_of(voter, 40))) == {"Answer: A", "Answer: B"}
    chosen = scripted("voter", answers=["7", "8", "9"])
    assert len(set(await said(chosen, *asks_of(chosen, 60)))) == 3
    (ask,) = asks_of(voter, 1)
    optioned = Ask(ask.seat, ask.messages, options=("Z",))
    assert await said(voter, optioned) == ["Answer: Z"]


async def test_shares_of_flaky_attempts_hold() -> None:
    expert = scripted(
        "flaky", fail_share=0.3, throttle_share=0.2, boundary="refused", wait_s=2.5, inner="voter"
    )
    kinds: Counter[str] = Counter()
    for result in await results(expert, *asks_of(expert, 2000)):
        if isinstance(result, Throttled):
            kinds["throttled"] += 1
            assert result.wait_s == 2.5
        else:
            kinds[result.failure.boundary if result.failure else "fine"] += 1
    assert abs(kinds["throttled"] - 400) < 80
    assert abs(kinds["refused"] - 600) < 90
    assert abs(kinds["fine"] - 1000) < 100


async def test_attempts_end_the_same_after_a_restart() -> None:
    expert = scripted("flaky", fail_share=0.6, inner="echo")
    asks = asks_of(expert, 30)

    async def until_fine(ask: Ask) -> tuple[int, bytes]:
        engine = make_engine(expert)
        for attempt in range(100):
            (result,) = await engine.generate([ask])
            if isinstance(result, Reply) and not result.failed:
                return attempt, result.digest
        raise AssertionError("never fine")

    first = [await until_fine(ask) for ask in asks]
    again = [await until_fine(ask) for ask in asks[::-1]][::-1]
    assert first == again
    assert len({attempts for attempts, _ in first}) > 2


async def test_slow_asks_wait_for_a_place() -> None:
    expert = scripted("slow", latency_s=0.0001, batch_limit=1)
    engine = make_engine(expert)
    order = [index async for index, _ in engine.stream(asks_of(expert, 20))]
    assert order == list(range(20))
    assert engine.batch_limit == 1
    (result,) = await engine.generate(asks_of(expert, 1))
    assert isinstance(result, Reply)
    assert result.latency_s > 0.0


def test_identity_is_what_is_said() -> None:
    def revision(name: str, **options: Any) -> str:
        return identify(scripted(name, **options)).revision

    assert revision("echo") == ""
    assert revision("slow", latency_s=1.0, batch_limit=3) == ""
    assert revision("constant", text="a") != revision("constant", text="b") != ""
    assert identify(Expert(model="scripted/echo", revision="r1")).revision == "r1"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ecko", {}, "did you mean 'echo'"),
        ("echo", {"txt": "a"}, "x.options: unknown key 'txt'; did you mean 'text'"),
        ("script", {}, "needs 'replies'"),
        ("flaky", {"inner": "script"}, "needs 'replies'"),
        ("script", {"replies": {"judge": []}}, "a seat has no lines"),
        ("script", {"replies": "one"}, "x.options.replies"),
        ("flaky", {"fail_share": 0.7, "throttle_share": 0.7}, "more than 1 together"),
        ("flaky", {"fail_share": 7}, "x.options.fail_share"),
        ("flaky", {"boundary": "rain"}, "x.options.boundary"),
        ("slow", {"batch_limit": 0}, "x.options.batch_limit"),
        ("voter", {"answers": []}, "answers must not be empty"),
    ],
)
def test_a_wrong_script_is_one_line(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(Mistake) as caught:
        make_engine(scripted(name, **options))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_quoted_parts_are_echoed_as_they_stand() -> None:
    expert = scripted("echo")
    ask = ask_about(expert, question_number(0))
    last = Part("task", "{key} Answer: A")
    parts = (*ask.messages[-1].parts[:-1], last)
    ask = Ask(ask.seat, (*ask.messages[:-1], type(ask.messages[-1])("user", parts)))
    assert await said(expert, ask) == [last.text]


@pytest.mark.parametrize("name", ["constant", "echo", "voter", "slow"])
async def test_a_text_is_scored_by_the_key_of_the_ask(name: str) -> None:
    expert = scripted(name)
    asks = [replace(ask, score=True) for ask in asks_of(expert, 20)]
    replies = [reply for reply in await results(expert, *asks) if isinstance(reply, Reply)]
    scores = [reply.score for reply in replies]
    assert all(score is not None and -3.0 <= score < 0.0 for score in scores)
    assert len(set(scores)) == 20
    assert [reply.text for reply in replies] == [""] * 20
    again = [reply for reply in await results(expert, *asks) if isinstance(reply, Reply)]
    assert [reply.digest for reply in again] == [reply.digest for reply in replies]
    assert capabilities_of(expert).prompt_scoring


async def test_a_scored_attempt_goes_wrong_as_any_other() -> None:
    expert = scripted("flaky", fail_share=1.0, boundary="timeout")
    (ask,) = asks_of(expert, 1)
    (reply,) = await results(expert, replace(ask, score=True))
    assert isinstance(reply, Reply)
    assert (reply.failed, reply.score) == (True, None)
