"""vLLM run for real on a CPU: the engines' contract, and its numbers beside those of Transformers.

One engine serves them all, as a start takes long; the test that ends it brings it back.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio

import tests.agents.vllm_here  # noqa: F401 - skips where vllm is absent
from agents.distributions import bare
from agents.engine import Attempted, Engine
from agents.roster import Expert
from agents.vllm_engine import VllmEngine
from protocols.asks import Ask, Model, Sampling, Seat
from protocols.errors import Mistake
from protocols.messages import Message, Part
from protocols.replies import Reply
from tests.agents.engine_contract import Case, EngineContract, as_value
from tests.agents.tiny_models import make_model
from tests.agents.torch_here import one_thread

one_thread()
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore::FutureWarning:vllm"),
    pytest.mark.filterwarnings("ignore:Unclosed context:ResourceWarning"),  # left by its client
    pytest.mark.filterwarnings("ignore:The test .* is marked with:pytest.PytestWarning"),
]

CLOSE = 1e-4
"""How far numbers in fp32 may lie apart that two libraries compute in another order."""
GREEDY = Sampling(temperature=0.0, max_tokens=16)
LONG = Sampling(temperature=0.0, max_tokens=1500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose likeliest tokens are labels, so that distributions can be read."""
    folder = make_model(tmp_path_factory.mktemp("models") / "tiny", hidden=128, head=64)
    model, tokenizer = plain(folder)
    labels = [n for n in range(len(tokenizer)) if bare(tokenizer.decode([n])) in set("abcdefghij")]
    others = sorted(set(range(model.lm_head.weight.shape[0])) - set(labels))
    model.lm_head.weight.data[others] *= 0.1
    model.save_pretrained(folder)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(folder: Path) -> AsyncIterator[VllmEngine]:
    engine = VllmEngine(expert_of(folder))
    await engine.load()
    yield engine
    await engine.unload()
    assert not processes()


def expert_of(folder: Path, **options: Any) -> Expert:
    on_cpu = {"device": "cpu", "dtype": "float32", "batch_limit": 8, "eager": True}
    return Expert(label="tiny", model="vllm/./tiny", data=str(folder), options=on_cpu | options)


def processes() -> list[psutil.Process]:
    """Return those of vLLM's processes that live."""
    children = psutil.Process().children(recursive=True)
    return [one for one in children if "vllm" in one.name().lower() or "Engine" in one.name()]


def plain(folder: Path) -> Any:
    """Return the model as Transformers loads it, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def prompt_of(tokenizer: Any, messages: tuple[Message, ...]) -> list[int]:
    turns = [{"role": said.speaker, "content": said.text} for said in messages]
    found: list[int] = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_dict=False
    )
    return found


def say(text: str, sampling: Sampling = GREEDY, **rest: Any) -> Ask:
    seat = Seat("solver", "solver", "tiny", Model("vllm/./tiny"), sampling)
    return Ask(seat, (Message("user", (Part("task", text),)),), **rest)


def score(prompt: str, text: str) -> Ask:
    ask = say(prompt)
    said = Message("assistant", (Part("speech", text),))
    return Ask(ask.seat, (*ask.messages, said), score=True)


async def replies(engine: Engine, *asks: Ask) -> list[Reply]:
    found = await engine.generate(asks)
    assert all(isinstance(one, Reply) for one in found)
    return [one for one in found if isinstance(one, Reply)]


async def reply(engine: Engine, ask: Ask) -> Reply:
    (found,) = await replies(engine, ask)
    assert found.failure is None, found.failure
    return found


class TestVllm(EngineContract):
    """The contract; what wants a fresh engine gets this one with nothing remembered."""

    @pytest.fixture
    def case(self, running: VllmEngine) -> Case:
        return Case("vllm", lambda _: running.expert, lambda _: running)

    @pytest.fixture
    def engine(self, running: VllmEngine) -> Engine:
        return running

    async def test_load_unload_load(self, engine: Engine, asks: list[Ask]) -> None:
        """With a process that is killed in between: its asks fail, and all of it is freed."""
        assert isinstance(engine, VllmEngine)
        await engine._llm.reset_prefix_cache()
        before = await engine.generate(asks)
        long = [say(f"Story {i}.", LONG) for i in range(3)]
        asked = asyncio.create_task(engine.generate(long))
        await until(lambda: engine._llm.get_num_unfinished_requests() == 3)
        for process in processes():
            process.kill()
        for one in await asked:
            assert isinstance(one, Reply)
            assert one.failure is not None
            assert (one.failure.boundary, one.failure.cause) == ("provider", "unavailable")
        await engine.unload()
        assert not processes()
        await engine.load()
        after = await engine.generate(asks)
        assert [as_value(one) for one in after] == [as_value(one) for one in before]

    async def _fresh(self, case: Case, expert: Expert, asks: list[Ask]) -> list[Attempted]:
        engine: Any = case.make(expert)
        await engine._llm.reset_prefix_cache()
        return await case.make(expert).generate(asks)


async def test_a_distribution_is_the_softmax(running: VllmEngine, folder: Path) -> None:
    import torch

    model, tokenizer = plain(folder)
    options = ("A", "B", "C", "D")
    once = Sampling(temperature=0.0, max_tokens=1)
    asks = [say(f"Number {i}: which one?", once, options=options) for i in range(6)]
    for ask, found in zip(asks, await replies(running, *asks), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt_of(tokenizer, ask.messages)])).logits[0, -1]
        mass = dict.fromkeys(options, 0.0)
        for token, share in enumerate(logits.softmax(-1).tolist()):
            name = bare(tokenizer.decode([token])).upper()
            if name in mass:
                mass[name] += share
        total = math.fsum(mass.values())
        expected = [mass[name] / total for name in options]
        if found.distribution is None:
            assert total < 0.5
            continue
        assert found.distribution == pytest.approx(expected, abs=CLOSE)
        assert found.outside_mass == pytest.approx(1.0 - total, abs=CLOSE)
        assert found.distribution_source == "logprobs"


async def test_scores_are_mean_log_likelihoods(running: VllmEngine, folder: Path) -> None:
    import torch

    model, tokenizer = plain(folder)
    asks = [
        score("What is it?", "Answer: A"),
        score("It is seven. " * 30 + "What is it?", "It is seven, and nobody doubts it."),
        score("Say.", "<|im_end|> is no end"),
    ]
    for ask, found in zip(asks, await replies(running, *asks), strict=True):
        prompt = prompt_of(tokenizer, ask.messages[:-1])
        target = tokenizer.encode(
            ask.messages[-1].text, add_special_tokens=False, split_special_tokens=True
        )
        with torch.no_grad():
            logits = model(torch.tensor([prompt + target])).logits[0].log_softmax(-1)
        ahead = logits[len(prompt) - 1 : -1].gather(-1, torch.tensor(target)[:, None])
        assert found.score == pytest.approx(float(ahead.mean()), abs=CLOSE)
        assert found.usage.completion_tokens == 0
    (empty,) = await replies(running, score("What is it?", ""))
    assert empty.failure is not None


async def test_greedy_texts_are_those_of_transformers_alone_and_in_a_batch(
    running: VllmEngine, folder: Path
) -> None:
    import torch

    model, tokenizer = plain(folder)
    asks = [say("Tell me of " + "ships and " * (7 * i)) for i in range(8)]
    together = await replies(running, *asks)
    alone = [await reply(running, ask) for ask in asks]
    assert [one.text for one in together] == [one.text for one in alone]
    for ask, found in zip(asks, together, strict=True):
        prompt = torch.tensor([prompt_of(tokenizer, ask.messages)])
        out = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=16
        )
        assert found.text == tokenizer.decode(out[0, prompt.shape[1] :], skip_special_tokens=True)
        assert found.usage.prompt_tokens == prompt.shape[1]


async def test_a_schema_is_kept(running: VllmEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"enum": ["A", "B"]}, "sure": {"type": "boolean"}},
        "required": ["answer", "sure"],
        "additionalProperties": False,
    }
    warm = Sampling(temperature=1.0, max_tokens=200)
    asks = [say("Which?", warm, schema=json.dumps(schema), occurrence=i) for i in range(4)]
    for found in await replies(running, *asks):
        assert found.failure is None, found.failure
        said = json.loads(found.text)
        assert said["answer"] in ("A", "B")
        assert isinstance(said["sure"], bool)
    (cut,) = await replies(
        running, say("Which?", replace(warm, max_tokens=2), schema=json.dumps(schema))
    )
    assert cut.failure is not None
    assert cut.failure.boundary == "malformed"


async def test_a_stop_cuts_the_text(running: VllmEngine) -> None:
    whole = await reply(running, say("Speak."))
    stop = whole.text[5:7]
    cut = await reply(running, say("Speak.", replace(GREEDY, stop=("never said", stop))))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert (whole.finish, cut.finish) == ("length", "stop")


async def test_draws_repeat_by_key_and_differ_by_occurrence(running: VllmEngine) -> None:
    warm = say("Draw.", Sampling(temperature=2.0, max_tokens=40))
    seeded = say("Draw.", Sampling(temperature=2.0, max_tokens=40, seed=5))
    first, same, other, third = await replies(
        running, warm, warm, replace(warm, occurrence=1), seeded
    )
    assert first.text == same.text
    assert len({first.text, other.text, third.text}) == 3


async def test_more_prompts_than_a_step_reads_are_drawn(running: VllmEngine) -> None:
    warm = Sampling(temperature=1.0, max_tokens=8)
    asks = [say(f"Number {i}. " * 120, warm) for i in range(8)]
    found = await replies(running, *asks)
    assert sum(one.usage.prompt_tokens for one in found) > 4 * 2048
    assert [one.failure for one in found] == [None] * 8


async def test_a_prompt_beyond_the_context_is_overlong(running: VllmEngine) -> None:
    fits, long = await replies(running, say("?" * 2000, LONG), say("?" * 3000))
    assert fits.usage.prompt_tokens + fits.usage.completion_tokens == 2048
    assert long.failure is not None
    assert (long.failure.boundary, long.failure.cause) == ("overlong", "context")


async def test_a_closed_stream_frees_its_requests(running: VllmEngine) -> None:
    stream: Any = running.stream([say(f"Story {i}.", LONG) for i in range(3)] + [say("Short.")])
    async with aclosing(stream):
        async for index, _ in stream:
            assert index == 3
            break
    await until(lambda: running._llm.get_num_unfinished_requests() == 0)
    assert (await reply(running, say("Again."))).text


def _cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _gone(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def _no_template(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    del settings["chat_template"]
    path.write_text(json.dumps(settings), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "says"),
    [(_gone, "no such folder"), (_cut, "is damaged"), (_no_template, "no chat template")],
    ids=["gone", "cut", "no-template"],
)
async def test_models_that_cannot_be_loaded_are_one_line(
    tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    folder = make_model(tmp_path / "tiny", hidden=128, head=64)
    damage(folder)
    with pytest.raises(Mistake, match=says) as mistake:
        await VllmEngine(expert_of(folder)).load()
    assert "\n" not in str(mistake.value)


async def test_a_build_for_cpus_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = VllmEngine(expert_of(folder, device="auto"))
    monkeypatch.setattr(VllmEngine, "check", lambda _: None)  # as where there is a GPU
    with pytest.raises(Mistake, match=r"built for CPUs; write  options: \{device: cpu\}"):
        await engine.load()


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
