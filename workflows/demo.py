"""``moot demo``: two comparisons on packed real data, and both replayed without a model call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workflows.cli.progress import Watch
from workflows.cli.screen import command_name, near, put, put_json, say, store_option
from workflows.cli.tables import put_rows, put_wrapped
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from orchestrator.replay import ReplayReport
    from workflows.api import RunResult

PARTS = {
    "skills": (
        "Skills: which of seven models should answer?",
        """MMLU-Pro, recorded answers of real models. Symbolic-MoE asks up to three of them, chosen
        by skill measured on other questions; plurality asks all.""",
    ),
    "oversight": (
        "Oversight: can arguments from a passage help a judge who has not read it?",
        """Stories and questions of the NYU debates. Debater and judge are offline experts:
        retrieval baselines, not language models. They show that the machinery works; expect
        chance at best.""",
    ),
}
QUICK = {"oversight": ("protocols=[{kind: direct_answer}, {kind: debate}]", "cast.consultant=null")}
"""Overrides that leave of a workflow with many protocols those that the demo has time for."""
NEXT = (
    ("show skills --disagree {store}", "transcripts where the protocols differ"),
    ("fork oversight --set rounds=1 {store}", "the same debates with one round, not three"),
    ("init my.yaml", "a workflow file of your own"),
)
"""Commands to try after the demo, without ``moot``, and what they give."""


def run_demo(store: str = "demo.db", *, as_json: bool = False) -> int:
    """Run both parts, print their tables, replay them; return the exit code.

    Args:
        store: where the two runs are kept; a second demo finds them there and keeps them.
        as_json: print one JSON object instead of tables.

    Raises:
        Mistake: the store cannot be used.
    """
    results = []
    for number, name in enumerate(PARTS, start=1):
        result = _run_part(number, name, store, as_json=as_json)
        results.append(result)
        if result.ending != "finished":
            say("the demo was stopped; what is recorded is kept, and the same command goes on")
            return 1
    began = time.monotonic()
    reports = [_replay(result, store) for result in results]
    seconds = time.monotonic() - began
    if as_json:
        put_json(
            {
                "store": results[0].store,
                "runs": [result.as_json() for result in results],
                "replays": [report.as_json() for report in reports],
            }
        )
    else:
        put(replayed(reports, seconds))
        put()
        _put_next(store)
    return 4 if any(report.diverged or report.stale for report in reports) else 0


def commands(store: str) -> list[tuple[str, str]]:
    """Return the commands to try next, with what they give."""
    return [
        (f"{command_name()} {line.format(store=store_option(store))}", what) for line, what in NEXT
    ]


def replayed(reports: list[ReplayReport], seconds: float) -> str:
    """Return in one line what replaying both runs showed."""
    sessions = sum(report.sessions for report in reports)
    differing = sum(report.diverged + report.stale for report in reports)
    calls = sum(report.model_calls for report in reports)
    showed = f"{differing:,} differ from the store" if differing else "identical"
    made = f"{counted_of(calls, 'model call')}, {seconds:.1f} s"
    return f"Replayed {counted_of(sessions, 'session')}: {showed}, {made}."


def _run_part(number: int, name: str, store: str, *, as_json: bool) -> RunResult:
    from workflows.api import run
    from workflows.settings.configuration import load_workflow

    title, about = PARTS[name]
    if not as_json:
        put(f"{number}/{len(PARTS)}  {title}")
        put_wrapped(" ".join(about.split()), indent=2)
    workflow = load_workflow(name, QUICK.get(name, ())).model_copy(update={"store": store})
    with Watch() as watch:
        result = run(workflow, hooks=watch.hooks())
        watch.finish(result.progress)
    if not as_json:
        put()
        put_rows(result.rows, result.clusters, simulated=result.simulated, indent=2)
        put()
    return result


def _replay(result: RunResult, store: str) -> ReplayReport:
    from workflows.api import replay

    return replay(result.run_id, store=store)


def _put_next(store: str) -> None:
    found = commands(store)
    width = max(len(line) for line, _ in found)
    put(f"Everything is in {near(store)}. Try next:")
    for line, what in found:
        put(f"  {line.ljust(width)}   {what}")
    put(
        f"With a key in OPENAI_API_KEY, a language model judges the same debates:\n"
        f"  {command_name()} fork oversight --cast judge=openai/gpt-4o-mini {store_option(store)}"
    )
