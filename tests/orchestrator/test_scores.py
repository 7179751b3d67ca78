"""Scores in a real store: asked, recorded, resumed and replayed like words."""

from __future__ import annotations

from pathlib import Path

from orchestrator.replay import replay
from orchestrator.spec import Entry, RunSpec
from orchestrator.store import Store
from protocols.cast import Cast
from protocols.outcome import Outcome
from protocols.speculative_verdict import SpeculativeVerdict
from tests.orchestrator.run_examples import EXPERTS, Watched, member, questions, run

# one voter in both seats: what it votes, and how it scores, goes by the number of the ask
CAST = Cast(
    members={
        "solver": (member("judge"), member("judge")),
        "aggregator": (member("judge"),),
    }
)


def spec(*numbers: int) -> RunSpec:
    entry = Entry("verdict", SpeculativeVerdict(keep=1), CAST)
    return RunSpec("scores", (entry,), questions(*numbers), tuple(EXPERTS.values()))


async def test_scores_are_stored_resumed_and_replayed(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "runs.db")) as store:
        started = await run(store, spec(*range(8)), calls=30)
        assert started.ended.ending == "budget"
        done = await run(store, spec(*range(8)), Watched())
        assert not started.calls.keys() & done.calls.keys()  # nothing was paid twice
        report = replay(store, done.run_id)
        assert (report.identical, report.diverged, report.model_calls) == (8, 0, 0)
        outcomes = [
            Outcome.from_json(row.outcome_json or "") for row in store.sessions(done.run_id)
        ]
    weighed = [outcome for outcome in outcomes if "consensus" in outcome.detail]
    assert weighed
    for outcome in weighed:
        one, two = outcome.detail["consensus"].values()
        assert outcome.detail["selected"] == ["judge" if one <= two else "solver_1"]
