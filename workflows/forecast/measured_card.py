"""What a GPU was measured to take, as ``python -m benchmarks.gpu_experts --json FILE`` writes it.

Read are the figures of its calibration, part (a), by their names. The benchmark's models have one
size; loads and steps of others are taken in proportion, as both read every byte of the weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols.errors import Mistake

LOAD = "a: load, weights in host memory"
STEP = "a: step, whatever runs (t0)"
STEP_ASK = "a: step, for each that runs (t1)"
NEW_ASK = "a: a new ask (its prompt and all else)"
SIZE = "a: gpu_gb of one model"
_NEEDED = (LOAD, STEP, STEP_ASK)


@dataclass(frozen=True, slots=True)
class MeasuredCard:
    """The measured constants of one device."""

    load_s: float
    t0_s: float
    """Seconds of a step, whatever runs."""
    t1_s: float
    """Seconds that each running ask adds to a step."""
    ask_s: float
    """Seconds that a new ask takes beside its steps: its prompt, mostly."""
    size_gb: float | None
    """The `gpu_gb` of a model that it was measured with; None where the file does not say it."""

    def figures(self, tokens: float) -> dict[str, float]:
        """Return them as figures of a simulated fleet whose replies have so many tokens.

        The simulator knows no prompts: what a new ask takes is spread over its tokens.
        """
        found = {"step_ask_s": self.t1_s + self.ask_s / tokens}
        if self.size_gb is None:
            return {**found, "load_s": self.load_s, "step_s": self.t0_s}
        return {
            **found,
            "load_s_per_gb": self.load_s / self.size_gb,
            "step_s_per_gb": self.t0_s / self.size_gb,
        }


def read_measured(path: str | Path) -> MeasuredCard:
    """Read what the benchmark wrote.

    Raises:
        Mistake: the file cannot be read, or holds no calibration.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise Mistake(f"{path}: is not JSON") from None
    medians = _medians(content)
    for name in _NEEDED:
        if name not in medians:
            raise Mistake(
                f"{path}: holds no figure {name!r}; write one with  python -m "
                "benchmarks.gpu_experts --json FILE"
            )
    size = medians.get(SIZE)
    return MeasuredCard(
        load_s=medians[LOAD] / 1e3,
        t0_s=medians[STEP] / 1e3,
        t1_s=medians[STEP_ASK] / 1e3,
        ask_s=medians.get(NEW_ASK, 0.0) / 1e3,
        size_gb=size if size else None,
    )


def _medians(content: Any) -> dict[str, float]:
    """Return the medians of a benchmark's figures by name; of anything else nothing."""
    figures = content.get("figures") if isinstance(content, dict) else None
    found: dict[str, float] = {}
    for figure in figures if isinstance(figures, list) else ():
        median = figure.get("median") if isinstance(figure, dict) else None
        if isinstance(median, int | float) and median >= 0.0:
            found[str(figure.get("name"))] = float(median)
    return found
