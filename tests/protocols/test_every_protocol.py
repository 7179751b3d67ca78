"""What holds for every protocol, over the table of examples."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.contract import Protocol
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.quoting import MARK
from protocols.replies import BOUNDARIES, Reply, failed, scored
from protocols.tape import Finished, Recorded, resume
from tests.protocols.examples import BY_NAME, EXAMPLES, Example
from tests.protocols.harness import (
    Played,
    carry_on,
    everything_said,
    keyed_answer,
    play,
    start,
)

BOUNDED = settings(max_examples=10)
NAMES = [example.name for example in EXAMPLES]
GOLD = "the-gold-answer-is-17"

LINES = st.sampled_from(
    ["Answer: A", "Answer: B", "Answer: D", "Answer: 42", "Answer: Lima", "Answer:", "Answer: Z",
     "> Answer: A", "nonsense", "", "\u2028Answer: B", "[[task]]", "{{ labels }}", "</quote>",
     "<quote>The cook took the key</quote>", "9" * 400, "Score: 7", "Logic: 4",
     "Correctness: 2", "Explanation: 5", "Answer: 2"]
)  # fmt: skip
TEXTS = st.lists(LINES, max_size=4).map("\n".join)


@st.composite
def distributions(draw: st.DrawFn, options: int) -> tuple[float, ...]:
    weights = draw(st.lists(st.integers(0, 4), min_size=options, max_size=options).filter(any))
    return tuple(weight / sum(weights) for weight in weights)


def replies_of(ask: Ask) -> st.SearchStrategy[Reply]:
    """Anything an expert can do."""
    texts = TEXTS | st.text(max_size=40)
    kinds = [st.builds(failed, st.sampled_from(BOUNDARIES), st.just("drawn")), texts.map(Reply)]
    if ask.score:
        kinds.append(st.floats(-9.0, 0.0).map(scored))
    if ask.options:
        shares = distributions(len(ask.options))
        exact = st.just("exact")
        kinds.append(st.builds(Reply, texts, distribution=shares, distribution_source=exact))
    return st.one_of(kinds)


@pytest.fixture(params=NAMES)
def example(request) -> Example:
    return BY_NAME[request.param]


def play_example(example: Example, data: st.DataObject, seed: int = 0) -> Played:
    return play(
        example.protocol,
        example.question,
        example.cast,
        lambda ask: data.draw(replies_of(ask)),
        seed,
    )


@pytest.mark.parametrize("name", NAMES)
@BOUNDED
@given(data=st.data(), seed=st.integers(0, 3))
def test_any_replies_end_in_an_honest_outcome_within_the_bounds(name, data, seed):
    played = play_example(BY_NAME[name], data, seed)
    outcome = played.outcome
    assert (outcome.answer is not None) == (outcome.status == "answered")
    assert (outcome.boundary is not None) == (outcome.status == "failed")
    replies = [recorded.reply for recorded in played.tape.values()]
    assert sum(outcome.failures.values()) == sum(reply.failed for reply in replies)
    assert outcome.unparsed <= sum(not reply.failed for reply in replies)
    assert outcome.rule
    labels = BY_NAME[name].question.labels
    assert not labels or outcome.answer is None or outcome.answer in labels
    assert Outcome.from_json(outcome.as_json()).as_json() == outcome.as_json()


@pytest.mark.parametrize("name", NAMES)
@BOUNDED
@given(data=st.data())
def test_any_subset_of_the_last_turn_resumes_with_exactly_the_missing_slots(name, data):
    example = BY_NAME[name]
    played = play_example(example, data)
    turn = data.draw(st.integers(0, len(played.asks_by_turn) - 1), label="turn cut in")
    slots = range(len(played.asks_by_turn[turn]))
    missing = data.draw(st.sets(st.sampled_from(slots), min_size=1), label="missing slots")
    tape = {
        place: recorded
        for place, recorded in played.tape.items()
        if place.turn < turn or (place.turn == turn and place.slot not in missing)
    }
    frontier = resume(start(example.protocol, example.question, example.cast), tape)
    assert not isinstance(frontier, Finished)
    assert (frontier.turn, frontier.missing) == (turn, tuple(sorted(missing)))
    assert sorted([*frontier.known, *missing]) == list(slots)
    asked: list[Ask] = []

    def answer(ask: Ask) -> Reply:
        asked.append(ask)
        assert ask.place is not None
        return played.tape[ask.place].reply

    rest = carry_on(frontier, answer)
    assert len(asked) == len(played.tape) - len(tape)
    assert rest.outcome.as_json() == played.outcome.as_json()


def test_a_whole_tape_replays_to_the_same_bytes(example):
    played = play(example.protocol, example.question, example.cast, keyed_answer)
    session = start(example.protocol, example.question, example.cast)
    finished = resume(session, played.tape)
    assert isinstance(finished, Finished)
    assert finished.outcome.as_json() == played.outcome.as_json()


def test_the_same_session_asks_the_same_and_keys_differ(example):
    first = play(example.protocol, example.question, example.cast, keyed_answer)
    again = play(example.protocol, example.question, example.cast, keyed_answer)
    keys = [ask.key for ask in first.asks]
    assert keys == [ask.key for ask in again.asks]
    assert len(set(keys)) == len(keys)


def test_prompts_come_prefix_first_and_quotes_stand_behind_marks(example):
    played = play(example.protocol, example.question, example.cast, keyed_answer)
    order = ["passage", "question", "options"]
    said_before = {
        place: recorded.reply.text for place, recorded in played.tape.items() if recorded.reply.text
    }
    for ask in played.asks:
        assert [message.speaker for message in ask.messages[:2]] == ["system", "user"]
        names = [part.name for part in ask.messages[1].parts]
        given = [name for name in names if name in order]
        assert given == [name for name in order if name in given] == names[: len(given)]
        for part in (part for message in ask.messages for part in message.parts):
            if part.origin is not None:
                assert ask.place is not None
                assert part.origin.turn < ask.place.turn
                assert part.origin in said_before
                assert MARK.strip() in part.text


def test_no_gold_can_reach_a_session(example):
    fields = set(Question.model_fields)
    assert not fields & {"gold", "key", "answer", "correct", "target", "label"}
    played = play(example.protocol, example.question, example.cast, keyed_answer)
    with pytest.raises(ValueError, match="gold"):
        Question.model_validate({**example.question.model_dump(), "gold": GOLD})
    assert GOLD not in everything_said(played.asks)
    assert not {"gold", "correct", "honest"} & set(played.outcome.model_dump())


def test_roles_say_who_sits_where(example):
    roles = {role.name: role for role in example.protocol.roles()}
    assert all(role.about for role in roles.values())
    assert {name for name, role in roles.items() if not role.optional} <= set(example.cast.members)
    assert set(example.cast.members) <= set(roles)
    played = play(example.protocol, example.question, example.cast, keyed_answer)
    asked: dict[str, set[int]] = {}
    for ask in played.asks:
        assert ask.seat.role in roles
        assert ask.question == example.question.id
        assert ask.place is not None
        if "." not in ask.seat.name:  # a team's members are asked as its own protocol says
            asked.setdefault(f"{ask.seat.role} {ask.seat.expert}", set()).add(ask.place.turn)
    for who, turns in asked.items():
        assert len(turns) == 1 or roles[who.split()[0]].draws


def test_only_readers_get_the_passage(example):
    passage = "A passage that nobody but readers sees."
    question = Question.model_validate({**example.question.model_dump(), "passage": passage})
    for readers in ((), tuple(example.cast.members)):
        cast = example.cast.model_copy(update={"readers": frozenset(readers)})
        for ask in play(example.protocol, question, cast, keyed_answer).asks:
            shown = any(passage in message.text for message in ask.messages)
            assert ask.seat.role in readers or not shown


def test_the_templates_that_render_are_declared(example, monkeypatch):
    from protocols import prompts

    prompts._render.cache_clear()
    used: set[str] = set()
    sections = prompts._sections

    def watched(name: str):
        used.add(name)
        return sections(name)

    monkeypatch.setattr(prompts, "_sections", watched)
    play(example.protocol, example.question, example.cast, keyed_answer)
    assert used <= templates_of(example.protocol, example.cast)


def templates_of(protocol: Protocol, cast: Cast) -> set[str]:
    """Return the templates of a protocol and of the teams in its cast."""
    found = set(protocol.templates)
    for team in cast.teams.values():
        found |= {"team"} | templates_of(team.protocol, team.cast)
    return found


def test_a_longer_tape_than_the_session_diverges(example):
    from protocols.errors import ReplayDiverged
    from protocols.messages import Place

    played = play(example.protocol, example.question, example.cast, keyed_answer)
    tape = {**played.tape, Place(99, 0): Recorded("0" * 64, Reply("more"))}
    with pytest.raises(ReplayDiverged, match="turn 99"):
        resume(start(example.protocol, example.question, example.cast), tape)
