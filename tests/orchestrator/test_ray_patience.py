"""How long a Ray fleet waits for what no node offers; no cluster is needed here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from agents.roster import Expert
from orchestrator.fleets.fleet import Inbox
from orchestrator.fleets.ray_fleet import RayFleet
from orchestrator.fleets.ray_places import Keepers
from orchestrator.fleets.ray_wishes import Wishes
from orchestrator.planner.placement import Node, NoRoom

ODD = Expert(label="odd", model="scripted/gpu", gpu_gb=40.0, accelerator="H900")
PATIENCE_S = 25.0


def never(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    raise AssertionError("nothing is to be kept")


async def test_once_time_is_up_a_missing_kind_of_gpu_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []

    def nodes(gpu_gb: float | None) -> list[Node]:
        looks.append(gpu_gb)
        return [Node("n", cpus=4.0, gpus=2, gpu_gb=80.0)]

    monkeypatch.setattr("orchestrator.fleets.ray_cluster.living_nodes", nodes)
    wishes = Wishes(
        workers=None, gpus=None, gpu_gb=80.0, patience_s=PATIENCE_S, shared=None, share=(0, 1)
    )
    keepers = Keepers(wishes, [ODD], Inbox(), never, connected=False)
    with pytest.raises(NoRoom, match="odd asks for 1 GPU H900 with 40 GB, but the cluster offers"):
        await keepers.open(time.monotonic() - 1.0)
    assert len(looks) == 1


async def test_the_time_begins_before_the_cluster_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[float] = []
    deadlines: list[float] = []

    async def connect(fleet: RayFleet) -> None:
        met.append(time.monotonic())

    async def opened(keepers: Keepers, deadline: float) -> None:
        deadlines.append(deadline)

    monkeypatch.setattr(RayFleet, "_connect", connect)
    monkeypatch.setattr(Keepers, "open", opened)
    fleet = RayFleet(patience_s=PATIENCE_S)
    await fleet.start([ODD], Inbox())
    assert deadlines[0] <= met[0] + PATIENCE_S
    await fleet.close()
