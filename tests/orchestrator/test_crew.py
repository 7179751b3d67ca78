"""A crew of child processes: what they say, how they die, how they are stopped."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.crew import Crew, Line
from orchestrator.heartbeat import Rate, summed
from tests.orchestrator.store_examples import ROOT

EXAMPLES = "tests.orchestrator.crew_examples:"


async def play(entry: str, *tasks: dict[str, Any]) -> tuple[Crew, list[tuple[int, dict[str, Any]]]]:
    heard: list[tuple[int, dict[str, Any]]] = []
    crew = Crew(EXAMPLES + entry, lambda number, said: heard.append((number, said)))
    await crew.run(tasks)
    return crew, heard


async def test_children_do_their_tasks_and_are_summed_up() -> None:
    crew, heard = await play("count", {"asks": 3}, {"asks": 4})
    assert [member.ending for member in crew.members] == ["finished", "finished"]
    figures = crew.figures()
    assert (figures["asks"], figures["rate"], figures["queues"]) == (7, 2.0, {"e": 4})
    events = [(number, said["event"]) for number, said in heard if "event" in said]
    assert sorted(number for number, _ in events) == [1, 2]
    assert {event["path"] for _, event in events} == {sys.path[0]}


@pytest.mark.parametrize("how", ["killed", "exits", "raises"])
async def test_a_child_that_dies_is_known_to_be_lost(how: str, capfd) -> None:
    crew, _ = await play("trouble", {"how": how}, {"how": "well"})
    dead, well = crew.members
    assert dead.lost
    assert (well.lost, well.ending) == (False, "finished")
    assert dead.figures == {"asks": 1}, "what it did before counts"
    assert dead.process.returncode == {"killed": -9, "exits": 7, "raises": 1}[how]
    assert ("out of order" in capfd.readouterr().err) == (how == "raises")


async def test_a_child_says_what_is_wrong() -> None:
    crew, _ = await play("trouble", {"how": "says so"})
    (member,) = crew.members
    assert (member.error, member.lost, member.ending) == ("no such engine", False, None)


async def test_children_stop_when_they_are_told() -> None:
    told = asyncio.Event()
    crew = Crew(EXAMPLES + "wait", lambda number, said: told.set())
    running = asyncio.create_task(crew.run([{}, {}]))
    await told.wait()
    crew.stop()
    await running
    assert [member.ending for member in crew.members] == ["stopped", "stopped"]


async def test_a_crew_that_is_stopped_before_it_starts() -> None:
    crew = Crew(EXAMPLES + "wait", lambda number, said: None)
    crew.stop()
    await crew.run([{}])
    assert crew.members[0].ending == "stopped"


async def test_a_crew_that_is_cancelled_kills_its_children() -> None:
    told = asyncio.Event()
    crew = Crew(EXAMPLES + "wait", lambda number, said: told.set())
    running = asyncio.create_task(crew.run([{"deaf": True}]))
    await told.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert crew.members[0].process.returncode == -9


PARENT = """
import asyncio, sys
from orchestrator.crew import Crew
say = lambda number, said: print(said["figures"]["pid"], flush=True) if "figures" in said else None
asyncio.run(Crew("tests.orchestrator.crew_examples:wait", say).run([{}]))
"""


def test_no_child_outlives_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    while is_running(child):
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process is there, and is no zombie that nobody has buried."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_parent_that_is_gone_is_not_missed() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", encoding="utf-8")
    Line(stream).say(figures={})
    Line(stream).say(ending="stopped")
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_figures_of_drivers_are_summed() -> None:
    total = summed(
        [
            {"asks": 1, "paid": 0.5, "seconds": 3.0, "resident": {"w": ["a"]}, "queues": {"a": 1}},
            {"experts": {"a": {"asks": 4, "largest_batch": 3, "spend": 0.5}}},
            {"experts": {"a": {"asks": 1, "largest_batch": 2}, "b": {"asks": 1}}},
            {"asks": 2, "seconds": 2.0, "resident": {"w": ["a", "b"], "x": []}, "rate": 1.5},
            {},
        ]
    )
    assert (total["asks"], total["paid"], total["seconds"], total["rate"]) == (3, 0.5, 3.0, 1.5)
    assert (total["resident"], total["queues"]) == ({"w": ["a", "b"], "x": []}, {"a": 1})
    assert total["experts"]["a"] == {"asks": 5, "largest_batch": 3, "spend": 0.5}
    assert total["experts"]["b"]["asks"] == 1
    assert summed([])["asks"] == 0


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate(over_s=5.0)
    assert rate.of(0.0, 0) == 0.0
    assert rate.of(1.0, 100) == 100.0
    assert rate.of(4.0, 100) == 25.0
    assert rate.of(8.0, 240) == 20.0, "since second 1"
