"""Drivers: who works on a run, and how far each says it is."""

from __future__ import annotations

from sqlalchemy import Connection, insert, inspect, select, update

from orchestrator.store.rows import DriverRow
from orchestrator.store.tables import DRIVER
from orchestrator.store.times import utc_now


def insert_driver(connection: Connection, run_id: int, name: str) -> int:
    """Store a driver that begins, and return its id."""
    now = utc_now()
    driver = connection.execute(
        insert(DRIVER)
        .values(run=run_id, name=name, started_at=now, seen_at=now, progress="{}")
        .returning(DRIVER.c.id)
    ).scalar_one()
    return int(driver)


def note_progress(connection: Connection, driver_id: int, progress_json: str) -> None:
    """Write a driver's sign of life."""
    connection.execute(
        update(DRIVER)
        .where(DRIVER.c.id == driver_id)
        .values(seen_at=utc_now(), progress=progress_json)
    )


def note_ending(connection: Connection, driver_id: int, ending: str, progress_json: str) -> None:
    """Write that a driver ended."""
    now = utc_now()
    connection.execute(
        update(DRIVER)
        .where(DRIVER.c.id == driver_id)
        .values(seen_at=now, ended_at=now, ending=ending, progress=progress_json)
    )


def read_drivers(connection: Connection, run_id: int) -> list[DriverRow]:
    """Return the drivers of a run, oldest first; none where the store is older than they are."""
    if not inspect(connection).has_table("driver"):
        return []
    query = select(DRIVER).where(DRIVER.c.run == run_id).order_by(DRIVER.c.id)
    return [DriverRow(*row) for row in connection.execute(query).all()]
