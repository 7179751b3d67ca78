"""The contract suite on every engine that needs no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.roster import Expert
from tests.agents.engine_contract import Case, EngineContract
from tests.agents.making import recorded_expert, row, write_rows


def recorded(folder: Path) -> Expert:
    return recorded_expert(write_rows(folder / "questions.jsonl", *(row(i) for i in range(12))))


def scripted(name: str, **options: Any) -> Case:
    expert = Expert(label=name, model=f"scripted/{name}", options=options)
    goes_wrong = bool({"fail_share", "throttle_share"} & options.keys())
    return Case(
        f"{name}-{'-'.join(sorted(options))}", lambda folder: expert, answers=not goes_wrong
    )


def reviser(folder: Path) -> Expert:
    data = write_rows(folder / "questions.jsonl", *(row(i) for i in range(12)))
    return Expert(label="x", model="offline/reviser", data=str(data), options={"model": "good"})


CASES = [
    Case("recorded", recorded),
    Case("reviser", reviser),
    scripted("constant"),
    scripted("echo"),
    scripted("voter"),
    scripted("script", replies=["one {key}", "two", "three"]),
    scripted("script", replies={"solver": ["first", "second"]}, batch_limit=1),
    scripted("flaky", fail_share=0.4, throttle_share=0.3, inner="echo"),
    scripted("flaky", fail_share=1.0, boundary="refused"),
    scripted("slow", latency_s=0.0005, batch_limit=5, inner="voter"),
    scripted("slow", latency_s=0.0005, fail_share=0.5),
    scripted("gpu", t0_s=0.0001, t1_s=0.00001, mean_tokens=6, sigma=0.5, batch_limit=5),
    scripted("gpu", t0_s=0.0001, mean_tokens=2, fail_share=0.5),
]


class TestEngines(EngineContract):
    @pytest.fixture(params=CASES, ids=lambda case: case.name)
    def case(self, request: pytest.FixtureRequest) -> Case:
        found: Case = request.param
        return found


class TestOfflineEngines(EngineContract):
    @pytest.fixture(params=["offline/quote-debater", "offline/lexical-judge"])
    def case(self, request: pytest.FixtureRequest) -> Case:
        pytest.importorskip("agents.offline")
        model: str = request.param
        return Case(model, lambda folder: Expert(label="x", model=model), answers=False)
