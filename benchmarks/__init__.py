"""Measures moot against the targets in its design; run with ``python -m benchmarks``."""
