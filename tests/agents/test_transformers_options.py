"""Distributions over options: exact, where the answer stands or is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.distributions import bare
from protocols.asks import Ask, Sampling
from protocols.replies import Reply
from tests.agents import torch_here
from tests.agents.tiny_models import make_model
from tests.agents.transformers_making import expert_of, loaded, replies, reply, say

torch_here.need_torch()
pytestmark = pytest.mark.torch

LABELS = ("A", "B", "C")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny", spread=3.0)


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def shares_behind(plain: tuple[Any, Any], ask: Ask, said: list[int]) -> tuple[list[float], float]:
    """Return what a plain forward pass says behind the prompt and some tokens: shares, the rest."""
    import torch

    model, tokenizer = plain
    turns = [{"role": one.speaker, "content": one.text} for one in ask.messages]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    with torch.no_grad():
        logits = model(torch.tensor([prompt + said])).logits[0, -1]
    probabilities = logits.double().softmax(-1).tolist()
    mass = [0.0] * len(ask.options)
    for token, probability in enumerate(probabilities):
        name = bare(tokenizer.decode([token], skip_special_tokens=True))
        for place, option in enumerate(ask.options):
            if name == option.casefold():
                mass[place] += probability
    return [value / sum(mass) for value in mass], 1.0 - sum(mass)


def check(found: Reply, expected: tuple[list[float], float], source: str) -> None:
    assert found.distribution == pytest.approx(expected[0], abs=1e-6)
    assert found.outside_mass == pytest.approx(expected[1], abs=1e-6)
    assert found.distribution_source == source


async def test_an_answer_that_is_not_stated_is_asked_for(
    folder: Path, plain: tuple[Any, Any]
) -> None:
    asks = [
        say(f"Which one, {i}?", Sampling(temperature=0.0, max_tokens=2 + i), options=LABELS)
        for i in range(6)
    ]
    async with loaded(expert_of(folder)) as engine:
        got = await replies(engine, [*asks, say("Which one?")])
    for ask, found in zip(asks, got, strict=False):
        behind = plain[1].encode(found.text + "\nAnswer:", add_special_tokens=False)
        check(found, shares_behind(plain, ask, behind), "probe")
        assert found.usage.completion_tokens == ask.seat.sampling.max_tokens
    assert got[-1].distribution is None


async def test_a_label_that_is_the_whole_reply_has_the_shares_of_its_place(
    folder: Path, plain: tuple[Any, Any]
) -> None:
    once = Sampling(temperature=1.5, max_tokens=1)
    ask = say("Which one?", once, options=LABELS)
    asks = [replace(ask, occurrence=i) for i in range(900)]
    expected = shares_behind(plain, ask, [])
    async with loaded(expert_of(folder)) as engine:
        got = await replies(engine, asks)
    stated = [one for one in got if one.text.strip() in LABELS]
    assert stated
    for one in stated:
        check(one, expected, "logprobs")


async def test_options_that_are_no_single_tokens_have_no_distribution(folder: Path) -> None:
    asks = [
        say("Which one?", options=("yes", "no")),
        say("Which one?", options=("A", "a")),
        say("Which one?", options=("A", "")),
    ]
    async with loaded(expert_of(folder)) as engine:
        for found in await replies(engine, asks):
            assert found.failure is None
            assert found.distribution is None
            assert found.distribution_source is None


async def test_there_is_none_where_the_context_is_full(folder: Path) -> None:
    wide = Sampling(temperature=0.0, max_tokens=500)
    async with loaded(expert_of(folder, context_tokens=64)) as engine:
        found = await reply(engine, say("?" * 20, wide, options=LABELS))
    assert found.distribution is None
    assert found.finish == "length"
