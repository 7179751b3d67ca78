"""The simulated GPU: when replies come, how long they are, and what ends them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.engine import Attempted, Engine
from agents.engines import identify, make_engine
from agents.roster import Expert
from agents.scripted import GpuScript, read_script
from agents.scripted_gpu import ScriptedGpuEngine, reply_tokens
from protocols.asks import Ask, Sampling
from protocols.errors import Mistake
from protocols.replies import Reply
from tests.agents.making import ask_about, question_number
from tests.virtual_time import run_jumping

STEP: dict[str, Any] = {"t0_s": 0.5, "t1_s": 0.25}
"""A step takes 0.75 s for one ask, 1 s for two, 1.5 s for four: exact in binary."""


def gpu(label: str = "x", **options: Any) -> Expert:
    return Expert(label=label, model="scripted/gpu", options=options)


def asks(expert: Expert, count: int) -> list[Ask]:
    return [ask_about(expert, question_number(i)) for i in range(count)]


def capped(expert: Expert, *tokens: int) -> list[Ask]:
    """Return asks whose replies have so many tokens; the expert's mean must be longer."""
    return [
        replace(ask, seat=replace(ask.seat, sampling=Sampling(max_tokens=most)))
        for ask, most in zip(asks(expert, len(tokens)), tokens, strict=True)
    ]


async def times(engine: Engine, asked: Sequence[Ask], after: float = 0.0) -> dict[int, float]:
    """Return when each reply came, where they are asked for after some time."""
    await asyncio.sleep(after)
    found: dict[int, float] = {}
    async for index, result in engine.stream(asked):
        assert isinstance(result, Reply)
        assert not result.failed
        found[index] = asyncio.get_running_loop().time()
    return found


def test_one_ask_takes_its_steps() -> None:
    expert = gpu(**STEP, mean_tokens=8)
    assert run_jumping(times(make_engine(expert), asks(expert, 1))) == {0: 6.0}


def test_steps_are_shared_and_get_shorter_as_replies_end() -> None:
    expert = gpu(**STEP, mean_tokens=100)
    found = run_jumping(times(make_engine(expert), capped(expert, 4, 10)))
    assert found == {0: 4 * 1.0, 1: 4 * 1.0 + 6 * 0.75}


def test_what_is_beyond_the_batch_waits_for_a_place() -> None:
    expert = gpu(**STEP, mean_tokens=100, batch_limit=1)
    found = run_jumping(times(make_engine(expert), capped(expert, 2, 4, 8)))
    assert found == {0: 1.5, 1: 4.5, 2: 10.5}


def test_who_comes_in_the_middle_joins_at_the_next_step() -> None:
    expert = gpu(**STEP, mean_tokens=8)

    async def both() -> tuple[dict[int, float], dict[int, float]]:
        engine = make_engine(expert)
        asked = asks(expert, 2)
        return await asyncio.gather(
            times(engine, asked[:1]), times(engine, asked[1:], after=0.75 + 0.125)
        )

    first, second = run_jumping(both())
    assert first == {0: 2 * 0.75 + 6 * 1.0}
    assert second == {0: 2 * 0.75 + 6 * 1.0 + 2 * 0.75}


def test_a_card_that_was_idle_begins_at_once() -> None:
    expert = gpu(**STEP, mean_tokens=4)

    async def twice() -> tuple[dict[int, float], dict[int, float]]:
        engine = make_engine(expert)
        return await times(engine, asks(expert, 1)), await times(engine, asks(expert, 1), 10.125)

    assert run_jumping(twice()) == ({0: 3.0}, {0: 16.125})


def test_experts_on_one_card_take_turns() -> None:
    one, other = gpu("x", **STEP, mean_tokens=4), gpu("y", t0_s=1.0, t1_s=0.25, mean_tokens=6)

    async def both() -> tuple[dict[int, float], dict[int, float]]:
        common: dict[str, Any] = {}
        engines = [make_engine(one), make_engine(other)]
        for engine in engines:
            engine.share(common)
        return await asyncio.gather(
            times(engines[0], asks(one, 1)), times(engines[1], asks(other, 1))
        )

    # the first one's first step runs alone: the other joins after it
    first, second = run_jumping(both())
    assert first == {0: 0.75 + 3 * (0.75 + 1.25)}
    assert second == {0: 0.75 + 3 * (0.75 + 1.25) + 3 * 1.25}


def test_a_late_wake_up_moves_nothing_that_comes_after() -> None:
    expert = gpu(**STEP, mean_tokens=100, batch_limit=1)

    async def blocked() -> list[float]:
        loop: Any = asyncio.get_running_loop()
        loop.call_at(1.0, lambda: setattr(loop._jumping, "now", 5.0))  # busy for four seconds
        engine = make_engine(expert)
        latencies = [0.0] * 3
        async for index, result in engine.stream(capped(expert, 2, 4, 8)):
            assert isinstance(result, Reply)
            latencies[index] = result.latency_s
        assert loop.time() == 10.5
        return latencies

    assert run_jumping(blocked()) == [1.5, 4.5, 10.5]


def test_what_nobody_reads_makes_room() -> None:
    expert = gpu(**STEP, mean_tokens=100, batch_limit=2)

    async def cancelled() -> dict[int, float]:
        engine = make_engine(expert)
        long = asyncio.create_task(engine.generate(capped(expert, 50, 50)))
        short = asyncio.create_task(times(engine, capped(expert, 4)))
        await asyncio.sleep(10.25)
        long.cancel()
        return await short

    # ten steps of one second are over; the ask that waited joins and runs alone
    assert run_jumping(cancelled()) == {0: pytest.approx(10.0 + 4 * 0.75, abs=1.0)}


def test_unloading_fails_what_runs_and_what_waits() -> None:
    expert = gpu(**STEP, mean_tokens=100, batch_limit=2)

    async def unloaded() -> tuple[list[Attempted], dict[int, float], float]:
        engine = make_engine(expert)
        running = asyncio.create_task(engine.generate(capped(expert, 2, 50, 50)))
        await asyncio.sleep(5.0)
        await engine.unload()
        results = await running
        at = asyncio.get_running_loop().time()
        return results, await times(engine, capped(expert, 4)), at

    results, again, at = run_jumping(unloaded())
    said = [r.failure.boundary if isinstance(r, Reply) and r.failure else "" for r in results]
    assert said == ["", "provider", "provider"]
    assert at == 5.0
    assert again == {0: 8.0}


def test_loading_takes_its_time() -> None:
    async def load() -> float:
        await make_engine(gpu(load_s=12.5)).load()
        return asyncio.get_running_loop().time()

    assert run_jumping(load()) == 12.5


def test_usage_is_the_length_and_the_text_can_be_parsed() -> None:
    expert = gpu(mean_tokens=300, sigma=0.8)
    asked = asks(expert, 400)
    results = run_jumping(make_engine(expert).generate(asked))
    script = read_script(expert)
    assert isinstance(script, GpuScript)
    lengths = []
    for ask, result in zip(asked, results, strict=True):
        assert isinstance(result, Reply)
        assert result.text in {"Answer: A", "Answer: B"}
        assert result.usage.completion_tokens == reply_tokens(script, ask)
        assert result.latency_s > 0.0
        lengths.append(result.usage.completion_tokens)
    mean = sum(lengths) / len(lengths)
    spread = sum((math.log(n / mean)) ** 2 for n in lengths) / len(lengths)
    assert 250 < mean < 350
    assert 0.6 < math.sqrt(spread) < 1.2


@given(st.integers(0, 10_000), st.floats(1.0, 1e5), st.floats(0.0, 3.0))
def test_lengths_are_a_function_of_the_key(number: int, mean: float, sigma: float) -> None:
    script = GpuScript(mean_tokens=mean, sigma=sigma)
    ask = ask_about(gpu(), question_number(number))
    assert reply_tokens(script, ask) == reply_tokens(script, replace(ask)) >= 1
    short = replace(ask, seat=replace(ask.seat, sampling=Sampling(max_tokens=1)))
    assert reply_tokens(script, short) == 1


def test_what_is_said_is_identity_and_how_long_it_takes_is_not() -> None:
    plain = identify(gpu())
    assert plain == identify(gpu(load_s=9.0, t0_s=0.5, t1_s=0.5, batch_limit=3))
    others = [gpu(mean_tokens=20), gpu(sigma=0.3), gpu(seed=1), gpu(inner="echo")]
    others.append(gpu(answers=["A", "B", "C"]))
    assert len({identify(other).revision for other in others} - {plain.revision}) == len(others)


def test_other_seeds_draw_other_lengths() -> None:
    ask = ask_about(gpu(), question_number(1))
    drawn = {reply_tokens(GpuScript(sigma=1.0, seed=seed), ask) for seed in range(20)}
    assert len(drawn) > 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latency_s": 0.1}, "leave latency_s out"),
        ({"t0_s": 0.0, "t1_s": 0.0}, "a step takes some time"),
        ({"mean_tokens": 0.5}, "mean_tokens"),
        ({"load_seconds": 1}, "did you mean 'load_s'"),
        ({"inner": "script"}, "needs 'replies'"),
    ],
)
def test_settings_that_do_not_fit_are_mistakes(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Mistake, match=said) as caught:
        make_engine(gpu(**options))
    assert "\n" not in str(caught.value)


def test_other_scripted_experts_take_no_times() -> None:
    with pytest.raises(Mistake, match="load_s"):
        make_engine(Expert(label="x", model="scripted/voter", options={"load_s": 1.0}))
    assert isinstance(make_engine(gpu()), ScriptedGpuEngine)


def test_failures_are_drawn_as_for_every_scripted_expert() -> None:
    expert = gpu(fail_share=1.0, mean_tokens=2)
    results = run_jumping(make_engine(expert).generate(asks(expert, 3)))
    assert all(isinstance(r, Reply) and r.failed for r in results)
