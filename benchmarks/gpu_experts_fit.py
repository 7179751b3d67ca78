"""Which runs the parts consist of, what they should take, and sizes that fit the time left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from benchmarks.gpu_experts_bench import Bench, Run, Sizes

WAVE, CYCLE = "planner, wave", "planner, cycle"
PLANNERS = (WAVE, CYCLE)
MARGIN = 0.85
"""The share of the time left that runs may be foretold to take."""
SMALLER = 0.7
"""How much smaller the next smaller sizes are."""
LEAST_TOKENS = 8.0
LEAST_QUESTIONS = 60
SAME_S = 20.0
"""Seconds for the comparison of texts, which is not foretold (ours)."""
READS, SWAPS, STEPS = 6, 24, 200
"""What the swap ladder does, about."""
READINGS = 4.5
"""How often the last part reads what it reads, about."""


def questions(sizes: Sizes) -> list[Run]:
    """Return the runs of part (c); the last is the sample that is asked one by one."""
    names = ("fifo_batch", "barrier", *PLANNERS)
    count, case = sizes.questions, f"{sizes.questions} questions"
    runs = [Run("c", case, name, "symbolic_moe", count) for name in names]
    sample = Run("c", f"{sizes.sampled} of them", "per_session", "symbolic_moe", sizes.sampled)
    return [*runs, sample]


def debates(sizes: Sizes) -> list[Run]:
    """Return the runs of part (d)."""
    case = f"{sizes.debates} debates"
    return [Run("d", case, name, "debate", sizes.debates) for name in ("barrier", *PLANNERS)]


def growth(sizes: Sizes) -> list[Run]:
    """Return the runs of part (e)."""
    return [Run("e", f"{count:,} sessions", WAVE, "symbolic_moe", count) for count in sizes.growth]


def slots(sizes: Sizes) -> list[Run]:
    """Return the runs of part (f)."""
    runs = []
    for extra in (0.0, sizes.slowed_s):
        for count in (1, 2, 4):
            loads = f"loads {extra:g} s longer" if extra else "real loads"
            case = f"{count} slot{'s' if count > 1 else ''}, {loads}"
            runs.append(Run("f", case, WAVE, "debate", sizes.slotted, count, extra))
    return runs


RUNS: Mapping[str, Callable[[Sizes], list[Run]]] = {
    "c": questions,
    "d": debates,
    "e": growth,
    "f": slots,
}


def fit(bench: Bench) -> None:
    """Make sizes smaller until what is still to come fits the time left: replies, then sessions."""
    asked, there = bench.sizes, MARGIN * bench.budget.left_s
    first = need = expected_s(bench)
    while need > there and (smaller := _smaller(bench.sizes)) is not None:
        bench.sizes = smaller
        need = expected_s(bench)
    bench.say(f"the other parts should take {need:.0f} s")
    if bench.sizes is asked:
        return
    now = bench.sizes
    bench.notes.append(
        f"made smaller, as {first:.0f} s were foretold and {there:.0f} s could be had: replies of "
        f"{now.mean_tokens:.3g} tokens for {asked.mean_tokens:.3g}, {now.questions} questions for "
        f"{asked.questions}, {now.debates} debates for {asked.debates}, up to {now.growth[-1]:,} "
        f"sessions for {asked.growth[-1]:,}; {need:.0f} s are foretold for that"
    )
    bench.say(bench.notes[-1])


def expected_s(bench: Bench) -> float:
    """Return for how long all parts but the first should run, with the sizes as they are."""
    pacing, sizes = bench.pacing, bench.sizes
    assert pacing is not None
    runs = {run.key: run for part in bench.parts if part in RUNS for run in RUNS[part](sizes)}
    seconds = sum(bench.foretold(run).makespan_s for run in runs.values())
    step_s = pacing.t0_s + pacing.t1_s * sizes.batch_limit
    passages, readers = sizes.readers
    sides = {
        "b": READS * bench.read_s + SWAPS * pacing.load_s + STEPS * step_s,
        "c": SAME_S,
        "g": READINGS * passages * readers * (bench.passage_s + pacing.admit_s),
    }
    return seconds + sum(sides[part] for part in bench.parts if part in sides)


def _smaller(sizes: Sizes) -> Sizes | None:
    """Return the next smaller sizes; None where they would show nothing any more."""
    if sizes.mean_tokens > LEAST_TOKENS:
        return replace(sizes, mean_tokens=max(LEAST_TOKENS, SMALLER * sizes.mean_tokens))
    if sizes.questions <= LEAST_QUESTIONS:
        return None
    return replace(
        sizes,
        questions=int(SMALLER * sizes.questions),
        debates=int(SMALLER * sizes.debates),
        slotted=int(SMALLER * sizes.slotted),
        growth=tuple(int(SMALLER * count) for count in sizes.growth),
    )
