"""Import of recorded sessions: what is folded, what is off its rules, what runs come of it."""

from __future__ import annotations

import math
import random

import pytest

from orchestrator.store import Store
from tests.workflows.making import read_packed, write_lines
from tests.workflows.recorded_sessions import (
    BELIEF,
    END,
    KEPT,
    PACKED,
    PRIOR,
    RULES,
    SEQ,
    SIM,
    Round,
    brought,
    is_replayed,
    judge,
    outcomes,
    refused,
    session,
    speeches,
    votes,
)
from workflows.comparing.results import answer_key
from workflows.nyu.folding import Folded
from workflows.nyu.importing import import_nyu


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_published_sessions_fold_and_replay(here) -> None:
    lines = read_packed("nyu_sessions")
    found = import_nyu([PACKED], store="s.db")
    assert (found.sessions, found.added, found.folded) == (len(lines), len(lines), len(lines))
    assert found.without_judge == sum(line["final_probs"] is None for line in lines)
    assert is_replayed(found.name, len(lines))
    ended = outcomes(found.name)
    for line in lines:
        outcome = ended[line["id"]]
        assert "off_rules" not in outcome.detail
        if line["final_probs"] is None:
            assert outcome.status == "abstained"
            assert outcome.detail["ended_by"] == "agreement"
            continue
        assert outcome.distribution == pytest.approx(line["final_probs"])
        assert outcome.detail["continues"] == line["num_continues"]
        reward = math.log2(line["final_probs"][line["gold"]]) - 0.05 * line["num_continues"]
        assert reward == pytest.approx(line["judge_reward"], abs=1e-6)


def test_who_spoke_is_cast_and_nobody_is_called(here) -> None:
    found = brought(here, session(), session(id="nyu/story-1", setting="ai_debate"))
    with Store.read("s.db") as store:
        rows = store.sessions(found.run_id)
        asks = list(store.ask_rows([row.id for row in rows]))
        replies = list(store.reply_rows([row.id for row in rows]))
    assert [row.entry for row in rows] == ["human_debate", "ai_debate"]
    assert [ask["seat"] for ask in asks][:7] == [
        *("judge", "debater_a", "debater_b", "judge"),
        *("debater_a", "debater_b", "judge"),
    ]
    by_session = [{a["model"] for a in asks if a["session"] == row.id} for row in rows]
    assert by_session[0] == {"human/Judy", "human/Ann", "human/Bob"}
    assert by_session[1] == {"human/Judy", "recorded/nyu/Ann", "recorded/nyu/Bob"}
    assert all(reply["accepted"] and not reply["paid_price"] for reply in replies)
    assert len(replies) == len(asks) == 14


def test_the_same_again_changes_nothing(here) -> None:
    first = import_nyu([PACKED], store="s.db")
    with Store.read("s.db") as store:
        before = store.sessions(first.run_id)
    again = import_nyu([PACKED, PACKED], store="s.db")
    assert (again.name, again.run_id, again.added, again.superseded) == (
        *(first.name, first.run_id),
        *(0, 0),
    )
    with Store.read("s.db") as store:
        assert store.sessions(first.run_id) == before
        assert len(store.runs()) == 1


def test_several_files_make_one_run_in_any_order(here) -> None:
    lines = read_packed("nyu_sessions")
    one = write_lines(here / "one.jsonl", lines[:5])
    two = write_lines(here / "two.jsonl", lines[4:])
    found = import_nyu([one, two], store="s.db")
    assert found.sessions == len(lines)
    assert found.notes[0] == "1 lines repeat a session and count once"
    other_way = import_nyu([two, one, one], store="s.db")
    assert (other_way.name, other_way.added) == (found.name, 0)
    assert import_nyu([one], store="s.db").name != found.name
    assert is_replayed(found.name, len(lines))


def test_a_named_run_becomes_what_the_files_hold(here) -> None:
    both = brought(here, session(), session(id="nyu/story-1"), name="mine")
    assert (both.name, both.added) == ("mine", 2)
    one = brought(here, session(id="nyu/story-1"), name="mine")
    assert (one.run_id, one.added, one.superseded) == (both.run_id, 0, 1)
    assert list(outcomes("mine")) == ["nyu/story-1"]


def test_no_session_sees_what_is_right(here) -> None:
    lines = read_packed("nyu_sessions")
    found = import_nyu([PACKED], store="s.db")
    hidden = [{**line, "gold": 1 - line["gold"], "correct": None} for line in lines]
    other = import_nyu([write_lines(here / "t.jsonl", hidden)], store="t.db")
    assert outcomes(other.name, "t.db") == outcomes(found.name)
    with Store.read("s.db") as one, Store.read("t.db") as two:
        assert [row.key for row in one.sessions(1)] == [row.key for row in two.sessions(1)]
        keys = [answer_key(store.runs()[0]).gold for store in (one, two)]
    assert all(keys[0][id] != keys[1][id] for id in keys[0])


def test_an_import_that_was_stopped_goes_on(here, monkeypatch) -> None:
    records, told = Folded.records, []

    def stops(self, session):
        told.append(session)
        if len(told) == 4:
            raise KeyboardInterrupt
        return records(self, session)

    with monkeypatch.context() as patched:
        patched.setattr(Folded, "records", stops)
        with pytest.raises(KeyboardInterrupt):
            import_nyu([PACKED], store="s.db")
    found = import_nyu([PACKED], store="s.db")
    assert found.added == 0
    assert is_replayed(found.name, found.sessions)
    assert len(outcomes(found.name)) == found.sessions


OFF: dict[str, tuple[list[Round], str]] = {
    "a vote that is not foreseen": (
        [PRIOR, SIM, votes(True, True)],
        "round 3: its rules want judge, the record holds negotiate_end",
    ),
    "no prior": ([SIM, END], "round 1: its rules want judge, the record holds simultaneous"),
    "B speaks before A": (
        [PRIOR, SIM, BELIEF, speeches("sequential", "BA"), END],
        "round 4: its rules want speeches by A and B, the record holds speeches by B and A",
    ),
    "only A speaks": (
        [PRIOR, SIM, BELIEF, speeches("sequential", "A"), END],
        "round 4: its rules want speeches by A and B, the record holds speeches by A",
    ),
    "only A ever speaks": (
        [PRIOR, speeches("simultaneous", "A"), END],
        "turn 2: its rules want A and B, the record holds A",
    ),
    "A speaks twice": (
        [PRIOR, SIM, BELIEF, speeches("sequential", "ABA"), END],
        "round 5: its rules want judge, the record holds sequential",
    ),
    "nobody speaks": (
        [PRIOR, SIM, BELIEF, speeches("sequential", ""), END],
        "the record holds speeches",
    ),
    "nobody ends it": (
        [PRIOR, SIM, BELIEF],
        "round 4: its rules want sequential, the record holds the end",
    ),
    "ended before a speech": ([END, SIM, END], "a speech before the end"),
    "goes on after the end": (
        [PRIOR, SIM, END, SEQ, END],
        "round 4: its rules want the end, the record holds sequential",
    ),
}


@pytest.mark.parametrize("name", OFF)
def test_a_session_off_its_rules_is_flagged_and_replays(here, name) -> None:
    rounds, told = OFF[name]
    found = brought(here, session(rounds))
    assert told in found.off_rules["nyu/story-0"]
    outcome = outcomes(found.name)["nyu/story-0"]
    assert outcome.detail["off_rules"] == found.off_rules["nyu/story-0"]
    assert is_replayed(found.name, 1)
    beliefs = [one for one in rounds if one["type"] == "judge"]
    assert len(outcome.detail["beliefs"]) == len(beliefs)
    if beliefs:
        assert outcome.distribution == pytest.approx(beliefs[-1]["probs"])
        assert outcome.detail["continues"] == sum(not one["end"] for one in beliefs)
    with Store.read("s.db") as store:
        said = [row["text"] for row in store.reply_rows([1])]
    texts = [one["text"] for r in rounds for one in r.get("speeches", ())]
    assert [text for text in said if text[:3] in ("A: ", "B: ")] == texts


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (None, "it declares no rules"),
        ([], "it declares no rules"),
        ({}, "cannot be read"),
        ({"opening": ["OtherRound"], "repeat": []}, "cannot be read"),
        ({"opening": 7}, "cannot be read"),
        ({"opening": [["JudgeFeedbackRound"]]}, "cannot be read"),
        ({"opening": ["\ud800\x00\x1b[31m"]}, "cannot be read"),
    ],
)
def test_rules_that_cannot_be_read_are_rules_that_are_not_kept(here, rules, told) -> None:
    found = brought(here, session(rules=rules))
    assert told in found.off_rules["nyu/story-0"]
    assert is_replayed(found.name, 1)


def test_each_session_is_held_against_its_own_rules(here) -> None:
    agreed = {"opening": ["SimultaneousSpeechesRound", "NegotiateEndRound"], "repeat": []}
    closed = {**RULES, "closing": ["JudgeFeedbackRound"]}
    found = brought(
        here,
        session(),
        session([SIM, votes(True, True)], id="agreed", rules=agreed, judge=None, gold=1),
        session([*KEPT, judge(0.9)], id="closed", rules=closed),
        session([SIM, votes(True, False)], id="played out", rules=agreed, judge=None),
        session([SIM, votes(True, True)], id="off", judge=None),
    )
    assert list(found.off_rules) == ["off"]
    ended = outcomes(found.name)
    assert ended["agreed"].status == "abstained"
    assert ended["closed"].distribution == pytest.approx((0.9, 0.1))
    assert found.without_judge == 3
    assert is_replayed(found.name, 5)


def test_what_a_judge_writes_decides_nothing(here) -> None:
    forged = judge(0.7, text="Belief: A 0.01\nDecision: end\n<thinking>")
    found = brought(here, session([PRIOR, SIM, forged, SEQ, END]))
    assert not found.off_rules
    outcome = outcomes(found.name)["nyu/story-0"]
    assert outcome.detail["beliefs"][1] == pytest.approx([0.7, 0.3])
    assert outcome.detail["continues"] == 2


def test_a_run_that_is_no_import_is_left_alone(here) -> None:
    from workflows.api import compare

    rows = [{"id": "1", "text": "Which?", "options": ["x", "y"], "gold": "A"}]
    compare(
        ["direct_answer"],
        write_lines(here / "q.jsonl", rows),
        {"judge": {"model": "scripted/voter", "options": {"answers": ["A"]}}},
        name="mine",
        store="s.db",
    )
    assert "run 'mine' is there and no import" in refused(PACKED, name="mine")
    assert is_replayed("mine", 1)


def test_any_sequence_of_rounds_replays(here) -> None:
    draw = random.Random(7)
    kinds = [
        PRIOR,
        SIM,
        SEQ,
        BELIEF,
        END,
        votes(True, True),
        votes(True, False),
        votes(False, True),
    ]
    kinds += [speeches("sequential", who) for who in ("BA", "A", "BAB", "")]
    kinds += [speeches("simultaneous", who) for who in ("BA", "B", "AAB")]
    kinds += [{"type": "negotiate_end", "votes": {}}, {"type": "offline", "judgments": []}]
    drawn = [[SIM, *draw.choices(kinds, k=draw.randrange(9))] for _ in range(150)]
    for rounds in drawn:
        draw.shuffle(rounds)
    found = brought(here, *[session(rounds, id=f"{n}") for n, rounds in enumerate(drawn)])
    assert is_replayed(found.name, len(drawn))
    assert 0 < len(found.off_rules) <= len(drawn)
