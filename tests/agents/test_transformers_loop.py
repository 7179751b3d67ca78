"""The Transformers engine leaves the event loop free, and frees memory where it is used."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.transformers_engine import TransformersEngine
from tests.agents import torch_here
from tests.agents.tiny_models import make_model
from tests.agents.transformers_making import expert_of, loaded, reply, say

torch_here.need_torch()
pytestmark = pytest.mark.torch

IMPORTING = '''
import asyncio, sys, threading
from importlib.abc import MetaPathFinder
from agents.roster import Expert
from agents.transformers_engine import TransformersEngine
from protocols.errors import Mistake

gate, waited = threading.Event(), []

class Slow(MetaPathFinder):
    """Lets torch be imported once the event loop has had its turn."""
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and not gate.is_set():
            waited.append(gate.wait(60))

async def main():
    engine = TransformersEngine(Expert(label="x", model="transformers/./none"))
    try:
        await engine.generate([None])
    except Mistake as mistake:
        assert "is not loaded" in str(mistake)
    await engine.unload()
    assert "torch" not in sys.modules
    loading = asyncio.create_task(engine.load())
    while not waited and not loading.done():
        await asyncio.sleep(0.01)
        gate.set()
    try:
        await loading
    except Mistake as mistake:
        assert "no such folder" in str(mistake), mistake

import agents.transformers_options as options
options.LIBRARIES = ()
sys.meta_path.insert(0, Slow())
asyncio.run(main())
assert waited == [True], waited
assert "torch" in sys.modules
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


def test_the_event_loop_goes_on_while_torch_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]


async def test_memory_is_freed_by_the_thread_that_uses_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents import weights

    plain, threads = weights.free, []

    def free(placed: Any) -> None:
        threads.append(threading.current_thread().name)
        plain(placed)

    monkeypatch.setattr(weights, "free", free)
    async with loaded(expert_of(folder)) as engine:
        await reply(engine, say("Speak."))
    assert threads == ["moot cpu"]


async def test_an_unload_that_breaks_is_told_and_stops_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents import weights

    def breaks(_: Any) -> None:
        raise RuntimeError("an illegal memory access")

    common: dict[str, Any] = {}
    async with loaded(expert_of(folder), common) as other:
        engine = TransformersEngine(expert_of(folder, "second"))
        engine.share(common)
        await engine.load()
        with monkeypatch.context() as patched:
            patched.setattr(weights, "free", breaks)
            with pytest.raises(RuntimeError, match="illegal"):
                await engine.unload()
        await engine.unload()
        assert (await reply(other, say("Speak."))).text


def test_attention_that_plans_for_each_shape_is_off_on_cards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from agents.transformers_device import DeviceThread

    before = torch.backends.cuda.cudnn_sdp_enabled()
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(device=device))
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        assert DeviceThread(torch.device("cpu")).copies is None
        assert torch.backends.cuda.cudnn_sdp_enabled()
        copies: Any = DeviceThread(torch.device("cuda", 0)).copies
        assert copies.device.type == "cuda"
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
