"""Sixteen experts on one card: what loads, steps and policies take, beside the simulator.

    python -m benchmarks.gpu_experts                 # all parts
    python -m benchmarks.gpu_experts --parts a,d     # some; (a) is always run, for the simulator

Needs torch, transformers (with safetensors and tokenizers) and, of moot's own needs, pydantic,
pyyaml and jinja2: no Ray, no litellm, no database, no network. Runs from a bare checkout.

All is to be over within `--budget-minutes`. What (a) measures tells what the other parts will take;
where that is more than is left, replies become shorter and then sessions fewer, and the JSON says
so. It is written after every run: what is killed leaves what it measured. A part that breaks is
noted, and the others go on.

Models are made from a configuration with random weights: about 1.5 billion parameters on a card
with at least 40 GB, tiny ones elsewhere. The length of every reply is forced, so that all policies
do the same work; the planner is not told the lengths. Real workers, engines and planner; no driver
and no store.

    a  calibration: link, step time by batch size, prompts, loads; what the simulator is fed with
    b  the swap ladder: cold from disk, pageable, pinned, while another generates, resident
    c  480 questions, three experts and an aggregator each: per question (on a sample), FIFO
       batches, group and barrier, the planner; and whether texts are the same under all of them
    d  debates of three rounds: loads against E*R - C*(R-1)
    e  growth, from 120 to 1,920 sessions
    f  room for 1, 2 and 4 experts, with real and with slowed loads
    g  prefix reuse, on and off
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.gpu_experts_bench import Bench

NEEDED = ("torch", "transformers", "safetensors", "tokenizers", "pydantic", "yaml", "jinja2")
MINUTES = 9.0
"""So that all is over within ten, with what a process needs to start and to end."""
HOST_SHARE = 0.6
"""The share of this machine's memory that weights may take."""
SPARE_GB = 1.0
"""Disk beside the weights: tiny models, tokenizers."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, print one table and write the JSON."""
    began = time.monotonic()
    options = _parser().parse_args(arguments)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"gpu_experts: {', '.join(missing)} not installed; pip install them (where there is no "
            "network: their wheels, with those of what they need)"
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers.utils.logging import disable_progress_bar

    from agents.machine import memory_gb
    from benchmarks.gpu_experts_bench import CARD, CPU, QUICK, STEPS, Bench, Budget
    from benchmarks.gpu_experts_models import TINY, shape_for
    from benchmarks.gpu_experts_parts import PARTS
    from benchmarks.gpu_experts_report import Keeper

    wanted = sorted({"a", *options.parts.split(",")} if options.parts else PARTS)
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        raise SystemExit(f"gpu_experts: no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    there = torch.cuda.is_available()
    device = torch.device(options.device or ("cuda:0" if there else "cpu"))
    if device.type == "cuda" and not there:
        raise SystemExit(f"gpu_experts: no {device} here; torch finds no CUDA")
    shape = TINY if options.quick else shape_for(device)
    sizes = QUICK if options.quick else CPU if shape is TINY else CARD
    if device.type == "cpu":
        torch.set_num_threads(1)  # tiny steps: two threads would mostly wait for each other
    keeper = Keeper(device, options.json, options.quick)
    budget = Budget(options.budget_minutes, began)
    STEPS.watch()
    disable_progress_bar()
    folder = _folder(options.folder, shape.disk_gb + SPARE_GB)
    try:
        cache_gb = HOST_SHARE * memory_gb()
        bench = Bench(device, shape, sizes, folder, budget, cache_gb, keep=keeper.write)
        bench.parts = tuple(wanted)
        whole = run_parts(bench, PARTS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(keeper.write(bench, whole=True).table())
    print(f"written to {keeper.target}")
    if not whole:
        sys.exit(1)


def run_parts(bench: Bench, parts: Mapping[str, Callable[[Bench], None]]) -> bool:
    """Run what is wanted and return whether all went well; nothing can be done without part (a)."""
    whole = True
    for name in bench.parts:
        before = bench.budget.spent_s
        try:
            parts[name](bench)
        except Exception as error:  # noqa: BLE001 - what the others measure is not to be lost
            whole = False
            traceback.print_exc()
            said = " ".join(str(error).split())[:300]
            bench.notes.append(f"{name}: BROKEN: {type(error).__name__}: {said}")
        bench.say(f"{name}: {bench.budget.spent_s - before:.0f} s")
        bench.keep(bench)
        if bench.pacing is None:
            break
    return whole


def _folder(wish: str | None, size_gb: float) -> Path:
    """Make a folder for models.

    Raises:
        SystemExit: there is no room for them.
    """
    root = wish or tempfile.gettempdir()
    free_gb = shutil.disk_usage(root).free / 1e9
    if free_gb < size_gb:
        raise SystemExit(
            f"gpu_experts: the models take {size_gb:.1f} GB, and {root} has {free_gb:.1f} GB left; "
            "name another with --folder"
        )
    return Path(tempfile.mkdtemp(prefix="gpu_experts_", dir=wish))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_experts")
    parser.add_argument("--parts", help="for example a,b; all unless told")
    parser.add_argument("--budget-minutes", type=float, default=MINUTES)
    parser.add_argument("--device", help="cpu, cuda or cuda:N; a card where there is one")
    parser.add_argument("--json", type=Path, help="results/gpu_experts_CARD.json unless told")
    parser.add_argument("--folder", help="where the models are written; a temporary folder")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only whether it runs")
    return parser


if __name__ == "__main__":
    main()
