"""Runs benchmarks: ``python -m benchmarks [b1 b4 ...] [--runs 7] [--quick] [--out FOLDER]``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.measuring import RESULTS

NAMES = (
    "b1",
    "b2",
    "b3",
    "b4",
    "b5",
    "b6",
    "b7",
    "b8",
    "b9",
    "b10",
    "b11",
    "b12",
    "b13",
    "faults",
    "fleet_vs_simulator",
    "hosted_faults",
    "scale",
    "shards",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for, print its tables and keep its JSON. A missed target is no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES) + "; default all")
    parser.add_argument("--runs", type=int, default=7, help="runs of each measurement (7)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one run: a check only")
    parser.add_argument("--out", type=Path, help="folder of the JSON (benchmarks/results)")
    chosen = parser.parse_args(arguments)
    names = [name.lower() for name in chosen.names] or list(NAMES)
    unknown = sorted(set(names) - set(NAMES))
    if unknown or chosen.runs < 1:
        parser.error(f"unknown: {', '.join(unknown)}" if unknown else "--runs must be 1 or more")
    if chosen.quick and chosen.out is None:
        parser.error("--quick measures nothing worth keeping; give it another folder with --out")
    for name in names:
        start = time.perf_counter()
        module = import_module(f"benchmarks.{name}")
        for result in module.measure(1 if chosen.quick else chosen.runs, quick=chosen.quick):
            result.write(chosen.out or RESULTS, quick=chosen.quick)
            print(result.table())
        print(f"  ({time.perf_counter() - start:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
