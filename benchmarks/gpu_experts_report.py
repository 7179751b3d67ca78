"""What the benchmark of experts on a card found, as a table and as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

from benchmarks.gpu_experts_bench import Bench
from benchmarks.gpu_experts_models import parameters
from benchmarks.measuring import RESULTS, Figure, Result


@dataclass(frozen=True)
class Keeper:
    """Writes what was found so far, again and again: a run that is killed leaves it.

    Args:
        device: what was measured.
        path: the file; None: named after the card, among the results.
        quick: whether sizes were tiny.
    """

    device: torch.device
    path: Path | None
    quick: bool

    @property
    def card(self) -> str:
        """The card's name."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    @property
    def name(self) -> str:
        """The benchmark's name, with the card's."""
        return "gpu_experts_" + re.sub(r"[^a-z0-9]+", "_", self.card.lower()).strip("_")

    @property
    def target(self) -> Path:
        """The file that is written."""
        return self.path or RESULTS / f"{self.name}.json"

    def write(self, bench: Bench, *, whole: bool = False) -> Result:
        """Write the JSON; `whole`: nothing is to come any more."""
        result = self._result(bench, whole=whole)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result.as_json(quick=self.quick), indent=2, ensure_ascii=False)
        beside = self.target.with_name(f"{self.target.name}.part")
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(self.target)
        return result

    def _result(self, bench: Bench, *, whole: bool) -> Result:
        budget, notes = bench.budget, list(bench.notes)
        if bench.device.type != "cuda":
            notes.append("on the CPU with tiny models: this is no measurement of a GPU")
        notes.append(
            "idle: no step was being made; gaps inside a step are not seen. E, R, C: experts, "
            "rounds, slots"
        )
        if not whole:
            notes.append("written on the way: what is missing was still to come")
        return Result(
            self.name,
            f"sixteen experts of {parameters(bench.shape):,} parameters ({bench.shape.dtype}) on "
            f"{self.card}; torch {torch.__version__}, transformers {transformers.__version__}",
            "no store",
            [*bench.figures, Figure("all parts", "min", [budget.spent_s / 60.0], budget.minutes)],
            notes,
            bench.rows,
        )
