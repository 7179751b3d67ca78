"""Times in the store: UTC, ISO 8601, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> str:
    """Return the present time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def age_s(then: str) -> float:
    """Return the seconds since a time of the store, by this machine's clock."""
    return (datetime.now(UTC) - datetime.fromisoformat(then)).total_seconds()
