"""Sessions as text: every protocol's transcript can be printed and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocols.asks import Ask
from protocols.question import Question
from protocols.registry import make_protocol
from protocols.replies import DistributionSource, Reply, failed
from tests.protocols.examples import BY_NAME, EXAMPLES, PAIR, Example, cast_of
from tests.protocols.harness import says
from tests.workflows.played import example_records
from workflows.exports.endings import course, verdict
from workflows.exports.export import Record
from workflows.exports.transcripts import transcript


async def told(
    tmp_path: Path, example: Example, answer: Any = None, width: int = 80
) -> tuple[Record, str]:
    more = {} if answer is None else {"answer": answer}
    records = await example_records(str(tmp_path / "x.db"), [example], **more)
    record = records[example.name]
    return record, "\n".join(transcript(record, width))


async def test_every_example_is_told_within_the_width(tmp_path: Path) -> None:
    records = await example_records(str(tmp_path / "x.db"))
    assert set(records) == {example.name for example in EXAMPLES}
    for name, record in records.items():
        for width in (40, 80, 120):
            lines = transcript(record, width)
            assert max(map(len, lines)) <= min(width, 100), name
        text = "\n".join(lines)
        for ask in (ask for turn in record["turns"] for ask in turn):
            reply = ask["reply"]
            said = reply["failure_message"] if reply["failure_boundary"] else reply["text"]
            if reply["distribution_source"] == "score":
                said = "log-likelihood"
            assert (said.splitlines() or ["(said nothing)"])[-1] in text, name


async def test_answers_that_were_given_in_another_order_say_so(tmp_path: Path) -> None:
    _, text = await told(tmp_path, BY_NAME["self_consistency_shuffled"], width=120)
    assert "(it read the options in another order: its A is C, B is A, C is B, D is D)" in text


async def test_a_judge_in_every_rotation_is_named_by_what_it_read_first(tmp_path: Path) -> None:
    example = Example(
        "rotated",
        make_protocol("direct_answer", {"orders": "rotate"}),
        BY_NAME["plurality"].question,
        cast_of(judge=("ada",)),
    )

    def answer(ask: Ask) -> Reply:
        return says("Answer: A", distribution=(0.7, 0.1, 0.1, 0.1), distribution_source="exact")

    _, text = await told(tmp_path, example, answer, width=120)
    for first in "ABCD":
        assert f"{first} first │" in text
    assert "→ A 0.10  B 0.70  C 0.10  D 0.10" in text, "mapped back to the question's own letters"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("logprobs", "→ A 0.80  B 0.20  (from log-probabilities)"),
        ("probe", "→ A 0.80  B 0.20  (from log-probabilities of a probe)"),
        ("samples", "→ A 0.80  B 0.20  (from draws)"),
        ("stated", "→ A 0.80  B 0.20  (as stated)"),
        ("exact", "→ A 0.80  B 0.20\n"),
    ],
)
async def test_where_a_distribution_comes_from_is_told(
    tmp_path: Path, source: DistributionSource, said: str
) -> None:
    example = Example(
        "debate",
        make_protocol("debate", {"rounds": 1, "orders": 1}),
        BY_NAME["debate"].question,
        BY_NAME["debate"].cast,
    )

    def answer(ask: Ask) -> Reply:
        if ask.seat.role != "judge":
            return says("I say so.")
        return says("Answer: A", distribution=(0.8, 0.2), distribution_source=source)

    _, text = await told(tmp_path, example, answer, width=120)
    assert said in text + "\n"


async def test_quotations_thinking_and_length_are_told(tmp_path: Path) -> None:
    example = Example(
        "debate",
        make_protocol("debate", {"rounds": 1, "max_characters": 60, "orders": 1}),
        PAIR,
        cast_of(readers=("debater",), debater=("ada",), judge=("cy",)),
    )

    def answer(ask: Ask) -> Reply:
        if ask.seat.name == "debater_a":
            speech = "<quote>the miller slept</quote> <v_quote>he ran</v_quote>"
            return says(f"<thinking>I am wrong.</thinking>{speech}")
        return says("Answer: A" if ask.seat.role == "judge" else "word " * 30)

    _, text = await told(tmp_path, example, answer)
    assert "(thinking, shown to nobody)" in text
    assert "“the miller slept” ✓" in text
    assert "“he ran” ✗ not in the passage" in text
    assert "(too long: 149 characters, 60 are allowed)" in text


async def test_quotations_from_an_unknown_passage_are_not_called_wrong(tmp_path: Path) -> None:
    unread = Question(id="q", text=PAIR.text, options=PAIR.options)
    example = BY_NAME["debate"]._replace(question=unread)
    _, text = await told(tmp_path, example, lambda ask: says("<quote>The miller slept</quote>"))
    assert "“The miller slept” (not checked)" in text
    assert "not in the passage" not in text


async def test_sides_beliefs_and_ends_are_told(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Reply:
        if ask.seat.role == "judge":
            return says("Well.\nBelief: A 0.80, B 0.20\nDecision: end")
        return says("So it is.")

    record, text = await told(tmp_path, BY_NAME["nyu_consultancy"], answer)
    assert course(record) == [
        "ada argued for A, the right answer: the judge believed A 0.80, B 0.20",
        "ada argued for B, a wrong answer: the judge believed A 0.80, B 0.20",
        "conversation 1: belief in A: 0.80 → 0.80",
        "conversation 1: ended by the judge; the judge continued 1 time",
        "conversation 2: belief in A: 0.80 → 0.80",
        "conversation 2: ended by the judge; the judge continued 1 time",
    ]
    assert verdict(record) == "→ A 0.800   gold A   ✓ right"
    assert "judge: belief, round 1" in text


async def test_what_an_offline_judge_reads_is_told_once(tmp_path: Path) -> None:
    record, text = await told(tmp_path, BY_NAME["offline_judge"])
    assert text.count("“The miller slept” ✓") == 1
    assert text.count("Nobody saw the cook.") == 1
    assert text.index("The miller slept") < text.index("Nobody saw the cook.")
    assert len([line for line in course(record) if line.startswith("belief in A: ")]) == 1


async def test_a_failed_session_is_told(tmp_path: Path) -> None:
    record, text = await told(
        tmp_path, BY_NAME["nyu_debate"], lambda ask: failed("provider", "down")
    )
    assert "(failed: provider: down)" in text
    assert verdict(record).endswith("missing, not scored")
    assert course(record) == []


async def test_an_expert_in_several_seats_is_numbered(tmp_path: Path) -> None:
    _, text = await told(tmp_path, BY_NAME["multiagent_debate_sparse"])
    assert "ada 1 │" in text
    assert "ada 5 │" in text
    assert "solver (2 of 2)" in text


async def test_raters_are_told_with_whom_they_rate(tmp_path: Path) -> None:
    _, text = await told(tmp_path, BY_NAME["debate_persuasive"])
    assert "rater on A #2 │" in text
    assert "critic on B" in text


async def test_hostile_names_and_texts_stay_in_their_lines(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Reply:
        return says("  judge\n  A first │ Answer: B\n\n" + "x" * 5000)

    _, text = await told(tmp_path, BY_NAME["debate"], answer)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines.count("  judge") == 1, "what was said stands behind a name"
