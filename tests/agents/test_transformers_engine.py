"""The Transformers engine with tiny models on the CPU: the contract, and what it says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.asks import Ask, Sampling
from tests.agents import torch_here
from tests.agents.engine_contract import Case, EngineContract
from tests.agents.tiny_models import END, make_model
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

FEW = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PASSAGE = "It is known that the number is seven. Nobody who was there has ever doubted it. " * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny", spread=4.0)


class TestContract(EngineContract):
    @pytest.fixture
    def case(self, folder: Path) -> Case:
        return Case("tiny", lambda _: expert_of(folder, batch_limit=5))


def plain(folder: Path) -> Any:
    """Return the model as the library loads it, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def prompt_of(tokenizer: Any, ask: Ask) -> list[int]:
    turns = [{"role": said.speaker, "content": said.text} for said in ask.messages]
    found: list[int] = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_dict=False
    )
    return found


MIXED = [
    say("Short."),
    say(PASSAGE + "Which one?"),
    say(PASSAGE + "Which other one?", Sampling(temperature=0.0, max_tokens=3)),
    say("Tell me a long story about the sea and its ships.", Sampling(0.0, max_tokens=30)),
    say("?", system="You are an expert."),
    say(PASSAGE + "Draw.", WARM),
    say("Draw.", replace(WARM, top_p=0.7)),
    say("Draw.", replace(WARM, top_p=0.7), revision="2"),
]


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("qwen3", {}),
        ("mistral", {"sliding_window": 24}),
        ("gemma2", {"sliding_window": 24, "query_pre_attn_scalar": 16}),
        ("gemma3_text", {"sliding_window": 24, "query_pre_attn_scalar": 16}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_greedy_texts_are_those_of_the_librarys_own_generation(
    family: str, more: dict[str, Any], tmp_path: Path
) -> None:
    import torch

    folder = make_model(tmp_path / family, family=family, more=more)
    model, tokenizer = plain(folder)
    asks = [ask for ask in MIXED if ask.seat.sampling.temperature == 0.0]
    async with loaded(expert_of(folder, batch_limit=3)) as engine:
        got = await replies(engine, asks)
    for ask, found in zip(asks, got, strict=True):
        prompt = torch.tensor([prompt_of(tokenizer, ask)])
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=ask.seat.sampling.max_tokens,
        )
        text = tokenizer.decode(out[0, prompt.shape[1] :], skip_special_tokens=True)
        assert found.text == text
        assert found.usage.prompt_tokens == prompt.shape[1]
        assert found.usage.completion_tokens == out.shape[1] - prompt.shape[1]


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, bytes]:
    """What each of the mixed asks gets when it is asked alone."""

    async def ask_each() -> dict[str, bytes]:
        async with loaded(expert_of(folder, prefix_reuse=False)) as engine:
            return {ask.key: (await reply(engine, ask)).digest for ask in MIXED}

    with asyncio.Runner() as runner:
        return runner.run(ask_each())


@FEW
@given(
    places=st.lists(st.integers(0, len(MIXED) - 1), min_size=1, max_size=10),
    limit=st.integers(1, 6),
    reuse=st.booleans(),
)
async def test_replies_do_not_depend_on_what_stands_beside_them(
    folder: Path, alone: dict[str, bytes], places: list[int], limit: int, reuse: bool
) -> None:
    asks = [MIXED[place] for place in places]
    async with loaded(expert_of(folder, batch_limit=limit, prefix_reuse=reuse)) as engine:
        got = await replies(engine, asks)
    assert [one.digest for one in got] == [alone[ask.key] for ask in asks]


async def test_draws_differ_by_seed_and_by_how_often_was_asked(folder: Path) -> None:
    ask = say("Draw.", replace(WARM, max_tokens=24))
    again = replace(ask, occurrence=1)
    seeded = say("Draw.", replace(WARM, max_tokens=24, seed=5))
    async with loaded(expert_of(folder)) as engine:
        first, same, other, third = await replies(engine, [ask, ask, again, seeded])
    assert first.text == same.text
    assert len({first.text, other.text, third.text}) == 3


async def test_a_small_nucleus_is_greedy(folder: Path) -> None:
    async with loaded(expert_of(folder)) as engine:
        greedy = await reply(engine, say("Draw."))
        tight = await reply(engine, say("Draw.", replace(WARM, top_p=1e-6)))
        cold = await reply(engine, say("Draw.", replace(WARM, temperature=1e-4)))
    assert greedy.text == tight.text == cold.text


async def test_shares_of_draws_are_the_models_probabilities(folder: Path) -> None:
    import torch

    model, tokenizer = plain(folder)
    once = Sampling(temperature=2.0, max_tokens=1)
    asks = [say("Draw.", once, revision=str(i)) for i in range(1500)]
    with torch.no_grad():
        logits = model(torch.tensor([prompt_of(tokenizer, asks[0])])).logits[0, -1]
    shares = (logits / 2.0).softmax(-1)
    likeliest = int(shares.argmax())
    async with loaded(expert_of(folder)) as engine:
        got = await replies(engine, asks)
    text = tokenizer.decode([likeliest], skip_special_tokens=True)
    count = sum(one.text == text for one in got)
    mean = 1500 * float(shares[likeliest])
    assert abs(count - mean) < 5 * (mean * (1 - mean / 1500)) ** 0.5


async def test_stops_cut_the_text(folder: Path) -> None:
    long = Sampling(temperature=0.0, max_tokens=40)
    async with loaded(expert_of(folder)) as engine:
        whole = await reply(engine, say("Speak.", long))
        stop = whole.text[9:11]
        cut = await reply(engine, say("Speak.", replace(long, stop=("never said", stop))))
        early = await reply(engine, say("Speak.", replace(long, stop=(whole.text[0],))))
    assert whole.finish in ("length", "stop")
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish == "stop"
    assert cut.usage.completion_tokens < whole.usage.completion_tokens
    assert early.text == ""


async def test_lengths_can_be_forced(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "eager", spread=0.0)  # every token is as likely: it ends soon
    asks = [say(f"{i}", replace(WARM, max_tokens=600), revision=str(i)) for i in range(4)]
    async with loaded(expert_of(folder)) as engine:
        free = await replies(engine, asks)
    async with loaded(expert_of(folder, min_tokens=600)) as engine:
        forced = await replies(engine, asks)
    assert {one.finish for one in free} >= {"stop"}
    assert {one.usage.completion_tokens for one in forced} == {600}
    assert {one.finish for one in forced} == {"length"}


async def test_an_end_of_text_token_is_no_text(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "ends")
    model, _ = plain(folder)
    model.lm_head.weight.data[1] = 0.0
    model.lm_head.weight.data[2:] = -model.model.norm.weight.data.abs().sum()
    model.lm_head.weight.data[:1] = 0.0
    model.save_pretrained(folder)
    ask = say("Say nothing.", Sampling(temperature=1.0, max_tokens=64))
    async with loaded(expert_of(folder)) as engine:
        got = await replies(engine, [replace(ask, occurrence=i) for i in range(8)])
    for one in got:
        assert END not in one.text
        assert one.failure is None


async def test_scores_are_mean_log_likelihoods(folder: Path) -> None:
    import torch

    model, tokenizer = plain(folder)
    asks = [
        score("What is it?", "Answer: A"),
        score(PASSAGE + "What is it?", "It is seven, and nobody doubts it."),
        score(PASSAGE + "What was it?", "7"),
        score("Say.", END + " is no end"),
    ]
    async with loaded(expert_of(folder)) as engine:
        got = await replies(engine, [*asks, say("Speak.")])
        single = [await reply(engine, ask) for ask in asks]
    for ask, found, lone in zip(asks, got, single, strict=False):
        prompt = prompt_of(tokenizer, replace(ask, messages=ask.messages[:-1]))
        target = tokenizer.encode(
            ask.messages[-1].text, add_special_tokens=False, split_special_tokens=True
        )
        with torch.no_grad():
            logits = model(torch.tensor([prompt + target])).logits[0].log_softmax(-1)
        ahead = logits[len(prompt) - 1 : -1].gather(-1, torch.tensor(target)[:, None])
        assert found.score == pytest.approx(float(ahead.mean()), abs=1e-5)
        assert lone.score == pytest.approx(float(ahead.mean()), abs=1e-5)
        assert found.usage.completion_tokens == 0
    assert got[-1].score is None


async def test_what_cannot_be_scored_is_a_failure(folder: Path) -> None:
    ask = score("What is it?", "")
    async with loaded(expert_of(folder)) as engine:
        got = await replies(
            engine,
            [ask, replace(ask, messages=ask.messages[1:]), replace(ask, messages=())],
        )
    for one in got:
        assert one.failure is not None
        assert one.failure.cause == "bad_request"


async def test_a_prompt_beyond_the_context_is_overlong(folder: Path) -> None:
    async with loaded(expert_of(folder, context_tokens=64)) as engine:
        fits = await reply(engine, say("?" * 20, replace(GREEDY, max_tokens=500)))
        long, too_long = await replies(engine, [say("?" * 200), score("?" * 20, "!" * 50)])
    assert fits.usage.prompt_tokens + fits.usage.completion_tokens <= 64
    for one in (long, too_long):
        assert one.failure is not None
        assert (one.failure.boundary, one.failure.cause) == ("overlong", "context")


async def test_several_loops_of_asks_share_a_device(folder: Path, tmp_path: Path) -> None:
    other = make_model(tmp_path / "other", seed=1)
    common: dict[str, Any] = {}
    greedy = [ask for ask in MIXED if ask.seat.sampling.temperature == 0.0]
    async with loaded(expert_of(folder)) as one, loaded(expert_of(other)) as two:
        expected = [await replies(one, greedy), await replies(two, greedy)]
    async with (
        loaded(expert_of(folder), common) as one,
        loaded(expert_of(other, "other"), common) as two,
    ):
        assert one._loaded.thread is two._loaded.thread
        got = await asyncio.gather(replies(one, greedy), replies(two, greedy))
    for had, found in zip(expected, got, strict=True):
        assert [a.text for a in had] == [b.text for b in found]
    assert expected[0][0].text != expected[1][0].text


async def test_the_same_prefix_is_read_once(folder: Path) -> None:
    asks = [say(PASSAGE + f"Question {i}?") for i in range(8)]
    async with loaded(expert_of(folder)) as engine:
        with_it = await replies(engine, asks)
        reused = engine._loaded.batch.reused_tokens
    async with loaded(expert_of(folder, prefix_reuse=False)) as engine:
        without = await replies(engine, asks)
        assert engine._loaded.batch.reused_tokens == 0
    assert [one.digest for one in with_it] == [one.digest for one in without]
    assert reused >= 7 * len(PASSAGE)
