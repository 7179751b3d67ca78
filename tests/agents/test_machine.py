"""What a process says of its machine; keys are never among it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import machine
from agents.machine import build, look, parse_gpus, visible_gpu_gb
from agents.ray_worker import Lease

SMI = """0, GPU-aaaa-1, NVIDIA A10G, 23028
1, GPU-bbbb-2, NVIDIA H100 80GB HBM3, 81559
2, GPU-cccc-3, Odd, [N/A]
no line of a GPU
"""


def test_what_is_free_is_read_too() -> None:
    (gpu,) = parse_gpus("0, GPU-a, NVIDIA H100, PCIe, 81559, 40000")
    assert (gpu.name, round(gpu.memory_gb, 1)) == ("NVIDIA H100,PCIe", 85.5)
    assert round(gpu.free_gb or 0.0, 1) == 41.9
    assert parse_gpus("0, GPU-a, NVIDIA H100, 81559")[0].free_gb is None
    assert parse_gpus("0, GPU-a, NVIDIA H100, 81559, [N/A]")[0].free_gb is None
    assert parse_gpus("0, GPU-a, NVIDIA H100, [N/A], [N/A]") == ()
    assert parse_gpus("0\n\n0, GPU-a\n0, GPU-a, 5\n") == ()


def test_gpus_are_read_from_what_the_driver_lists() -> None:
    small, large = parse_gpus(SMI)
    assert (small.index, small.name, round(small.memory_gb, 1)) == ("0", "NVIDIA A10G", 24.1)
    assert (large.uuid, round(large.memory_gb, 1)) == ("GPU-bbbb-2", 85.5)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, 24.1), ("0", 24.1), ("1", 85.5), ("0,1", 24.1), ("GPU-bbbb", 85.5), ("", None)],
)
def test_the_smallest_visible_gpu_counts(visible: str | None, expected: float | None) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found = visible_gpu_gb(parse_gpus(SMI), environment)
    assert (None if found is None else round(found, 1)) == expected


def test_a_gpu_that_is_not_listed_has_unknown_memory() -> None:
    assert visible_gpu_gb(parse_gpus(SMI), {"CUDA_VISIBLE_DEVICES": "0,7"}) is None
    assert visible_gpu_gb((), {}) is None


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SMI", ("no-such-program",))
    assert machine.gpus() == ()
    monkeypatch.setattr(machine, "_SMI", ("false",))
    assert machine.gpus() == ()


def test_a_report_tells_which_variables_are_unset_and_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOOT_TEST_KEY", "sk-secret-value")
    monkeypatch.setenv("MOOT_BLANK_KEY", "  ")
    monkeypatch.delenv("MOOT_NO_KEY", raising=False)
    report = look(["MOOT_TEST_KEY", "MOOT_BLANK_KEY", "MOOT_NO_KEY"])
    assert report.unset == ("MOOT_BLANK_KEY", "MOOT_NO_KEY")
    assert "sk-secret-value" not in repr(report)
    assert report.moot == build()
    assert report.python.startswith("3.")
    assert report.ray


def test_a_lease_ends_when_nobody_attends() -> None:
    lease = Lease(45.0, now=0.0)
    assert not lease.abandoned(44.0)
    assert lease.abandoned(46.0)  # nobody ever came
    lease.attend("a", 40.0)
    lease.attend("b", 60.0)
    assert not lease.abandoned(90.0)
    assert lease.abandoned(105.0)
    lease.attend("a", 110.0)
    lease.attend("b", 110.0)
    lease.leave("a")
    assert not lease.abandoned(111.0)
    lease.leave("b")
    lease.leave("unknown")
    assert lease.abandoned(111.0)


def test_a_container_may_have_less_memory_than_the_machine(tmp_path: Path) -> None:
    whole = machine.memory_gb(())
    limit, none, odd = (tmp_path / name for name in ("limit", "none", "odd"))
    limit.write_text("2000000000\n", encoding="ascii")
    none.write_text("max\n", encoding="ascii")
    odd.write_text(f"{2**63}\n", encoding="ascii")
    assert machine.memory_gb((str(none), str(odd), str(tmp_path / "absent"))) == whole > 0.1
    assert machine.memory_gb((str(none), str(limit))) == min(2.0, whole)
