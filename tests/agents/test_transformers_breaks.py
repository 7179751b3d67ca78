"""The Transformers engine against what breaks engines: bad prompts, bad models, memory, cancels."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.transformers_engine import TransformersEngine
from protocols.asks import Sampling
from protocols.replies import Reply
from tests.agents import torch_here
from tests.agents.tiny_models import make_model
from tests.agents.transformers_making import (
    GREEDY,
    WARM,
    expert_of,
    loaded,
    replies,
    reply,
    say,
    score,
)

torch_here.need_torch()
pytestmark = pytest.mark.torch

FUSSY = (
    "{% if 'zero' in messages[0].content %}{{ 1 / 0 }}{% endif %}"
    "{% if 'nothing' not in messages[0].content %}{{ messages[0].content }}{% endif %}"
)
SCHEMA = json.dumps({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


def cause(found: Reply) -> tuple[str, str]:
    assert found.failure is not None
    assert "\n" not in found.failure.message
    return found.failure.boundary, found.failure.cause


def once(plain: Callable[..., Any], error: Exception, *, after: bool = False) -> Any:
    """Return `plain`, which raises at its first call, or rather at that call's end."""
    calls: list[int] = []

    def breaks(*args: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1 and not after:
            raise error
        found = plain(*args, **named)
        if len(calls) == 1:
            raise error
        return found

    return breaks


async def test_prompts_that_break_a_template_fail_alone(tmp_path: Path) -> None:
    model = make_model(tmp_path / "fussy", chat_template=FUSSY)
    asks = [say("Fine."), say("Divide by zero."), say("Make nothing of it."), score("nothing", "x")]
    async with loaded(expert_of(model)) as engine:
        fine, *others = await replies(engine, asks)
    assert fine.failure is None
    assert [cause(one) for one in others] == [("provider", "bad_request")] * 3


async def test_tokens_that_the_model_does_not_know_fail_alone(folder: Path) -> None:
    from dataclasses import replace

    async with loaded(expert_of(folder)) as engine:
        terms = engine._loaded.terms
        letter = max(terms.chat.encode("z"))
        engine._loaded.terms = replace(terms, vocabulary=letter)
        odd, plain = await replies(engine, [say("z"), say("Ay")])
        assert terms.chat.naming(("A", "B"), 2) is None
    assert cause(odd) == ("provider", "bad_request")
    assert plain.failure is not None  # "\n" of the template is behind "z" in the alphabet
    assert plain.failure.cause == "bad_request"


async def test_a_model_of_no_numbers_fails_its_asks(folder: Path) -> None:
    import torch

    async with loaded(expert_of(folder)) as engine:
        with torch.no_grad():
            engine._loaded.model.module.lm_head.weight.fill_(float("nan"))
        found = await replies(
            engine, [say("Speak."), say("Which?", options=("A", "B")), score("Say", "this")]
        )
    for one in found:
        assert one.failure is not None
        assert "nan" in one.failure.message


async def test_an_unload_that_is_cancelled_frees_all_the_same(folder: Path) -> None:
    engine = TransformersEngine(expert_of(folder))
    await engine.load()
    assert engine._loaded is not None
    module, thread = weakref.ref(engine._loaded.model.module), engine._loaded.thread
    unloading = asyncio.create_task(engine.unload())
    await asyncio.sleep(0)
    unloading.cancel()
    await asyncio.sleep(0)
    unloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unloading
    gc.collect()
    assert module() is None
    assert not thread._batches
    await engine.load()
    assert (await reply(engine, say("Again."))).text
    await engine.unload()


async def test_what_breaks_between_turns_ends_nobodys_wait(folder: Path) -> None:
    async with loaded(expert_of(folder, min_tokens=1500)) as engine:
        long = Sampling(temperature=0.0, max_tokens=1500)
        running = asyncio.create_task(replies(engine, [say("Speak.", long)]))
        async with asyncio.timeout(60):
            while engine._loaded.batch.steps < 3:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0)
        engine._loaded.thread.post(lambda: 1 // 0)
        (broken,) = await running
        assert broken.failure is not None
        assert "ZeroDivisionError" in broken.failure.message
        assert (await reply(engine, say("Speak on.", GREEDY))).text


@pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "no-reuse"])
@pytest.mark.parametrize("shrinks", [True, False], ids=["shrinks", "no-room-to-shrink"])
@pytest.mark.parametrize("step", [0, 2, 3])
async def test_memory_that_runs_out_where_tokens_are_drawn_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, reuse: bool, shrinks: bool, step: int
) -> None:
    import torch

    from agents.transformers_sampling import choose as plain

    asks = [say("The same beginning of all. " * 3 + str(i), WARM) for i in range(5)]
    full = torch.OutOfMemoryError("no memory")
    async with loaded(expert_of(folder, prefix_reuse=reuse)) as engine:
        expected = await replies(engine, asks)
        batch = engine._loaded.batch
        broken, calls = once(plain, full, after=True), iter(range(1_000_000))

        def choose(*args: Any) -> Any:
            return (plain if next(calls) < step else broken)(*args)

        monkeypatch.setattr("agents.transformers_batch.choose", choose)
        if not shrinks:
            monkeypatch.setattr(batch._slots, "shrink", once(batch._slots.shrink, full))
        got = await replies(engine, asks)
        assert next(calls) > step
    assert [one.digest for one in got] == [one.digest for one in expected]


async def test_room_that_was_given_up_comes_back_when_all_is_done(folder: Path) -> None:
    import torch

    async with loaded(expert_of(folder, batch_limit=8, prefix_reuse=False)) as engine:
        batch, module = engine._loaded.batch, engine._loaded.model.module
        plain = module.forward

        def forward(*args: Any, **named: Any) -> Any:
            if len(named["input_ids"]) > 2:
                raise torch.OutOfMemoryError("no memory")
            return plain(*args, **named)

        module.forward = forward
        await replies(engine, [say(f"{i}") for i in range(6)])
        assert batch.limit < 8
        module.forward = plain
        await replies(engine, [say("On.")])
        assert batch.limit == 8


async def test_one_long_prompt_does_not_widen_all_later_rows(folder: Path) -> None:
    async with loaded(expert_of(folder, batch_limit=16)) as engine:
        layer = engine._loaded.batch._slots.layers[0]
        short = [say(f"Short {i}.", WARM) for i in range(16)]
        expected = await replies(engine, short)
        await replies(engine, [say("Long. " * 300), *short[:3]])
        assert layer.keys.shape[2] > 1024
        got = await replies(engine, short)
        assert layer.keys.shape[2] <= 256
    assert [one.digest for one in got] == [one.digest for one in expected]


async def test_stops_at_the_start_and_across_tokens(folder: Path) -> None:
    async with loaded(expert_of(folder, min_tokens=1)) as engine:
        whole = (await reply(engine, say("Go."))).text
        for start, length in ((0, 1), (0, 3), (1, 4), (3, 5)):
            stop = whole[start : start + length]
            sampling = Sampling(temperature=0.0, max_tokens=12, stop=("never said", stop))
            found = await reply(engine, say("Go.", sampling))
            assert found.text == whole[: whole.find(stop)]
            assert found.finish == "stop"


@pytest.mark.parametrize("most", [0, 1])
async def test_the_shortest_replies(folder: Path, most: int) -> None:
    sampling = Sampling(temperature=0.0, max_tokens=most)
    async with loaded(expert_of(folder)) as engine:
        (found,) = await replies(engine, [say("Go.", sampling, options=("A", "B"))])
        assert await replies(engine, []) == []
    assert found.failure is None
    assert found.usage.completion_tokens == 1
    assert found.distribution is not None


@pytest.mark.parametrize(
    ("said", "text", "repaired", "why"),
    [
        ('{"a": 1}', '{"a": 1}', False, None),
        ('```json\n{"a": 1,}\n```', '{"a":1}', True, None),
        ('{"b": 1}', "", False, ("malformed", "schema")),
        ("I would rather not.", "", False, ("malformed", "schema")),
    ],
    ids=["kept", "mended", "other", "prose"],
)
async def test_replies_are_held_to_a_schema_behind_the_model(
    folder: Path, said: str, text: str, repaired: bool, why: tuple[str, str] | None
) -> None:
    from agents.transformers_jobs import Mail, job_of, reply_of

    async with loaded(expert_of(folder)) as engine:
        terms = engine._loaded.terms
        job = job_of(0, say("Give JSON.", schema=SCHEMA), Mail(), terms)
        job.tokens = terms.chat.encode(said)
        found = reply_of(job, terms.chat, terms.defaults.ends, "stop")
        (drawn,) = await replies(engine, [say("Give JSON.", schema=SCHEMA, options=("A", "B"))])
    assert (found.text, found.repaired) == (text, repaired)
    assert found.usage.completion_tokens == len(job.tokens)
    assert (None if why is None else cause(found)) == why
    assert cause(drawn)[0] == "malformed"  # random weights write no JSON
    assert drawn.distribution is None
