"""GPU seconds: what runs together shares its GPUs, and nothing is counted twice or lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.roster import Expert, Price
from orchestrator.fleets.fleet import Dispatch
from orchestrator.money.gpu_seconds import GpuSeconds
from protocols.messages import Place
from tests.orchestrator.store_examples import an_ask

OURS = Expert(label="ours", model="scripted/gpu", gpu_gb=16.0, gpus=2, price=Price(gpu_second=0.5))
FREE = Expert(label="free", model="scripted/gpu", gpu_gb=16.0)


def a_batch(number: int, count: int, expert: str = "ours", worker: str = "w") -> Dispatch:
    return Dispatch(number, worker, expert, tuple([an_ask(Place(0, i)) for i in range(count)]))


def test_a_batch_shares_its_gpus() -> None:
    gpus = GpuSeconds([OURS, FREE])
    gpus.start(a_batch(1, 4), 10.0)
    # 2 GPUs for 3 seconds at $0.50, by 4
    assert gpus.price(1, 13.0) == pytest.approx(2 * 3 * 0.5 / 4)


def test_what_ends_early_leaves_the_rest_more() -> None:
    gpus = GpuSeconds([OURS])
    gpus.start(a_batch(1, 2), 0.0)
    first = gpus.price(1, 1.0)
    gpus.end(1, 1, over=False)
    second = gpus.price(1, 2.0)
    gpus.end(1, 1, over=True)
    assert first == pytest.approx(0.5)
    assert second == pytest.approx(1.5)
    assert gpus.price(1, 9.0) == 0.0


def test_others_are_free() -> None:
    gpus = GpuSeconds([FREE])
    gpus.start(a_batch(1, 2, "free"), 0.0)
    assert gpus.price(1, 5.0) == 0.0
    assert gpus.expected("free") == 0.0


def test_what_is_reserved_is_the_most_that_one_took() -> None:
    gpus = GpuSeconds([OURS])
    assert gpus.expected("ours") == 1.0, "a second of both GPUs, before anything is known"
    gpus.start(a_batch(1, 1), 0.0)
    gpus.price(1, 3.0)
    assert gpus.expected("ours") == pytest.approx(3.0)


def test_a_lost_worker_is_forgotten() -> None:
    gpus = GpuSeconds([OURS])
    gpus.start(a_batch(1, 1), 0.0)
    gpus.start(a_batch(2, 1, worker="other"), 0.0)
    gpus.lose("w")
    assert gpus.price(1, 5.0) == 0.0
    assert gpus.price(2, 5.0) == pytest.approx(5.0)


@given(st.lists(st.tuples(st.floats(0.01, 5.0), st.integers(1, 6)), min_size=1, max_size=8))
def test_all_the_time_in_which_something_runs_is_paid_once(
    batches: list[tuple[float, int]],
) -> None:
    gpus, now, total = GpuSeconds([OURS]), 0.0, 0.0
    began = now
    for number, (wait, count) in enumerate(batches):
        gpus.start(a_batch(number, count), now)
        now += wait
    for number, (_, count) in enumerate(batches):
        for left in range(count, 0, -1):
            now += 0.25
            total += gpus.price(number, now)
            gpus.end(number, 1, over=left == 1)
    assert total == pytest.approx((now - began) * 2 * 0.5)
