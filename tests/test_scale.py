"""docs/scale.md says what the benchmark found, and nothing else."""

from __future__ import annotations

import json

from benchmarks.measuring import RESULTS
from benchmarks.scale import DOCUMENT, Constant, constants, document, drivers, needs

SIZES = [
    {"experts": 16, "planner_us_per_operation": 5.0},
    {"experts": 32, "planner_us_per_operation": 7.0},
    {"experts": 64, "planner_us_per_operation": 15.0},
]


def test_the_document_is_what_the_result_says() -> None:
    result = json.loads((RESULTS / "scale.json").read_text(encoding="utf-8"))
    assert DOCUMENT.read_text(encoding="utf-8") == document(result)


def test_what_a_run_needs_follows_from_the_constants() -> None:
    known = {
        "driver_us": Constant("b6", "", "us", 200.0),
        "postgres_rows": Constant("b11", "", "rows/s", 20_000.0),
        "session_kb": Constant("b4", "", "kB", 10.0),
    }
    found = needs(known, SIZES)
    assert found["driver_alone_s"] == 1_800.0
    assert found["postgres_alone_s"] == 900.0
    assert found["planner_us_there"] == 15.0 + 0.25 * (1_000 - 64)
    assert round(found["gpu_alone_s"]) == 401
    assert drivers(found) == 5
    assert "ray_alone_s" not in found
    assert "memory_gb" in found


def test_a_constant_that_is_not_measured_is_left_out(tmp_path) -> None:
    assert constants(tmp_path) == {}
    figures = [{"name": "an operation, hosted (cpu)", "unit": "us", "median": 3.0}]
    (tmp_path / "b9.json").write_text(json.dumps({"figures": figures}), encoding="utf-8")
    assert set(constants(tmp_path)) == {"planner_us"}
    assert constants(tmp_path)["planner_us"].value == 3.0
