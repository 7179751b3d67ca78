"""What a Ray fleet is wished to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a fleet is to be; see :class:`orchestrator.fleets.ray_fleet.RayFleet`."""

    workers: int | None
    gpus: int | None
    gpu_gb: float | None
    patience_s: float
    shared: str | None
    share: tuple[int, int]
