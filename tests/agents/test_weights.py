"""Weights: what is read equals what transformers reads, and what is wrong is one line."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import weakref
from pathlib import Path

import pytest

import tests.agents.torch_here  # noqa: F401 - skips where torch is absent

import torch  # isort: skip
from agents import weights  # isort: skip
from agents.weights import WeightCache, examine, find_model, free, place  # isort: skip
from protocols.errors import Mistake  # isort: skip
from tests.agents.tiny_models import make_model  # isort: skip
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig  # isort: skip

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")
TOKENS = torch.tensor([[3, 5, 7, 11, 13, 17], [2, 4, 6, 8, 10, 12]])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


def saved(folder: Path, config, **how) -> Path:
    """Write a model of any architecture, without a tokenizer."""
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder, **how)
    return folder


def expected(folder: Path, dtype=torch.float32):
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()(TOKENS).logits


def logits(module):
    with torch.no_grad():
        return module(TOKENS).logits


def tied() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )


def learned_positions() -> GPT2Config:
    return GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=2)


@pytest.mark.parametrize("budget", [0.0, 1.0])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_placed_model_computes_what_transformers_computes(
    tmp_path: Path, family: str, budget: float
) -> None:
    folder = make_model(tmp_path / family, family=family)
    cache = WeightCache(budget)
    for dtype in (torch.float32, torch.bfloat16):
        for _ in range(2):
            placed = cache.load(folder, dtype, CPU)
            assert placed.module.dtype == dtype
            assert not placed.module.training
            assert torch.equal(logits(placed.module), expected(folder, dtype))


@pytest.mark.parametrize("config", [tied(), learned_positions()], ids=["tied", "gpt2"])
def test_other_architectures_in_several_files(tmp_path: Path, config) -> None:
    folder = saved(tmp_path / "m", config, max_shard_size="30KB")
    assert len(examine(folder).files) > 1
    placed = WeightCache(1.0).load(folder, torch.float32, CPU)
    assert torch.equal(logits(placed.module), expected(folder))
    head, words = placed.module.get_output_embeddings(), placed.module.get_input_embeddings()
    assert head.weight is words.weight


def test_a_stored_dtype_is_kept_unless_another_is_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", dtype="bfloat16")
    assert WeightCache(0).load(folder, None, CPU).module.dtype == torch.bfloat16
    assert WeightCache(0).load(folder, torch.float32, CPU).module.dtype == torch.float32
    assert examine(folder).bytes(torch.float32) == 2 * examine(folder).bytes()


@pytest.mark.parametrize("budget", [0.0, 1.0])
def test_freed_memory_is_gone_though_the_module_is_held(model: Path, budget: float) -> None:
    cache = WeightCache(budget)
    placed = cache.load(model, torch.float32, CPU)
    module = placed.module
    assert sum(p.nbytes for p in module.parameters()) > 100_000
    one = weakref.ref(module.get_input_embeddings().weight)
    storage = module.get_input_embeddings().weight.untyped_storage()
    free(placed)
    free(placed)
    assert sum(t.untyped_storage().nbytes() for t in weights._tensors(module)) == 0
    kept = cache.held_bytes
    assert (kept > 0) == (budget > 0)
    del module, storage
    gc.collect()
    assert one() is None
    again = cache.load(model, torch.float32, CPU)  # what the cache holds was not touched
    assert torch.equal(logits(again.module), expected(model))


def test_two_of_one_model_share_nothing_that_freeing_touches(model: Path) -> None:
    cache = WeightCache(0)
    host = cache.read(model, torch.float32)
    one, other = place(host, CPU), place(host, CPU)
    free(one)
    assert torch.equal(logits(other.module), expected(model))


def test_timings_tell_disk_from_memory(model: Path) -> None:
    cache = WeightCache(1.0)
    cache.load(model, torch.float32, CPU)
    placed = cache.load(model, torch.float32, CPU)
    first, second = cache.timings
    assert first.read_s > 0.0
    assert second.read_s == 0.0
    assert placed.timing is second
    assert second.copy_s == placed.seconds > 0.0
    assert second.bytes == placed.bytes >= examine(model).bytes(torch.float32)


def test_under_cyclic_use_some_models_stay(tmp_path: Path) -> None:
    folders = [make_model(tmp_path / f"m{i}", seed=i) for i in range(4)]
    size = WeightCache(0).read(folders[0]).bytes
    cache = WeightCache(2.5 * size / 1e9)
    for _ in range(3):
        for folder in folders:
            cache.load(folder, None, CPU)
            assert cache.held_bytes <= 2.5 * size
    hits = [timing.read_s == 0.0 for timing in cache.timings]
    assert hits == [False] * 4 + [True, True, False, False] * 2  # the least recent would never hit


def test_what_is_asked_for_more_takes_the_place_of_what_is_not(tmp_path: Path) -> None:
    old, new = [make_model(tmp_path / f"m{i}", seed=i) for i in range(2)]
    cache = WeightCache(1.5 * WeightCache(0).read(old).bytes / 1e9)
    host = cache.read(old)
    before = host.kept
    assert [cache.read(new).kept for _ in range(2)] == [False, True]
    assert (before, host.kept) == (True, False)
    cache.clear()
    assert cache.held_bytes == 0


def test_old_use_is_forgotten(tmp_path: Path) -> None:
    old, new = [make_model(tmp_path / f"m{i}", seed=i) for i in range(2)]
    cache = WeightCache(1.5 * WeightCache(0).read(old).bytes / 1e9)
    for _ in range(weights._AGE - 1):
        cache.read(old)
    reads = 1
    while not cache.read(new).kept:
        reads += 1
    assert reads < weights._AGE


def test_threads_that_want_one_model_read_it_once(model: Path) -> None:
    cache, found = WeightCache(1.0), []
    threads = [
        threading.Thread(target=lambda: found.append(cache.read(model, torch.float32)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def said(folder: Path) -> str:
    with pytest.raises(Mistake) as caught:
        WeightCache(0).load(folder, torch.float32, CPU)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_a_missing_folder_or_file(model: Path, tmp_path: Path) -> None:
    assert "no such folder" in said(tmp_path / "none")
    (model / "config.json").rename(model / "other.json")
    assert "holds no config.json" in said(model)
    (model / "other.json").rename(model / "config.json")
    (model / "model.safetensors").unlink()
    assert "holds no model.safetensors" in said(model)
    (model / "pytorch_model.bin").write_bytes(b"\x80")
    assert "convert them" in said(model)


def test_a_missing_shard_and_a_broken_index(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", tied(), max_shard_size="30KB")
    second = examine(folder).files[1]
    content = second.read_bytes()
    second.unlink()
    assert "is missing" in said(folder)
    second.write_bytes(content)
    index = folder / "model.safetensors.index.json"
    written = index.read_text()
    for broken in ("{", "{}", '{"weight_map": {"a": "../b"}}', '{"weight_map": {}}'):
        index.write_text(broken)
        assert "index.json" in said(folder)
    whole = json.loads(written)
    whole["weight_map"] = {"a": second.name}
    index.write_text(json.dumps(whole))
    assert "its files lack" in said(folder)


@pytest.mark.parametrize("keep", [0, 5, 100, 3_000, 60_000])
def test_a_file_that_was_cut_off(model: Path, keep: int) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "is corrupt" in said(model)


def test_a_file_of_something_else(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"<html>not found</html>" * 99)
    assert "is corrupt" in said(model)


def test_a_broken_or_foreign_configuration(model: Path) -> None:
    config = model / "config.json"
    whole = json.loads(config.read_text())
    config.write_text("{")
    assert "cannot be read as a model" in said(model)
    config.write_text(json.dumps({**whole, "model_type": "nonesuch"}))
    assert "cannot be read as a model" in said(model)
    config.write_text(json.dumps({**whole, "quantization_config": {"quant_method": "gptq"}}))
    assert "quantised" in said(model)


def test_wrong_shapes_and_too_few_layers(model: Path) -> None:
    config = model / "config.json"
    whole = json.loads(config.read_text())
    config.write_text(json.dumps({**whole, "intermediate_size": 96}))
    assert "(64, 128) where config.json makes it (64, 96)" in said(model)
    config.write_text(json.dumps({**whole, "num_hidden_layers": 3, "layer_types": None}))
    assert "its files lack model.layers.2" in said(model)


def test_too_large_is_told_before_anything_is_read(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "memory_of", lambda device: (200_000, 200_000))
    monkeypatch.setattr(weights, "_read", None)
    assert "is all that there is on cpu" in said(model)


def test_no_room_is_told_before_anything_is_copied(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "memory_of", lambda device: (200_000, 10**9))
    monkeypatch.setattr(weights, "_copied", None)
    assert "is free on cpu" in said(model)


def test_a_failed_read_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    cache = WeightCache(1.0)
    broken = shutil.copytree(model, tmp_path / "broken")
    whole = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**whole, "intermediate_size": 96}))
    with pytest.raises(Mistake):
        cache.read(broken)
    assert cache.held_bytes == 0
    assert cache.read(model).kept


def test_models_are_found_by_folder_or_not_at_all(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_model(str(model)) == model
    with pytest.raises(Mistake, match="no such folder"):
        find_model("./none")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Mistake, match="not whole in the hub's cache, and HF_HUB_OFFLINE"):
        find_model("nobody/has-this-model-here")


class Runtime:
    """CUDA's library, as far as memory is page-locked with it."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.locked: dict[int, int] = {}

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        assert flags == 1  # for every card
        if self.status == 0:
            self.locked[address] = size
        return self.status

    def cudaHostUnregister(self, address: int) -> int:
        del self.locked[address]
        return 0


@pytest.mark.parametrize("status", [0, 2], ids=["page-locked", "refused"])
def test_what_is_kept_is_page_locked_until_it_is_given_up(
    model: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    runtime = Runtime(status)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    cache = WeightCache(1.0)
    host = cache.read(model)
    assert host.pinned == (status == 0)
    assert runtime.locked == ({host.block.data_ptr(): host.bytes} if status == 0 else {})
    cache.clear()
    del host
    gc.collect()
    assert runtime.locked == {}
    assert not WeightCache(0.0).read(model).pinned  # read once: not worth the time
    assert runtime.locked == {}
