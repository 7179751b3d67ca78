"""Which mode suits a run: the planner tries both on a sample in the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.planner.pace import Pace
from orchestrator.planner.plan import Planner, PlanSettings
from orchestrator.planner.residency import Mode
from orchestrator.simulator.simulate import Report, Trace, World, simulate

MODES: tuple[Mode, ...] = ("cycle", "wave")


@dataclass(frozen=True, slots=True)
class Choice:
    """The better mode, and what came of each."""

    mode: Mode
    reports: Mapping[Mode, Report]

    @property
    def report(self) -> Report:
        """What came of the better mode."""
        return self.reports[self.mode]


def choose_mode(
    world: World, traces: Sequence[Trace], settings: PlanSettings | None = None
) -> Choice:
    """Run the same sessions in both modes; the shorter makespan wins, ``cycle`` where equal.

    Args:
        world: the hardware.
        traces: a sample of the sessions.
        settings: of the planner, but for its mode.

    Raises:
        PolicyBroke: the sessions cannot be run on this hardware.
    """
    base = settings or PlanSettings()
    reports: dict[Mode, Report] = {}
    for mode in MODES:
        chosen = base.model_copy(update={"mode": mode})
        pace = Pace(
            load_s=base.load_s,
            step_s=base.step_s,
            step_ask_s=base.step_ask_s,
            loads={label: figures.load_s for label, figures in world.on_gpus.items()},
        )
        reports[mode] = simulate(Planner(chosen, pace=pace), world, traces)
    return Choice(min(MODES, key=lambda mode: reports[mode].makespan_s), reports)
