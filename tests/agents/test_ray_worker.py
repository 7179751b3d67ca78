"""A worker says before it joins what would make every ask of an expert fail there; no Ray here."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.machine import build
from agents.ray_worker import RayWorker
from agents.roster import Expert
from protocols.errors import Mistake

HOSTED = Expert(
    label="hosted", model="openai/gpt", key_env="MOOT_WORKER_KEY", base_url="http://127.0.0.1:9/v1"
)


async def test_a_key_that_is_missing_on_the_worker_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = RayWorker([HOSTED, Expert(label="x", model="scripted/echo")])
    monkeypatch.delenv("MOOT_WORKER_KEY", raising=False)
    with pytest.raises(Mistake, match="'hosted': the environment variable MOOT_WORKER_KEY is not"):
        await worker.ready(build())
    monkeypatch.setenv("MOOT_WORKER_KEY", "k")
    assert set((await worker.ready(build())).batch_limits) == {"hosted", "x"}


async def test_a_model_that_is_missing_on_the_worker_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.local_models.find_spec", lambda name: object())
    math = Expert(label="math", model="transformers/./m", data=str(tmp_path / "m"))
    with pytest.raises(Mistake, match=r"'math': .*/m: no such folder"):
        await RayWorker([math]).ready(build())
