"""Sixteen experts on one card: what loads, steps and policies take, beside the simulator.

    python -m benchmarks.gpu_experts                 # all parts
    python -m benchmarks.gpu_experts --parts a,d     # some; (a) is always run, for the simulator

Needs torch, transformers (with safetensors and tokenizers) and, of moot's own needs, pydantic,
pyyaml and jinja2: no Ray, no litellm, no database, no network. Runs from a bare checkout.

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
import re
import shutil
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("torch", "transformers", "safetensors", "tokenizers", "pydantic", "yaml", "jinja2")
RESULTS = Path(__file__).resolve().parent / "results"
HOST_SHARE = 0.6
"""The share of this machine's memory that weights may take."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, print one table and write the JSON."""
    options = _parser().parse_args(arguments)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise SystemExit(f"gpu_experts: {', '.join(missing)} not installed; pip install them")
    import torch

    from benchmarks.gpu_experts_bench import CARD, CPU, QUICK, STEPS, Bench, Budget, host_gb
    from benchmarks.gpu_experts_models import TINY, shape_for
    from benchmarks.gpu_experts_parts import PARTS

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
    folder = Path(tempfile.mkdtemp(prefix="gpu_experts_", dir=options.folder))
    budget = Budget(options.budget_minutes)
    STEPS.watch()
    try:
        bench = Bench(device, shape, sizes, folder, budget, HOST_SHARE * host_gb())
        for name in wanted:
            before = budget.spent_s
            PARTS[name](bench)
            print(f"{name}: {budget.spent_s - before:.0f} s", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    _report(bench, card, options.json, quick=options.quick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_experts")
    parser.add_argument("--parts", help="for example a,b; all unless told")
    parser.add_argument("--budget-minutes", type=float, default=10.0)
    parser.add_argument("--device", help="cpu, cuda or cuda:N; a card where there is one")
    parser.add_argument("--json", type=Path, help="results/gpu_experts_CARD.json unless told")
    parser.add_argument("--folder", help="where the models are written; a temporary folder")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only whether it runs")
    return parser


def _report(bench: object, card: str, path: Path | None, *, quick: bool) -> None:
    """Print the table and write the JSON."""
    import json

    import torch
    import transformers

    from benchmarks.gpu_experts_bench import Bench
    from benchmarks.gpu_experts_models import parameters
    from benchmarks.measuring import Result

    assert isinstance(bench, Bench)
    bench.figure("all parts", "min", bench.budget.spent_s / 60.0, bench.budget.minutes)
    size = parameters(bench.shape)
    if bench.device.type != "cuda":
        bench.notes.append("on the CPU with tiny models: this is no measurement of a GPU")
    bench.notes.append(
        "idle: no step was being made; gaps inside a step are not seen. E, R, C: experts, rounds, "
        "slots"
    )
    name = "gpu_experts_" + re.sub(r"[^a-z0-9]+", "_", card.lower()).strip("_")
    result = Result(
        name,
        f"sixteen experts of {size:,} parameters ({bench.shape.dtype}) on {card}; torch "
        f"{torch.__version__}, transformers {transformers.__version__}",
        "no store",
        bench.figures,
        bench.notes,
        bench.rows,
    )
    print(result.table())
    target = path or RESULTS / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result.as_json(quick=quick), indent=2, ensure_ascii=False)
    target.write_text(text + "\n", encoding="utf-8")
    print(f"written to {target}")


if __name__ == "__main__":
    main()
