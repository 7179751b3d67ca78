"""vLLM: the translation to and from its words. What runs it is in ``test_vllm_runs.py``."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.engines import capabilities_of, make_engine
from agents.roster import Expert
from agents.vllm_engine import Sleepers, VllmEngine, _seeing
from agents.vllm_request import (
    engine_arguments,
    mean_likelihood,
    reply_of,
    sampling_arguments,
    tokens_of,
    visible_cards,
)
from protocols.asks import Ask, Model, Sampling, Seat
from protocols.errors import Mistake
from protocols.messages import Message, Part

CONTEXT = 1_000
M = Path("/models/m")


def expert(**options: Any) -> Expert:
    return Expert(label="math", model="vllm/./models/m", data="/models/m", options=options)


def ask(
    *,
    options: tuple[str, ...] = (),
    schema: str | None = None,
    score: bool = False,
    occurrence: int = 0,
    **sampling: Any,
) -> Ask:
    seat = Seat("judge", "judge", "math", Model("vllm/./models/m"), Sampling(**sampling))
    messages: tuple[Message, ...] = (
        Message("system", (Part("system", "Be brief."),)),
        Message("user", (Part("question", "Is it so?"), Part("task", "Say."))),
    )
    if score:
        messages += (Message("assistant", (Part("speech", "It is."),)),)
    return Ask(seat, messages, options, schema, occurrence=occurrence, score=score)


def told(token: str, logprob: float) -> SimpleNamespace:
    return SimpleNamespace(decoded_token=token, logprob=logprob, rank=1)


def output(text: str = "", finish: str | None = "stop", **more: Any) -> SimpleNamespace:
    """What vLLM's RequestOutput holds, as far as it is read."""
    completion = SimpleNamespace(
        text=text,
        token_ids=more.pop("token_ids", [1, 2, 3]),
        logprobs=more.pop("logprobs", None),
        finish_reason=finish,
    )
    fields: dict[str, Any] = {
        "outputs": [completion],
        "prompt_token_ids": [7, 8, 9, 10],
        "prompt_logprobs": None,
        "num_cached_tokens": 2,
    }
    return SimpleNamespace(**(fields | more))


def test_settings_come_from_the_ask_then_the_model_and_never_leave_the_context() -> None:
    defaults = {"temperature": 0.6, "top_k": 20, "max_tokens": 5_000, "eos": 3, "top_p": None}
    given = sampling_arguments(ask(), 100, CONTEXT, defaults)
    assert (given["temperature"], given["top_k"], given["max_tokens"]) == (0.6, 20, 900)
    assert "eos" not in given
    assert "top_p" not in given
    assert "logprobs" not in given
    given = sampling_arguments(
        ask(temperature=0.0, top_p=0.9, max_tokens=50, stop=("END",)), 100, CONTEXT, defaults
    )
    assert (given["temperature"], given["top_p"], given["max_tokens"]) == (0.0, 0.9, 50)
    assert given["stop"] == ["END"]
    assert sampling_arguments(ask(max_tokens=50), 999, CONTEXT, {})["max_tokens"] == 1
    assert sampling_arguments(ask(), 100, CONTEXT, {})["max_tokens"] == 900


def test_a_seed_is_the_asks_own_and_another_draw_has_another() -> None:
    seeds = [
        sampling_arguments(one, 10, CONTEXT, {})["seed"]
        for one in (ask(), ask(), ask(occurrence=1), ask(seed=4))
    ]
    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_options_ask_for_log_probabilities_and_scores_for_those_of_the_prompt() -> None:
    assert sampling_arguments(ask(options=("A", "B")), 10, CONTEXT, {})["logprobs"] == 20
    given = sampling_arguments(ask(score=True, max_tokens=50), 10, CONTEXT, {"temperature": 1.0})
    assert given == {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}


def test_a_reply_has_text_finish_and_tokens() -> None:
    reply = reply_of(ask(), output("Yes."), 0, 1.5)
    assert (reply.text, reply.finish, reply.latency_s) == ("Yes.", "stop", 1.5)
    usage = reply.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (4, 3, 2)
    assert reply_of(ask(), output("Ye", "length"), 0, 0.0).finish == "length"


@pytest.mark.parametrize("finish", ["abort", None, "error"])
def test_what_vllm_ended_is_missing(finish: str | None) -> None:
    reply = reply_of(ask(), output("Ye", finish), 0, 0.0)
    assert reply.failure is not None
    assert reply.failure.boundary == "provider"


def test_a_distribution_is_read_where_the_answer_stands() -> None:
    rows = [
        {1: told("Answer", -0.1)},
        {2: told(":", 0.0)},
        {3: told(" B", math.log(0.6)), 4: told(" A", math.log(0.2)), 5: told(" C", math.log(0.2))},
    ]
    made = output("Answer: B", token_ids=[1, 2, 3], logprobs=rows)
    assert [token.text for token in tokens_of(made.outputs[0])] == ["Answer", ":", " B"]
    reply = reply_of(ask(options=("A", "B")), made, 0, 0.0)
    assert reply.distribution == pytest.approx((0.25, 0.75))
    assert reply.distribution_source == "logprobs"
    assert reply.outside_mass == pytest.approx(0.2)
    without = reply_of(ask(options=("A", "B")), output("Answer: B"), 0, 0.0)
    assert without.text == "Answer: B"
    assert without.distribution is None


def test_a_score_is_the_mean_over_the_text_alone() -> None:
    rows = [None, {8: told("x", -9.0)}, {9: told("It", -1.0)}, {10: told("is", -3.0)}]
    reply = reply_of(ask(score=True), output(prompt_logprobs=rows), 2, 0.0)
    assert reply.score == pytest.approx(-2.0)
    assert reply.usage.completion_tokens == 0
    assert mean_likelihood([7, 8], [None, {8: told("x", -1.0)}], 2) is None
    assert mean_likelihood([7, 8], [None], 1) is None
    assert mean_likelihood([7, 8], [None, {8: told("x", -1.0)}], 0) is None
    missing = reply_of(ask(score=True), output(), 2, 0.0)
    assert missing.failure is not None
    assert missing.score is None


def test_json_that_is_none_is_malformed() -> None:
    schema = json.dumps({"type": "object"})
    assert reply_of(ask(schema=schema), output('{"a": 1}'), 0, 0.0).text == '{"a": 1}'
    cut = reply_of(ask(schema=schema), output('{"a": ', "length"), 0, 0.0)
    assert cut.failure is not None
    assert cut.failure.boundary == "malformed"
    assert "max_tokens" in cut.failure.message


def test_the_engine_takes_its_share_of_the_card() -> None:
    given = engine_arguments(expert(), M, None)
    assert given["model"] == "/models/m"
    assert given["enable_sleep_mode"] is True
    assert "gpu_memory_utilization" not in given
    assert "max_model_len" not in given
    sized = expert(context_tokens=4096, dtype="float16").model_copy(update={"gpu_gb": 16.0})
    given = engine_arguments(sized, M, 80.0)
    assert given["gpu_memory_utilization"] == 0.2
    assert (given["max_model_len"], given["dtype"]) == (4096, "float16")
    assert engine_arguments(sized, M, 16.0)["gpu_memory_utilization"] == 0.95
    wide = expert().model_copy(update={"gpus": 2})
    assert engine_arguments(wide, M, None)["tensor_parallel_size"] == 2


def test_on_a_cpu_it_takes_what_it_is_given_and_never_sleeps(tmp_path: Path) -> None:
    given = engine_arguments(expert(device="cpu"), tmp_path, 80.0)
    assert given["enable_sleep_mode"] is False
    assert given["enable_chunked_prefill"] is False
    assert given["kv_cache_memory_bytes"] == 4_000_000_000
    assert "gpu_memory_utilization" not in given
    sized = expert(device="cpu").model_copy(update={"gpu_gb": 3.0})  # and no weights at all
    assert engine_arguments(sized, tmp_path, 80.0)["kv_cache_memory_bytes"] == 3_000_000_000


def test_options_are_checked() -> None:
    with pytest.raises(Mistake, match="unknown key 'batch_limt'; did you mean 'batch_limit'"):
        make_engine(expert(batch_limt=3))
    assert make_engine(expert(batch_limit=3)).batch_limit == 3
    able = capabilities_of(expert(context_tokens=2048))
    assert able.schemas
    assert able.prompt_scoring
    assert able.context_tokens == 2048


def test_sleepers_keep_within_the_hosts_memory() -> None:
    first, second, third = (VllmEngine(expert()) for _ in range(3))
    sleepers = Sleepers()
    assert sleepers.lie_down(first, 15.0, 32.0) == []
    assert sleepers.lie_down(second, 15.0, 32.0) == []
    assert sleepers.lie_down(third, 15.0, 32.0) == [first]
    sleepers.get_up(second)
    assert sleepers.lie_down(first, 15.0, 32.0) == []
    assert sleepers.lie_down(second, 40.0, 32.0) == [third, first, second]


def test_engines_of_one_worker_share_the_hosts_memory() -> None:
    common: dict[str, Any] = {}
    first, second = VllmEngine(expert()), VllmEngine(expert())
    first.share(common)
    second.share(common)
    assert first._sleepers is second._sleepers


async def test_one_that_died_is_ended_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[SimpleNamespace] = []
    ended: list[int] = []

    def start(_: VllmEngine, started: list[Any]) -> None:
        number = len(starts)
        starts.append(SimpleNamespace(errored=False, shutdown=lambda _: ended.append(number)))
        started.append(starts[-1])

    monkeypatch.setattr(VllmEngine, "_start", start)
    monkeypatch.setattr(VllmEngine, "check", lambda _: None)
    engine = VllmEngine(expert(device="cpu"))
    await engine.load()
    await engine.load()
    assert (len(starts), ended) == (1, [])
    starts[0].errored = True
    await engine.load()
    assert (len(starts), ended) == (2, [0])
    starts[1].errored = True
    await asyncio.gather(engine.generate([]), engine.generate([]))
    assert (len(starts), ended) == (3, [0, 1])
    await engine.unload()
    await engine.unload()
    assert ended == [0, 1, 2]


async def test_a_load_that_nobody_waits_for_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    going, begun, ended = threading.Event(), threading.Event(), threading.Event()

    def start(_: VllmEngine, started: list[Any]) -> None:
        begun.set()
        assert going.wait(60)
        started.append(SimpleNamespace(errored=False, shutdown=lambda _: ended.set()))

    monkeypatch.setattr(VllmEngine, "_start", start)
    monkeypatch.setattr(VllmEngine, "check", lambda _: None)
    engine = VllmEngine(expert(device="cpu"))
    loading = asyncio.create_task(engine.load())
    await asyncio.to_thread(begun.wait, 60)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    going.set()
    assert await asyncio.to_thread(ended.wait, 60)
    assert engine._llm is None


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed")
async def test_without_vllm_one_line_says_so() -> None:
    engine = VllmEngine(expert())
    with pytest.raises(Mistake, match=r"expert 'math': vllm is not installed; pip install vllm"):
        await engine.load()
    await engine.unload()


@pytest.mark.parametrize(
    ("cards", "listed", "seen"),
    [((1,), None, "1"), ((2, 3), None, "2,3"), ((1,), "4, 6", "6"), ((0,), "GPU-a,GPU-b", "GPU-a")],
)
def test_a_server_sees_its_workers_gpus_alone(
    cards: tuple[int, ...], listed: str | None, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert visible_cards(cards, listed) == seen
    if listed is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    before = dict(os.environ)
    with _seeing(cards):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    assert dict(os.environ) == before
    with _seeing(()):
        assert dict(os.environ) == before


def test_gpus_that_are_not_listed_are_one_line() -> None:
    with pytest.raises(Mistake, match="cuda:2 is wanted, and CUDA_VISIBLE_DEVICES lists 2"):
        visible_cards((0, 2), "0,1")
