"""The key ``fleet`` of a workflow file: where the experts live, and how work is put on them.

A name alone (``fleet: ray``) is short for a mapping with that `kind`. Nothing here is identity: the
same run may be driven on another fleet, and goes on there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from agents.roster import Expert
from orchestrator.fleets.fleet import Fleet
from orchestrator.sharding import SHARDS
from protocols.errors import Mistake

FleetName = Literal["local", "ray"]


class FleetSpec(BaseModel):
    """Where engines live. A name is short for its `kind`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FleetName = "local"
    """``local``: in this process; ``ray``: on a Ray cluster."""
    address: str | None = None
    """The Ray cluster, HOST:PORT; by default RAY_ADDRESS, one on this machine, or a new one."""
    workers: int | None = Field(None, ge=1)
    """Workers for experts that need no GPU (Ray); by default one on each node that has CPUs."""
    gpus: int | None = Field(None, ge=1)
    """The most GPUs to take; by default all that the experts have a use for."""
    gpu_gb: float | None = Field(None, gt=0.0)
    """The memory of each GPU that experts may take, in gigabytes; by default it is measured."""
    mode: Literal["auto", "cycle", "wave"] = "auto"
    """How experts take turns on a GPU: in cycles, or in waves that keep turns of sessions apart."""
    drivers: int = Field(1, ge=1)
    """Processes that share the run out."""
    patience_s: float = Field(25.0, gt=0.0)
    """How long a Ray cluster may take to answer, and to offer what the experts ask for; longer
    where an autoscaler has to start nodes."""

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: object) -> object:
        return {"kind": data} if isinstance(data, str) else data

    @model_serializer(mode="wrap")
    def _shorten(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Write the name alone where it says everything."""
        if self == FleetSpec(kind=self.kind):
            return self.kind
        return handler(self)


def chosen_fleet(spec: FleetSpec, name: FleetName | None, address: str | None) -> FleetSpec:
    """Return the fleet of a workflow with what a command line says; an address is one of Ray.

    Raises:
        Mistake: an address goes with the local fleet.
    """
    if address is not None and name == "local":
        raise Mistake("--address is that of a Ray cluster; leave it out, or take --fleet ray")
    changes: dict[str, Any] = {}
    if name is not None or address is not None:
        changes["kind"] = name or "ray"
    if address is not None:
        changes["address"] = address
    return spec.model_copy(update=changes)


def make_fleet(
    fleet: FleetSpec | FleetName | Fleet,
    address: str | None = None,
    *,
    shared: str | None = None,
    share: tuple[int, int] = (0, 1),
) -> Fleet:
    """Return a fleet that has not started; one that exists is returned as it is.

    Args:
        fleet: what a workflow says, a name, or a fleet.
        address: of the Ray cluster; takes precedence over what `fleet` says.
        shared: the name under which several drivers share the API workers of a Ray cluster.
        share: (which driver this is, how many there are).
    """
    if isinstance(fleet, Fleet):
        return fleet
    spec = FleetSpec(kind=fleet) if isinstance(fleet, str) else fleet
    if spec.kind == "ray":
        from orchestrator.fleets.ray_fleet import RayFleet

        return RayFleet(
            address or spec.address,
            spec.workers,
            gpus=spec.gpus,
            gpu_gb=spec.gpu_gb,
            patience_s=spec.patience_s,
            shared=shared,
            share=share,
        )
    from orchestrator.fleets.local_fleet import LocalFleet

    return LocalFleet(gpus=spec.gpus, gpu_gb=spec.gpu_gb)


@dataclass(frozen=True, slots=True)
class Where:
    """Where a run's experts live, and how many processes drive it."""

    fleet: FleetSpec | Fleet = FleetSpec()
    drivers: int = 1
    shared: str | None = None
    """The name under which drivers share the API workers of a Ray cluster."""
    share: tuple[int, int] = (0, 1)
    """Which of the drivers this is, and how many there are."""

    @classmethod
    def chosen(
        cls,
        said: FleetSpec,
        fleet: FleetName | FleetSpec | Fleet | None = None,
        address: str | None = None,
        drivers: int | None = None,
    ) -> Where:
        """Return what a workflow says, with what a call or a command line says in its place.

        Raises:
            Mistake: what is said does not go together.
        """
        if isinstance(fleet, Fleet):
            return cls(fleet, 1 if drivers is None else drivers)
        if isinstance(fleet, FleetSpec):
            said, fleet = fleet, None
        spec = chosen_fleet(said, fleet, address)
        return cls(spec, spec.drivers if drivers is None else drivers)

    @property
    def on_ray(self) -> bool:
        """Whether the experts live on a Ray cluster."""
        return isinstance(self.fleet, FleetSpec) and self.fleet.kind == "ray"

    def make(self) -> Fleet:
        """Return a fleet that has not started."""
        return make_fleet(self.fleet, shared=self.shared, share=self.share)

    def check(self, experts: Sequence[Expert] = ()) -> None:
        """Refuse what cannot be, before anything is kept of the run.

        Args:
            experts: those of the run.

        Raises:
            Mistake: one line.
        """
        if not 1 <= self.drivers <= SHARDS:
            raise Mistake(f"drivers: {self.drivers} is not between 1 and {SHARDS}")
        if self.drivers > 1 and isinstance(self.fleet, Fleet):
            raise Mistake("several drivers need a fleet by name; a fleet object serves one process")
        for expert in experts if self.drivers > 1 else ():
            if expert.gpu_gb is not None:
                raise Mistake(
                    f"{expert.label or expert.model}: GPUs belong to one driver, and this run has "
                    f"{self.drivers} (drivers); use one, or serve the model and give its base_url"
                )
        needy = [expert for expert in experts if expert.gpu_gb is not None]
        if needy and isinstance(self.fleet, FleetSpec) and self.fleet.kind == "local":
            from orchestrator.fleets.local_gpus import local_places

            local_places(needy, self.fleet.gpus, self.fleet.gpu_gb)
