"""Cross-play: who meets whom, who won what, and what the judge made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from protocols.errors import Mistake
from tests.workflows.terminal import moot
from workflows.running.crossplay import Crossplay, read_crossplay, run_crossplay
from workflows.settings.configuration import Workflow, load_workflow
from workflows.settings.meetings import CrossplaySpec, Meeting, meeting_of
from workflows.statistics.ratings import bradley_terry, elo

pytestmark = pytest.mark.slow

PASSAGE = "The miller slept. The cook took the key, went down and opened the gate."
QUOTE = "<quote>The cook took the key</quote>"


def write_questions(folder: Path, count: int = 4, gold: str = "AB") -> None:
    rows = [
        {
            "id": f"q/{n}",
            "text": "Who opened the gate?",
            "options": ["The miller", "The cook"],
            "gold": gold[n % len(gold)],
            "passage": f"{PASSAGE} It was night number {n}.",
            "cluster": f"story {n % 2}",
        }
        for n in range(count)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "q.jsonl").write_text(lines, encoding="utf-8")


def workflow_of(**crossplay: Any) -> dict[str, Any]:
    said = {"model": "scripted/constant"}
    return {
        "questions": {"path": "q.jsonl"},
        "experts": {
            "quoter": {**said, "options": {"text": f"Look: {QUOTE}"}},
            "claimant": {**said, "options": {"text": "It is so."}},
            "forger": {**said, "options": {"text": "<v_quote>It is so.</v_quote>"}},
        },
        "cast": {"judge": "offline/lexical-judge"},
        "crossplay": {"debaters": ["quoter", "claimant", "forger"], **crossplay},
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_questions(tmp_path)
    return tmp_path


def write(folder: Path, data: dict[str, Any]) -> str:
    (folder / "cross.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return "cross.yaml"


def by_name(found: Crossplay) -> dict[str, Any]:
    return {row.name: row for row in found.debaters}


def test_everybody_meets_everybody_on_both_sides() -> None:
    spec = CrossplaySpec.model_validate(
        {"debaters": ["a", {"expert": "a", "best_of": 4}, "b"], "consultancy": {"rounds": 2}}
    )
    names = [meeting.name for meeting in spec.meetings()]
    assert names == [
        "a v a x4", "a v b", "a x4 v a", "a x4 v b", "b v a", "b v a x4",
        "a v a", "a x4 v a x4", "b v b",
        "a alone", "a x4 alone", "b alone",
    ]  # fmt: skip
    entries = {entry["name"]: entry for entry in spec.entries()}
    assert entries["a v a x4"]["cast"] == {"debater": ["a", "a"]}
    assert entries["a v a x4"]["best_of"] == [1, 4]
    assert entries["b v a x4"]["best_of"] == [1, 4]
    assert entries["a x4 v b"]["best_of"] == [4, 1]
    assert entries["a v b"]["best_of"] == 1
    assert {e["sides"] for e in entries.values() if e["kind"] == "debate"} == {"A"}
    assert entries["a x4 v a x4"]["cast"] == {"debater": ["a"]}
    assert entries["a x4 v a x4"]["best_of"] == 4
    assert entries["a x4 alone"]["sides"] == "both"
    assert entries["a x4 alone"]["rounds"] == 2
    for meeting, entry in zip(spec.meetings(), spec.entries(), strict=True):
        assert meeting_of(meeting.name, entry["kind"]) == meeting


def test_other_protocols_are_no_meetings() -> None:
    assert meeting_of("debate", "debate") is None
    assert meeting_of("a v b", "nyu_debate") is None
    assert meeting_of("a alone", "debate") is None
    assert meeting_of("a v b", "debate") == Meeting("a v b", "crossplay", "a", "b")


def test_a_workflow_with_a_cross_play_can_be_read_again(here: Path) -> None:
    data = {**workflow_of(), "protocols": [{"kind": "direct_answer"}], "store": "here.db"}
    loaded = load_workflow(write(here, data))
    assert [spec.kind for spec in loaded.written] == ["direct_answer"]
    assert len(loaded.protocols) == 1 + 6 + 3
    resolved = loaded.resolved()
    assert [entry["kind"] for entry in resolved["protocols"]] == ["direct_answer"]
    again = Workflow.from_mapping(resolved, "again.yaml")
    assert again.resolved() == resolved
    assert again.protocols[1:] == loaded.protocols[1:]


def test_debates_in_ones_own_words(here: Path) -> None:
    words = "[[debate.yours]]\nYour own words, round {{ round }}:\n"
    (here / "words.md").write_text(words, encoding="utf-8")
    loaded = load_workflow(write(here, workflow_of(debate={"prompts": "words.md"})))
    for spec in loaded.protocols:
        assert "Your own words" in spec.parameters["prompts"]["debate.yours"]
    (here / "words.md").unlink()  # the resolved configuration needs no file
    assert Workflow.from_mapping(loaded.resolved()).protocols == loaded.protocols
    with pytest.raises(Mistake, match=r"crossplay\.debate\.prompts: .*words\.md: no such file"):
        load_workflow("cross.yaml")


@pytest.mark.parametrize(
    ("crossplay", "says"),
    [
        ({"debaters": ["quoter"]}, "crossplay.debaters: "),
        ({"debaters": ["quoter", "quoter"]}, "two debaters are called 'quoter'"),
        ({"debaters": ["a v b", "c"]}, "stands between two debaters"),
        ({"debaters": ["a", {"expert": "b", "best_of": 0}]}, "best_of"),
        ({"debate": {"round": 2}}, "crossplay.debate.round: no such parameter; did you mean"),
        ({"debate": {"sides": "both"}}, "'sides' cannot be set"),
        ({"debate": {"open": True}}, "'open' cannot be set"),
        ({"consultancy": {"best_of": 2}}, "'best_of' cannot be set"),
        ({"consultancy": {"rounds": 0}}, "crossplay.consultancy.rounds: "),
        ({"debater": []}, "crossplay: unknown key 'debater'; did you mean 'debaters'?"),
    ],
)
def test_one_line_for_what_is_wrong(here: Path, crossplay: dict[str, Any], says: str) -> None:
    with pytest.raises(Mistake) as caught:
        load_workflow(write(here, workflow_of(**crossplay)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_best_of_needs_a_rater(here: Path) -> None:
    path = write(here, workflow_of(debaters=["quoter", {"expert": "claimant", "best_of": 2}]))
    with pytest.raises(Mistake, match="nobody is cast as 'rater'"):
        run_crossplay(path)


def test_ratings_are_what_the_wins_say(here: Path) -> None:
    result, found = run_crossplay(write(here, workflow_of(debate={"rounds": 1}, consultancy=True)))
    assert result.progress.sessions == 4 * (6 + 3 + 3)
    rows = by_name(found)
    assert found.debaters[0].name == "quoter"
    # Nobody but the quoter quotes, so the judge weighs its quotations alone; between the others
    # it is even, whatever side they are on.
    shares = {(pair.first, pair.second): pair.share for pair in found.pairs}
    assert shares["claimant", "forger"] == pytest.approx(0.5)
    given = 1 - (shares["claimant", "quoter"] or 0.0)
    assert given > 0.6
    matches = 8
    rated = bradley_terry(
        [
            [0, given * matches, given * matches],
            [(1 - given) * matches, 0, matches / 2],
            [(1 - given) * matches, matches / 2, 0],
        ]
    )
    assert rated is not None
    assert rows["quoter"].overall.rating == pytest.approx(elo(rated.values[0]))
    assert rows["claimant"].overall.rating == pytest.approx(rows["forger"].overall.rating)
    assert rows["quoter"].overall.matches == 16
    assert rows["quoter"].right.matches == rows["quoter"].wrong.matches == 8 + 4
    assert any("2 units" in note for note in found.notes)


def test_ratings_by_side_and_the_judges_accuracy_join_the_key(here: Path) -> None:
    """The cook's side is right by the passage; here the key says so everywhere, or nowhere."""
    accuracies, gaps = [], []
    for gold in "BA":
        write_questions(here, gold=gold)
        _, found = run_crossplay(
            write(here, workflow_of(debate={"rounds": 1}, self_play=True)), new=True
        )
        row = by_name(found)["quoter"]
        assert row.judge_self_play is not None
        assert row.judge_consultancy is None
        accuracies.append(row.judge_self_play.accuracy)
        gaps.append(row.right.rating - row.wrong.rating)
    assert accuracies == [1.0, 0.0]
    assert gaps[0] == pytest.approx(-gaps[1])
    assert gaps[0] > 0


def test_a_debate_without_a_verdict_is_nobodys_win(here: Path) -> None:
    data = workflow_of(debaters=["quoter", "claimant"], self_play=False)
    data["cast"]["judge"] = "mute"
    data["experts"]["mute"] = {"model": "scripted/constant", "options": {"text": "Hm."}}
    _, found = run_crossplay(write(here, data))
    assert "8 debates without a verdict count for nobody" in found.notes
    assert any("not rated" in note for note in found.notes)
    for row in found.debaters:
        assert row.overall.rating is None
        assert row.overall.matches == 0
        assert row.judge.accuracy == 0.0  # unread verdicts are not correct


def sure_of(label: str, **crossplay: Any) -> dict[str, Any]:
    """A workflow whose judge always answers the same, with certainty."""
    data = workflow_of(debaters=["quoter", "claimant"], debate={"orders": 1}, **crossplay)
    data["cast"]["judge"] = "sure"
    options = {"replies": {"judge": [f"Answer: {label}"]}}
    data["experts"]["sure"] = {"model": "scripted/script", "options": options}
    return data


def test_two_that_never_meet_themselves_are_not_rated_by_side(here: Path) -> None:
    """Right meets wrong alone: without self-play two debaters make two games apart."""
    _, found = run_crossplay(write(here, sure_of("A", self_play=False)))
    assert [row.overall.rating for row in found.debaters] == [pytest.approx(0.0)] * 2
    assert [row.right.rating for row in found.debaters] == [None, None]
    assert (
        "right and wrong sides are not rated: claimant/right, quoter/wrong | claimant/wrong, "
        "quoter/right never met"
    ) in found.notes
    _, found = run_crossplay(write(here, sure_of("A")))
    assert all(row.right.rating is not None for row in found.debaters)


def test_virtual_games_are_said_aloud(here: Path) -> None:
    write_questions(here, gold="A")
    _, found = run_crossplay(write(here, sure_of("A")))
    sides = by_name(found)["quoter"]
    assert sides.right.share == 1.0
    assert 0 < sides.right.rating < 1000
    (note,) = [note for note in found.notes if "virtual" in note]
    names = "claimant/right, claimant/wrong, quoter/right, quoter/wrong"
    assert note.startswith(f"never beaten, or never a winner: {names}; ")


def test_the_command_rates_a_workflow_and_a_run_and_a_fork(here: Path) -> None:
    path = write(here, workflow_of(debate={"rounds": 1}, consultancy={"rounds": 1}))
    done = moot("crossplay", path)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].startswith("debater ")
    for words in ("quoter against itself", "claimant as consultant", "claimant, forger", "Elo"):
        assert words in done.out
    as_json = moot("crossplay", path, "--json").json
    assert as_json["asks"] == 0  # the run is there already
    assert as_json["crossplay"]["debaters"][0]["name"] == "quoter"
    stored = moot("crossplay", as_json["name"], "--json").json
    assert stored["crossplay"] == as_json["crossplay"]
    fork = moot("fork", as_json["name"], "--cast", "judge=offline/lexical-judge", "--json").json
    again = moot("crossplay", fork["name"], "--json").json
    assert again["crossplay"] == as_json["crossplay"]
    assert read_crossplay(as_json["run_id"]).as_json() == as_json["crossplay"]


def test_the_command_says_what_is_missing(here: Path) -> None:
    plain = {**workflow_of(), "protocols": [{"kind": "direct_answer"}]}
    del plain["crossplay"]
    path = write(here, plain)
    assert "no key 'crossplay'" in moot("crossplay", path).message
    assert moot("run", path).code == 0
    assert "holds no cross-play" in moot("crossplay", "cross").message
    assert "no run 'nothing'" in moot("crossplay", "nothing").message
    path = write(here, workflow_of())
    assert "crossplay.debaters" in moot("crossplay", path, "--cast", "debater=quoter").message


def test_a_run_goes_on_where_it_was_stopped(here: Path) -> None:
    path = write(here, workflow_of(debate={"rounds": 1}))
    spent = moot("crossplay", path, "--set", "budget.calls=20", "--json")
    assert spent.code == 3
    whole, found = run_crossplay(path)
    assert whole.ending == "finished"
    _, fresh = run_crossplay(path, new=True)
    assert fresh == found
