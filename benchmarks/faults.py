"""Faults on a cluster: a worker, a node and the driver die, and the run comes out the same.

Three nodes of Ray's test cluster with one GPU each that is only counted. One workflow: Symbolic-MoE
by recorded experts and a debate by scripted ones, its judge on the GPUs. It is run once undisturbed
and once for each fault, each in the middle: a worker killed by SIGKILL, a node killed with all its
processes, the driver killed by SIGKILL and started again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT, Figure, Result, fresh

NODES = 3
POLL_S = 0.05
PATIENCE_S = 240.0
MODELS = ("amber", "beryl", "coral", "denim")
QUICKER = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""A dead node is found in seconds here; by Ray's defaults it takes about 17."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a store holds."""

    outcomes: dict[str, str | None]
    """By session key and entry."""
    replies: dict[tuple[str, int, int], bytes]
    """Digests of accepted replies by session key and entry, turn and slot."""
    repeated: int
    """Attempts beyond the first of an ask."""
    twice: int
    """Slots with more than one accepted reply."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault did."""

    name: str
    lost: int
    """Replies recorded before the fault that are gone, or others, at the end."""
    twice: int
    outcomes: int
    """Outcomes that are not those of the undisturbed run."""
    noticed_s: float | None
    """Until the loss was known."""
    recovered_s: float
    """Until a replacement had joined (or the others had done all), or the driver had recorded the
    next reply."""


class Ground:
    """A folder with a workflow, and a cluster to run it on."""

    def __init__(self, folder: Path, sessions: int) -> None:
        self.folder = folder
        self.sessions = sessions
        self.address = ""
        self._cluster: Any = None
        write_inputs(folder, sessions)

    @contextmanager
    def cluster(self) -> Iterator[None]:
        """Start the nodes; end them all."""
        (self.folder / "token").write_text("c" * 64, encoding="utf-8")
        os.environ.update(QUICKER)
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(self.folder / "token")
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        try:
            for _ in range(NODES):
                self._cluster.add_node(num_cpus=2, num_gpus=1)
            self._cluster.wait_for_nodes()
            self.address = self._cluster.address
            yield
        finally:
            self._cluster.shutdown()

    def start(self, store: str) -> subprocess.Popen[bytes]:
        """Start the command."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "workflows.cli", "run", "faults.yaml", "--store", store),
                *("--address", self.address, "--events", f"{store}.events"),
            ],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"{store}.log").open("ab"),
        )

    def finish(self, process: subprocess.Popen[bytes], store: str) -> None:
        """Wait for the command to end well."""
        if process.wait(timeout=PATIENCE_S) != 0:
            raise RuntimeError((self.folder / f"{store}.log").read_text(encoding="utf-8"))

    def until(self, store: str, replies: int) -> None:
        """Wait until so many replies are recorded."""
        end = time.monotonic() + PATIENCE_S
        while self.replies(store) < replies:
            if time.monotonic() > end:
                raise RuntimeError((self.folder / f"{store}.log").read_text(encoding="utf-8"))
            time.sleep(POLL_S)

    def replies(self, store: str) -> int:
        return int(self.ask_store(store, "select count(*) from reply where accepted"))

    def ask_store(self, store: str, query: str) -> Any:
        """Return the one value of a query; 0 where the store is not there yet."""
        path = self.folder / store
        if not path.exists():
            return 0
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query).fetchone()[0]
        except sqlite3.OperationalError:
            return 0
        finally:
            connection.close()

    def events(self, store: str) -> list[dict[str, Any]]:
        path = self.folder / f"{store}.events"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def since(self, store: str, kinds: tuple[str, ...], known: int, began: float) -> float:
        """Wait for one event of these kinds more than were known; return seconds since `began`."""
        end = time.monotonic() + PATIENCE_S
        while sum(event["kind"] in kinds for event in self.events(store)) <= known:
            if time.monotonic() > end:
                raise RuntimeError(f"{store}: nothing happened: {', '.join(kinds)}")
            time.sleep(POLL_S)
        return time.monotonic() - began

    def kill_worker(self) -> None:
        """Kill one of moot's actors by SIGKILL."""
        import psutil  # type: ignore[import-untyped]

        family = psutil.Process().children(recursive=True)
        workers = [p for p in family if p.is_running() and "RayWorker" in " ".join(p.cmdline())]
        sorted(workers, key=lambda process: process.pid)[0].send_signal(signal.SIGKILL)

    def kill_node(self) -> None:
        """Kill a node with all its processes, and put another in its place a little later."""
        node = next(iter(sorted(self._cluster.worker_nodes, key=str)))
        self._cluster.remove_node(node, allow_graceful=False)
        self._cluster.add_node(num_cpus=2, num_gpus=1)


def write_inputs(folder: Path, sessions: int) -> None:
    """Write questions, what the experts were measured on, and the workflow."""
    draws = random.Random(4)
    for name, count in (("questions", sessions // 2), ("profile", 60)):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(count):
                row = {
                    "id": f"{name}/{number}",
                    "source": "made",
                    "kind": "mcq",
                    "category": draws.choice(["law", "physics", "history"]),
                    "subject": "",
                    "question": f"Question {number} of {name}: which is it?",
                    "options": ["this one", "that one"],
                    "gold": draws.choice("AB"),
                    "answers": {model: draws.choice("AB") for model in MODELS},
                    "correct": None,
                    "chars": None,
                }
                file.write(json.dumps(row) + "\n")
    workflow = {
        "name": "faults",
        "questions": {"path": "questions.jsonl"},
        "profile": {"path": "profile.jsonl"},
        "pool": list(MODELS),
        "experts": {
            "debater": {
                "model": "scripted/slow",
                "options": {
                    "inner": "constant",
                    "text": "I am right.",
                    "latency_s": 0.5,
                    "batch_limit": 32,
                },
            },
            "judge": {
                "model": "scripted/gpu",
                "gpu_gb": 10,
                "options": {"load_s": 0.5, "mean_tokens": 40, "batch_limit": 32},
            },
        },
        "protocols": [
            {"kind": "symbolic_moe"},
            {"kind": "debate", "rounds": 2, "cast": {"debater": "debater", "judge": "judge"}},
        ],
        "fleet": {"kind": "ray", "gpu_gb": 12},
    }
    (folder / "faults.yaml").write_text(json.dumps(workflow, indent=1), encoding="utf-8")


def recorded(path: Path) -> Recorded:
    """Return what a store holds."""
    connection = sqlite3.connect(path)
    try:
        keys = {
            id: f"{entry}/{key}"
            for id, entry, key in connection.execute("select id, entry, key from session")
        }
        outcomes = {
            keys[id]: outcome
            for id, outcome in connection.execute("select id, outcome from session")
        }
        rows = connection.execute("select session, turn, slot, digest from reply where accepted")
        found = [((keys[session], turn, slot), digest) for session, turn, slot, digest in rows]
        attempts = connection.execute("select count(*) from reply").fetchone()[0]
        asks = connection.execute("select count(*) from ask").fetchone()[0]
    finally:
        connection.close()
    replies = dict(found)
    return Recorded(outcomes, replies, attempts - asks, len(found) - len(replies))


def compared(
    name: str, before: Recorded, after: Recorded, whole: Recorded, times: tuple[float | None, float]
) -> Fault:
    """Return what a fault did, from the store at the fault, at the end, and undisturbed."""
    lost = sum(after.replies.get(place) != digest for place, digest in before.replies.items())
    other = sum(after.outcomes.get(key) != outcome for key, outcome in whole.outcomes.items())
    other += sum(digest != whole.replies.get(p) for p, digest in after.replies.items())
    return Fault(name, lost, after.twice, other, *times)


def snapshot(ground: Ground, store: str) -> Recorded:
    """Return what a store held at this moment, while its driver goes on."""
    copy = ground.folder / f"{store}.copy"
    source = sqlite3.connect(f"file:{ground.folder / store}?mode=ro", uri=True, timeout=10)
    target = sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    return recorded(copy)


def disturbed(ground: Ground, name: str, strike: Callable[[], None], whole: Recorded) -> Fault:
    """Run the workflow, let something of the cluster die in the middle, and compare."""
    store = f"{name}.db"
    process = ground.start(store)
    ground.until(store, len(whole.replies) // 2)
    before = snapshot(ground, store)
    joined = sum(event["kind"] == "worker_joined" for event in ground.events(store))
    began = time.monotonic()
    strike()
    noticed = ground.since(store, ("worker_lost",), 0, began)
    recovered = ground.since(store, ("worker_joined", "ended"), joined, began)
    ground.finish(process, store)
    return compared(name, before, recorded(ground.folder / store), whole, (noticed, recovered))


def driver_killed(ground: Ground, whole: Recorded) -> Fault:
    """Kill the driver in the middle, start it again, and compare."""
    store = "driver.db"
    process = ground.start(store)
    ground.until(store, len(whole.replies) // 2)
    began = time.monotonic()
    process.kill()
    process.wait()
    before = snapshot(ground, store)
    known = ground.replies(store)
    process = ground.start(store)
    while ground.replies(store) <= known and process.poll() is None:
        time.sleep(POLL_S)
    recovered = time.monotonic() - began
    ground.finish(process, store)
    return compared("driver", before, recorded(ground.folder / store), whole, (None, recovered))


def faults(sessions: int) -> list[Fault]:
    """Run the workflow undisturbed, then with each fault."""
    folder = Path(tempfile.mkdtemp(prefix="moot-faults-"))
    try:
        ground = Ground(folder, sessions)
        with ground.cluster():
            ground.finish(ground.start("whole.db"), "whole.db")
            whole = recorded(folder / "whole.db")
            if len(whole.outcomes) != sessions or not all(whole.outcomes.values()):
                raise RuntimeError("the undisturbed run did not finish")
            return [
                disturbed(ground, "worker", ground.kill_worker, whole),
                disturbed(ground, "node", ground.kill_node, whole),
                driver_killed(ground, whole),
            ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def told(sessions: int) -> dict[str, Any]:
    """Return the faults as JSON: what a process of its own says."""
    return {"faults": [asdict(fault) for fault in faults(sessions)]}


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sessions = 100 if quick else 1_000
    rounds = [
        [Fault(**one) for one in fresh("benchmarks.faults:told", sessions=sessions)["faults"]]
        for _ in range(1 if quick else min(runs, 3))
    ]
    figures = []
    for place, name in enumerate(("worker", "node", "driver")):
        found = [one[place] for one in rounds]
        figures += [
            Figure(f"replies lost, {name} killed", "", [one.lost for one in found], 0),
            Figure(f"slots answered twice, {name} killed", "", [one.twice for one in found], 0),
            Figure(f"other outcomes, {name} killed", "", [one.outcomes for one in found], 0),
        ]
        noticed = [one.noticed_s for one in found if one.noticed_s is not None]
        if noticed:
            figures.append(Figure(f"until the loss was known, {name} killed", "s", noticed))
        recovered = [one.recovered_s for one in found]
        figures.append(Figure(f"until it was made good, {name} killed", "s", recovered))
    yield Result(
        "faults",
        f"{sessions:,} sessions of Symbolic-MoE and debates on {NODES} nodes, each fault in the "
        "middle",
        "SQLite",
        figures,
        ["a dead node is looked for every half second here; Ray's default finds it in about 17 s"],
    )
