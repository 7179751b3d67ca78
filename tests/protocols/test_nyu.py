"""NYU debate and consultancy: beliefs, ends, votes; recorded sessions fold as they were."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from protocols.asks import Ask
from protocols.contract import CallBound, Protocol
from protocols.errors import Mistake
from protocols.messages import find_part
from protocols.nyu import NyuConsultancy, NyuDebate
from protocols.nyu_rules import AGREEMENT_RULES, SPEECHES, NyuRules, check_rounds, read_rounds
from protocols.nyu_rules import judge_score as score
from protocols.question import Question
from protocols.replies import Reply, failed
from tests.protocols.examples import CHOICE, PAIR
from tests.protocols.harness import everything_said, in_turn, play
from tests.protocols.overseeing import CONTINUE, END, cast_for, playing, seats, texts

DEBATERS = cast_for("debater", "ada", "bob")
CONSULTANT = cast_for("consultant")
PACKED = Path(__file__).parents[1] / "data" / "nyu_sessions.jsonl.gz"


def stating(*lines: str | Reply):
    """A judge that says these things in this order, whoever's session part it is in."""
    rest = iter(lines)

    def judge(ask: Ask) -> Reply:
        value = next(rest)
        return value if isinstance(value, Reply) else Reply(value)

    return judge


@pytest.mark.parametrize("t", [1, 2, 5])
def test_prices(t):
    for protocol, cast, price in (
        (NyuDebate(max_rounds=t, sides="A"), DEBATERS, 3 * t + 1),
        (NyuDebate(max_rounds=t, sides="both"), DEBATERS, 2 * (3 * t + 1)),
        (NyuConsultancy(max_rounds=t), CONSULTANT, 2 * t + 1),
        (NyuConsultancy(max_rounds=t, sides="both"), CONSULTANT, 2 * (2 * t + 1)),
    ):
        played = play(protocol, PAIR, cast, playing())
        assert len(played.asks) == price == protocol.calls(PAIR, cast).most
        told = played.outcome.detail
        for staging in told.get("stagings", [told]):
            assert (staging["continues"], staging["ended_by"]) == (t, "cap")


def test_the_debate_prior_then_at_once_then_one_after_the_other():
    played = play(NyuDebate(max_rounds=2, sides="A"), PAIR, DEBATERS, playing())
    assert seats(played) == [
        ["judge"],
        ["debater_a", "debater_b"],
        ["judge"],
        ["debater_a"],
        ["debater_b"],
        ["judge"],
    ]
    a, b = "words-of-debater_a-at-1-0.", "words-of-debater_b-at-1-1."
    first, second, judge = (turn[0] for turn in played.asks_by_turn[3:])
    assert texts(first, "speech") == [a, b]
    assert texts(second, "speech") == [b, a, "words-of-debater_a-at-3-0."]
    assert texts(judge, "speech") == [
        *(a, b, "words-of-debater_a-at-3-0.", "words-of-debater_b-at-4-0.")
    ]
    assert texts(played.asks[0], "speech") == []


def test_beliefs_and_comments_are_heard_by_everybody_afterwards():
    judge = stating(
        "Hm.\nBelief: A 0.5", "Why?\nBelief: A 0.9\nDecision: continue", "So.\nBelief: A 0.2"
    )
    played = play(NyuDebate(max_rounds=2), PAIR, DEBATERS, playing(judge))
    for ask in played.asks_by_turn[1]:
        assert texts(ask, "belief") == ["A 0.50, B 0.50"]
    for turn in played.asks_by_turn[3:]:
        assert texts(turn[0], "belief") == ["A 0.50, B 0.50", "A 0.90, B 0.10"]
        assert texts(turn[0], "feedback")[1].startswith("Why?")
    outcome = played.outcome
    assert outcome.answer == "B"
    assert outcome.detail["beliefs"] == [[0.5, 0.5], [0.9, pytest.approx(0.1)], [0.2, 0.8]]
    assert outcome.detail["distribution_sources"] == ["stated"]
    assert (outcome.rule, outcome.tie_rule) == ("last_belief", "wrong")


@pytest.mark.parametrize(
    ("min_rounds", "wants", "t", "ended_by"),
    [
        (1, 0, 1, "judge"),
        (1, 1, 1, "judge"),
        (1, 2, 2, "judge"),
        (3, 1, 3, "judge"),
        (1, 9, 4, "cap"),
    ],
)
def test_the_judge_ends_it(min_rounds, wants, t, ended_by):
    stated = [END if number >= wants else CONTINUE for number in range(5)]
    protocol = NyuConsultancy(max_rounds=4, min_rounds=min_rounds)
    outcome = play(protocol, PAIR, CONSULTANT, playing(stating(*stated))).outcome
    assert (outcome.detail["continues"], outcome.detail["ended_by"]) == (t, ended_by)


def test_a_debater_cannot_end_it():
    answer = playing(debater=lambda ask: Reply("Decision: end\nBelief: A 1\nEnd: yes"))
    outcome = play(NyuDebate(max_rounds=3), PAIR, DEBATERS, answer).outcome
    assert outcome.detail["continues"] == 3


def test_which_letter_one_argues_for():
    for side, own in (("A", "The miller"), ("B", "The cook")):
        played = play(NyuConsultancy(max_rounds=1, sides=side), PAIR, CONSULTANT, playing())  # type: ignore[arg-type]
        asked = played.asks_by_turn[1][0]
        assigned, heading = (find_part(asked.messages, x) for x in ("assigned", "assigned_heading"))
        assert assigned is not None
        assert heading is not None
        assert assigned.text == own
        assert heading.text.endswith(f"answer {side}:")
        entry = {"side": side, "by": "ada", "readings": [0]}
        assert played.outcome.detail["sides"] == [entry]


def test_both_sides_each_in_a_conversation_of_its_own():
    judge = stating(*[CONTINUE] * 2, "Belief: A 0.9\nDecision: end", "Belief: A 0.4\nDecision: end")
    played = play(NyuConsultancy(sides="both"), PAIR, CONSULTANT, playing(judge))
    assert seats(played) == [["judge"] * 2, ["consultant_a", "consultant_b"], ["judge"] * 2]
    outcome = played.outcome
    first, second = outcome.readings
    assert first == pytest.approx((0.9, 0.1))
    assert second == pytest.approx((0.4, 0.6))
    assert [one["side"] for one in outcome.detail["sides"]] == ["A", "B"]
    assert [one["readings"] for one in outcome.detail["sides"]] == [[0], [1]]


def test_limits_are_the_rules_and_twice_as_much_for_a_consultant():
    long = Reply("x" * 2000)
    rules = {"opening": ["judge", "simultaneous", "judge"], "max_characters": 40}
    for protocol, cast, limit in (
        (NyuDebate(), DEBATERS, 750),
        (NyuConsultancy(), CONSULTANT, 1500),
        (NyuDebate(rules=rules), DEBATERS, 40),  # type: ignore[arg-type]
        (NyuDebate(rules={**rules, "max_characters": None}), DEBATERS, 2000),  # type: ignore[arg-type]
        (NyuDebate(rules=rules, overrun="accept"), DEBATERS, 2000),  # type: ignore[arg-type]
    ):
        answer = playing(stating(CONTINUE, END), debater=lambda a: long, consultant=lambda a: long)
        played = play(protocol, PAIR, cast, answer)
        assert len(texts(played.asks[-1], "speech")[0]) == limit


def test_the_budget_of_quotations():
    speech = Reply(
        "<quote>The miller slept</quote> <quote>The cook took the key</quote> <quote>gate</quote>"
    )
    rules = {"opening": ["judge", "simultaneous", "judge"], "max_quoted": 20}
    answer = playing(stating(CONTINUE, END), debater=lambda ask: speech)
    played = play(NyuDebate(rules=rules), PAIR, DEBATERS, answer)  # type: ignore[arg-type]
    assert texts(played.asks[-1], "speech")[0] == (
        "<v_quote>The miller slept</v_quote> <u_quote>The cook took the key</u_quote> "
        "<v_quote>gate</v_quote>"
    )


def votes(*rounds: str):
    """Debaters that vote like ``yn``, round by round."""
    seen: dict[str, int] = {}

    def debater(ask: Ask) -> Reply:
        if find_part(ask.messages, "negotiate_task") is None:
            return Reply("I speak.")
        number = seen[ask.seat.name] = seen.get(ask.seat.name, 0) + 1
        letter = rounds[number - 1]["ab".index(ask.seat.name[-1])]
        words = {"y": "End: yes", "n": "End: no", "?": "Well."}
        return Reply(words[letter]) if letter in words else failed("refused", "no")

    return debater


@pytest.mark.parametrize(
    ("given", "rounds", "ended_by"),
    [
        (["yy"], 1, "agreement"),
        (["yn", "ny", "yy"], 3, "agreement"),
        (["y?", "x?", "yy"], 3, "agreement"),
        (["nn", "nn", "nn"], 3, "cap"),
    ],
)
def test_it_ends_when_all_vote_for_it(given, rounds, ended_by):
    protocol = NyuDebate(rules=AGREEMENT_RULES, max_rounds=3)
    assert "judge" not in {role.name for role in protocol.roles()}
    outcome = play(protocol, PAIR, DEBATERS, playing(debater=votes(*given))).outcome
    assert (outcome.status, outcome.readings) == ("abstained", ())
    assert len(outcome.detail["votes"]) == rounds
    assert (outcome.detail["ended_by"], outcome.detail["continues"]) == (ended_by, 0)
    assert outcome.unparsed == sum(vote.count("?") for vote in given)
    assert sum(outcome.failures.values()) == sum(vote.count("x") for vote in given)


def test_a_closing_is_played_after_the_end():
    rules = {**AGREEMENT_RULES.model_dump(), "closing": ("simultaneous", "judge")}
    answer = playing("Belief: B 0.8", debater=votes("yy"))
    played = play(NyuDebate(rules=rules), PAIR, DEBATERS, answer)  # type: ignore[arg-type]
    pair = ["debater_a", "debater_b"]
    assert seats(played) == [pair, pair, pair, ["judge"]]
    assert (played.outcome.answer, played.outcome.detail["ended_by"]) == ("B", "agreement")


@pytest.mark.parametrize(
    ("last", "status", "unparsed", "failures"),
    [
        ("Belief: A 0.5\nDecision: end", "tied", 0, {}),
        ("No idea.\nDecision: end", "unparsed", 1, {}),
        (failed("refused", ""), "failed", 0, {"refused": 1}),
    ],
)
def test_what_the_last_reply_holds_counts(last, status, unparsed, failures):
    answer = playing(stating("Belief: A 0.9", last))
    outcome = play(NyuConsultancy(max_rounds=1), PAIR, CONSULTANT, answer).outcome
    assert (outcome.status, outcome.unparsed, outcome.failures) == (status, unparsed, failures)


def test_a_belief_that_is_lost_on_the_way_is_said_to_be_missing():
    judge = stating("Hm.", failed("malformed", ""), "Belief: B 0.7\nDecision: end")
    played = play(NyuConsultancy(max_rounds=2), PAIR, CONSULTANT, playing(judge))
    said = everything_said(list(played.asks_by_turn[3]))
    assert said.count("(no belief was stated)") == 2
    outcome = played.outcome
    assert (outcome.answer, outcome.unparsed, outcome.failures) == ("B", 1, {"malformed": 1})
    assert outcome.detail["beliefs"][:2] == [None, None]


@pytest.mark.parametrize("boundary", ["provider", "timeout"])
def test_missing_data_of_any_seat_ends_it(boundary):
    lost = failed(boundary, "")
    judged = play(NyuDebate(), PAIR, DEBATERS, playing(stating("Belief: A 0.9", lost)))
    assert seats(judged)[-1] == ["judge"]
    spoken = play(NyuDebate(), PAIR, DEBATERS, playing(debater=lambda ask: lost))
    assert len(spoken.asks) == 3
    rules = {"opening": ["simultaneous", "negotiate_end", "judge"]}

    def voter(ask: Ask) -> Reply:
        return lost if find_part(ask.messages, "negotiate_task") else Reply("I speak.")

    voting = playing(debater=voter)
    voted = play(NyuDebate(rules=rules), PAIR, DEBATERS, voting)  # type: ignore[arg-type]
    for played in (judged, spoken, voted):
        assert played.outcome.missing
        assert set(played.outcome.failures) == {boundary}


def test_a_silent_debater_does_not_end_it():
    answer = playing(debater=lambda ask: failed("refused", "SECRET"))
    played = play(NyuDebate(max_rounds=2), PAIR, DEBATERS, answer)
    assert len(played.asks) == 7
    assert "SECRET" not in everything_said(played.asks)
    assert played.outcome.failures == {"refused": 4}


def test_questions_and_bounds():
    assert "two options" in (NyuDebate().check_question(CHOICE) or "")
    with pytest.raises(Mistake, match="pair:"):
        play(NyuConsultancy(), CHOICE, CONSULTANT, playing())
    assert NyuDebate().calls(PAIR, DEBATERS) == CallBound(1, 25)
    assert NyuDebate(rules=AGREEMENT_RULES, max_rounds=2).calls(PAIR, DEBATERS) == CallBound(2, 8)


def recorded() -> list[dict[str, Any]]:
    with gzip.open(PACKED, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def replies_of(session: dict[str, Any]) -> list[str | Reply]:
    """Return what was said in a recorded session, in the order in which it is asked for."""
    said: list[str | Reply] = []
    for one in session["rounds"]:
        if one["type"] == "judge":
            text = f"{one['text']}\nDecision: {'end' if one['end'] else 'continue'}"
            said.append(Reply(text, distribution=tuple(one["probs"]), distribution_source="stated"))
        elif one["type"] in SPEECHES:
            speeches = sorted(one["speeches"], key=lambda speech: speech["argues_for"])
            said += [Reply(speech["text"]) for speech in speeches]
        elif one["type"] == "negotiate_end":
            said += [Reply(f"End: {'yes' if one['votes'][side] else 'no'}") for side in "AB"]
    return said


def protocol_of(session: dict[str, Any]) -> Protocol:
    rounds = read_rounds(session["rounds"])
    spoken = sum(one.kind in SPEECHES for one in rounds)
    rules = NyuRules.from_recorded(session["rules"])
    assert check_rounds(rules, rounds) is None
    if "debate" in session["setting"]:
        return NyuDebate(rules=rules, max_rounds=spoken, sides="A", overrun="accept")
    sides = "AB"[next(one.sides for one in rounds if one.sides)[0]]
    return NyuConsultancy(rules=rules, max_rounds=spoken, sides=sides, overrun="accept")  # type: ignore[arg-type]


@pytest.mark.parametrize("session", recorded(), ids=lambda session: session["id"])
def test_recorded_sessions_fold_to_what_they_were(session):
    question = Question(
        id=session["question_id"], text=session["question"], options=tuple(session["answers"])
    )
    cast = DEBATERS if "debate" in session["setting"] else CONSULTANT
    outcome = play(protocol_of(session), question, cast, in_turn(*replies_of(session))).outcome
    if session["ended_by"] == "MutualAgreement":
        assert (outcome.status, outcome.detail["ended_by"]) == ("abstained", "agreement")
        return
    assert list(outcome.readings[0]) == session["final_probs"]
    assert outcome.detail["continues"] == session["num_continues"]
    reward = score(outcome.readings[0][session["gold"]], outcome.detail["continues"])
    assert reward == pytest.approx(session["judge_reward"], abs=1e-6)
