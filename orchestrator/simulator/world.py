"""What is simulated: made-up hardware, and the sessions that run on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.simulator.machines import GpuExpert, GpuWorker, HostedExpert
from protocols.asks import Seat


class Call(NamedTuple):
    """An ask to come: who is asked, and how long the reply will be."""

    seat: Seat
    tokens: int


@dataclass(frozen=True, slots=True)
class Trace:
    """What a session asks, turn by turn."""

    turns: tuple[tuple[Call, ...], ...]
    question: str = ""
    arrives: float = 0.0
    """When it starts (seconds)."""
    due: float | None = None
    """When it should be over (seconds)."""


class World(BaseModel):
    """The simulated hardware."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experts: Mapping[str, GpuExpert | HostedExpert]
    workers: tuple[GpuWorker, ...] = ()
    window: int | None = Field(None, ge=1)
    """The most sessions that are live at once; None: all that have arrived."""
    report_s: float = Field(0.0, ge=0.0)
    """What happened is told at multiples of so many seconds, several things at once, as a busy
    fleet does; 0: at once."""

    @classmethod
    def of(
        cls,
        experts: Mapping[str, GpuExpert | HostedExpert],
        *,
        gpus: int = 1,
        slots: int = 1,
        window: int | None = None,
        report_s: float = 0.0,
    ) -> World:
        """Return a world of equal GPUs, each with room for `slots` of the largest expert."""
        sizes = [e.size_gb for e in experts.values() if isinstance(e, GpuExpert)]
        memory = slots * max(sizes, default=1.0)
        workers = [GpuWorker(name=f"gpu_{i:03}", memory_gb=memory) for i in range(gpus)]
        return cls(
            experts=experts,
            workers=tuple(workers) if sizes else (),
            window=window,
            report_s=report_s,
        )

    @property
    def on_gpus(self) -> dict[str, GpuExpert]:
        """The experts that must be loaded."""
        return {e: f for e, f in self.experts.items() if isinstance(f, GpuExpert)}

    @property
    def hosted(self) -> dict[str, HostedExpert]:
        """The experts behind a provider."""
        return {e: f for e, f in self.experts.items() if isinstance(f, HostedExpert)}

    @property
    def gpus(self) -> int:
        """How many GPUs there are."""
        return sum(worker.gpus for worker in self.workers)
