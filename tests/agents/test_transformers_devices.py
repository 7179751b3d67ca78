"""What the Transformers engine does on a device that is not the CPU, without one.

torch's fake tensors have a device, a shape and a type and no numbers: what computes on two devices
raises. The device is torch's "meta", as the fakes of CUDA need a torch that was built for it. The
numbers that the engine asks for are made up, and how often it asks is counted: there it would wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tests.agents.torch_here  # noqa: F401 - skips where torch is absent

import torch  # isort: skip
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # isort: skip
from agents import weights  # isort: skip
from agents.transformers_batch import Batch  # isort: skip
from agents.transformers_cache import Attention  # isort: skip
from agents.transformers_chat import Chat  # isort: skip
from agents.transformers_jobs import Job, Terms, job_of  # isort: skip
from agents.transformers_model import Model  # isort: skip
from agents.transformers_sampling import Defaults  # isort: skip
from protocols.asks import Sampling  # isort: skip
from tests.agents.tiny_models import make_model  # isort: skip
from tests.agents.transformers_making import GREEDY, say, score  # isort: skip

pytestmark = pytest.mark.torch
DEVICE = torch.device("meta")
WARM = Sampling(temperature=0.7, top_p=0.9, max_tokens=12)


@dataclass
class Traffic:
    """What goes between the CPU and the device."""

    asked: list[tuple[int, ...]] = field(default_factory=list)
    """The shapes of the tensors whose numbers were asked for."""
    sent: int = 0


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traffic]:
    """Let tensors have no numbers."""
    traffic, plain = Traffic(), torch.tensor

    def sent(values: Any, *, dtype: Any = None, device: Any = "cpu") -> torch.Tensor:
        traffic.sent += 1
        return plain(values, dtype=dtype).to(device)

    def told(tensor: torch.Tensor) -> Any:
        traffic.asked.append(tuple(tensor.shape))
        numbers = {torch.bool: True, torch.int64: 40, torch.float64: -2.0}
        value: Any = numbers.get(tensor.dtype, -1.0)
        for size in reversed(tensor.shape):
            value = [value] * size
        return value

    def room(_: Any) -> tuple[int, int]:
        return 10**9, 10**9

    monkeypatch.setattr(weights, "memory_of", room)
    monkeypatch.setattr(torch, "tensor", sent)
    monkeypatch.setattr(FakeTensor, "tolist", told)
    with FakeTensorMode():
        yield traffic


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    windows = {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}
    return {
        "qwen2": make_model(root / "qwen2", family="qwen2"),
        "gemma2": make_model(root / "gemma2", family="gemma2", more=windows),
    }


def on_device(folder: Path, *, reuse: bool = True) -> Batch:
    """Return the batch of a model whose weights were copied to the device."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    module = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    block, views = weights._in_one_block(module.requires_grad_(False))
    placed = weights.place(weights.HostWeights("m", module, block, views, 0.0), DEVICE)
    assert {tensor.device for tensor in weights._tensors(placed.module)} == {DEVICE}
    chat = Chat(folder, None, {}, "tiny")
    terms = Terms(chat, Defaults(ends=(1,)), 2_048, 0, "tiny", config.vocab_size)
    model = Model(placed.module, DEVICE, Attention(config), config.num_hidden_layers)
    return Batch(model, terms, 4, reuse=reuse)


def jobs_of(batch: Batch, asks: list[Any]) -> list[Job]:
    mail: Any = SimpleNamespace(put=lambda job: None)
    return [job_of(index, ask, mail, batch._terms) for index, ask in enumerate(asks)]


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
@pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "no-reuse"])
def test_every_kind_of_work_stays_on_the_device(
    traffic: Traffic, folders: dict[str, Path], family: str, reuse: bool
) -> None:
    batch = on_device(folders[family], reuse=reuse)
    same = "The same beginning of all, which is long. "
    asks = [
        *(say(same + "more " * i, (GREEDY, WARM)[i % 2]) for i in range(6)),
        *(say(same + "Which? " * i, WARM, options=("A", "B")) for i in range(4)),
        *(score(same + "Say " * i, "this and that") for i in range(3)),
    ]
    jobs = jobs_of(batch, asks)
    with torch.inference_mode():
        batch.add(jobs)
        for _ in range(200):
            if not batch.busy:
                break
            batch.turn()
    for job in jobs:
        assert job.result is not None
        assert job.result.failure is None, job.result.failure
    assert {len(job.tokens) for job in jobs[:10]} == {12}
    assert {layer.keys.device for layer in batch._slots.layers if layer.keys is not None} == {
        DEVICE
    }
    assert bool(batch.reused_tokens) == reuse


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "warm"])
def test_a_step_waits_for_the_device_once(
    traffic: Traffic, folders: dict[str, Path], sampling: Sampling
) -> None:
    batch = on_device(folders["qwen2"], reuse=False)
    with torch.inference_mode():
        batch.add(jobs_of(batch, [say("Speak " * i, sampling) for i in range(1, 5)]))
        while batch._waiting:
            batch.turn()
        traffic.asked, traffic.sent = [], 0
        batch.turn()
    assert traffic.asked == [(4,)]
    assert traffic.sent == (1 if sampling is GREEDY else 2)  # where rows stand; how they draw


def test_two_devices_are_seen(traffic: Traffic, folders: dict[str, Path]) -> None:
    batch = on_device(folders["qwen2"])
    batch._model = replace(batch._model, device=torch.device("cpu"))
    (job,) = jobs_of(batch, [say("Speak.")])
    with torch.inference_mode():
        batch.add([job])
        batch.turn()
    assert job.result is not None
    assert job.result.failure is not None
