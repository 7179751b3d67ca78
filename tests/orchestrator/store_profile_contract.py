"""What every database must do for measured experts."""

from __future__ import annotations

from sqlalchemy import text

from orchestrator.store import ExpertRow, ProfileRows, Store
from tests.orchestrator.store_examples import HOSTILE, OneStore, new_run, raw

ROWS = ProfileRows("h1", {"ann": '{"asked":2}', HOSTILE: "{}"}, '{"format":1}')


class ProfileContract(OneStore):
    def test_a_profile_comes_back_as_it_was(self, store: Store, run: int, url: str):
        assert store.profile(run) is None
        assert store.latest_profiled() is None
        store.save_profile(run, ROWS, [ExpertRow("ann", "openai/a", "r1", 0.5, None)])
        assert store.profile(run) == ROWS
        assert store.latest_profiled() == run
        with raw(url) as connection:
            (expert,) = connection.execute(text("SELECT * FROM expert")).all()
        assert tuple(expert) == (run, "ann", "openai/a", "r1", 0.5, None)

    def test_a_run_has_one_profile_the_last(self, store: Store, run: int):
        store.save_profile(run, ROWS, [ExpertRow("ann", "openai/a")])
        new = ProfileRows("h2", {"bob": "{}"}, "{}")
        store.save_profile(run, new)
        assert store.profile(run) == new

    def test_runs_have_profiles_of_their_own(self, store: Store, run: int):
        other = store.create_run(new_run("other"))
        store.save_profile(other, ROWS)
        assert store.profile(run) is None
        assert store.latest_profiled() == other
        store.save_profile(run, ProfileRows("h", {}, "{}"))
        assert store.latest_profiled() == other  # the newest run, whatever was written last
