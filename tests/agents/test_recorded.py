"""Recorded answers: the file, the expert, and what happens with files that are not right."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.engines import identify, make_engine
from agents.grading import grade, graded_singles
from agents.recorded import UNREAD, RecordedEngine
from agents.recorded_file import read_recorded
from agents.recorded_row import read_row
from agents.roster import Expert
from protocols.errors import Mistake
from protocols.messages import Message
from protocols.parsing import Parsed, Unparsed, read_answer
from protocols.question import QuestionKind
from protocols.replies import Reply
from tests.agents.making import ask_about, question_number, recorded_expert, row, write_rows


async def answer(expert: Expert, i: int = 0, **changes: Any) -> Reply:
    question = question_number(i).model_copy(update=changes)
    (reply,) = await make_engine(expert).generate([ask_about(expert, question)])
    assert isinstance(reply, Reply)
    return reply


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "questions.jsonl", *(row(i) for i in range(6)))


async def test_a_recorded_answer_is_given_again(path: Path) -> None:
    reply = await answer(recorded_expert(path, "bad"), 3)
    assert reply.text == "Answer: B"
    assert reply.usage.completion_tokens == 11  # a quarter of 41 characters, rounded up
    assert reply.usage.prompt_tokens > 10


async def test_a_null_answer_has_no_answer_line(path: Path) -> None:
    reply = await answer(recorded_expert(path, "mute"))
    assert reply.text == UNREAD
    assert isinstance(read_answer(reply, question_number(0)), Unparsed)


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ("nobody", {}, "'nobody' was not recorded"),
        ("good", {"text": "Which number is 77?"}, "was not recorded as asked"),
        ("good", {"options": ("3", "2", "1", "0")}, "was not recorded as asked"),
        ("good", {"options": ()}, "was not recorded as asked"),
    ],
    ids=["model", "question", "shuffled-options", "no-options"],
)
async def test_what_was_not_recorded_is_missing(
    path: Path, model: str, changes: dict[str, Any], words: str
) -> None:
    reply = await answer(recorded_expert(path, model), **changes)
    assert reply.failure is not None
    assert reply.failure.boundary == "provider"
    assert reply.failure.missing
    assert words in reply.failure.message


async def test_a_prompt_without_a_question_is_missing(path: Path) -> None:
    expert = recorded_expert(path)
    ask = ask_about(expert, question_number(0))
    bare = type(ask)(ask.seat, (Message("user", ()),))
    (reply,) = await make_engine(expert).generate([bare])
    assert isinstance(reply, Reply)
    assert reply.failure is not None
    assert "no part 'question'" in reply.failure.message


async def test_correctness_only_gives_no_answers(tmp_path: Path) -> None:
    lines = [row(i, answers=None, correct={"good": 1, "bad": 0}, chars=None) for i in range(3)]
    path = write_rows(tmp_path / "q.jsonl", *lines)
    file = read_recorded(path)
    assert file.correctness_only
    assert file.models == ("bad", "good")
    assert graded_singles(file, ["good"]) == {"good": {f"made/{i}": True for i in range(3)}}
    reply = await answer(recorded_expert(path))
    assert reply.failure is not None
    assert "only the correctness" in reply.failure.message


async def test_rows_of_the_same_content_are_told_apart_by_id(tmp_path: Path) -> None:
    twin = row(0, id="made/twin", answers={"good": "C"})
    path = write_rows(tmp_path / "q.jsonl", row(0), twin)
    expert = recorded_expert(path)
    assert (await answer(expert, 0)).text == "Answer: A"
    assert (await answer(expert, 0, id="made/twin")).text == "Answer: C"
    assert (await answer(expert, 0, id="another")).failed


async def test_the_id_does_not_matter_where_the_content_decides(path: Path) -> None:
    assert (await answer(recorded_expert(path), 2, id="renamed")).text == "Answer: A"


@given(st.text(min_size=1).filter(lambda text: bool(text.split())))
def test_any_text_answer_comes_back_as_it_was(text: str) -> None:
    line = row(0, kind="text", options=None, gold="x", answers={"good": text}, correct=None)
    recorded, question = read_row(json.dumps(line).encode())
    engine = RecordedEngine(Expert(label="good", model="recorded/made/good", data="unused"))
    said = engine.said(recorded)
    assert recorded.answers is not None
    wanted = " ".join((recorded.answers["good"] or "").split()).casefold()
    assert read_answer(said, question) == Parsed(wanted)


async def test_unload_and_load_read_a_changed_file(path: Path) -> None:
    expert = recorded_expert(path)
    before = identify(expert)
    engine = make_engine(expert)
    await engine.load()
    size = os.stat(path).st_size
    answers = {"good": "D", "bad": "B", "mute": None}
    write_rows(path, *(row(i, answers=answers) for i in range(6)))
    os.utime(path, ns=(1, 1))
    assert os.stat(path).st_size == size
    await engine.unload()
    await engine.load()
    (reply,) = await engine.generate([ask_about(expert, question_number(1))])
    assert isinstance(reply, Reply)
    assert reply.text == "Answer: D"
    assert identify(expert) != before


def test_the_same_file_is_read_once(path: Path) -> None:
    assert read_recorded(path) is read_recorded(str(path))


def test_gzip_and_plain_are_the_same_file(path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    plain, unpacked = read_recorded(path), read_recorded(packed)
    assert plain.digest == unpacked.digest
    assert plain.revision("good") == unpacked.revision("good")
    assert plain.rows == unpacked.rows


def test_a_revision_is_the_column_and_nothing_else(tmp_path: Path) -> None:
    def revision(name: str, *rows: dict[str, Any], model: str = "good") -> str:
        return read_recorded(write_rows(tmp_path / name, *rows)).revision(model)

    plain = revision("a", row(0), row(1))
    assert len(plain) == 16
    assert revision("b", row(1), row(0)) == plain
    renamed = row(1, id="other", category="x", answers={"good": "A", "bad": "C"})
    assert revision("c", row(0), renamed) == plain
    assert revision("d", row(0), row(1, answers={"good": "B"})) != plain
    assert revision("e", row(0), row(1, answers={"good": None})) != plain
    assert revision("f", row(0), row(1, answers={"bad": "A"})) != plain
    assert revision("g", row(0), row(1, question="Another?")) != plain
    assert revision("h", row(0), row(1, correct={"good": 1})) != plain
    assert revision("i", row(0), row(1), model="bad") != plain


def test_questions_and_key_are_apart(path: Path) -> None:
    file = read_recorded(path)
    question = file.question(file.rows[2])
    assert (question.id, question.kind, question.labels) == ("made/2", "choice", tuple("ABCD"))
    assert "gold" not in question.model_dump()
    assert file.gold["made/2"] == "A"
    assert file.answers["mute"] == {f"made/{i}": None for i in range(6)}
    assert file.flags == {}
    assert file.models == ("bad", "good", "mute")


@pytest.mark.parametrize(
    ("written", "options", "kind"),
    [
        ("mcq", ["1", "2"], "choice"),
        ("mcq", None, "choice"),
        ("mcq", [], "choice"),
        ("numeric", None, "number"),
        ("text", None, "text"),
    ],
)
def test_kinds(tmp_path: Path, written: str, options: list[str] | None, kind: str) -> None:
    gold = "A" if written == "mcq" else "12"
    line = row(0, kind=written, options=options, gold=gold, answers={"good": gold})
    file = read_recorded(write_rows(tmp_path / "q", line))
    assert file.question(file.rows[0]).kind == kind


GOOD = json.dumps(row(0))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "is not a JSON object"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"id": NaN}', "NaN is not a JSON value"),
        (json.dumps(row(0)), "'made/0' stands on line 1 already"),
        (row(1, id=None), "'id' is missing"),
        (row(1, id=""), "a question needs an id"),
        (row(1, id=["x"]), "neither text nor null"),
        (row(1, kind="essay"), "'kind' is one of mcq, numeric, text"),
        (row(1, kind=["mcq"]), "'kind' is one of"),
        (row(1, question="  "), "a question needs a text"),
        (row(1, options="A"), "'options'"),
        (row(1, options=["1", 2]), "'options'"),
        (row(1, options=["1"]), "2 to 26 options"),
        (row(1, options=[str(i) for i in range(27)]), "2 to 26 options"),
        (row(1, kind="text"), "kind 'choice'"),
        (row(1, gold=None), "'gold' is missing"),
        (row(1, answers=["A"]), "'answers'"),
        (row(1, answers={"good": {"x": 1}}), "'answers' of 'good'"),
        (row(1, answers={"good": True}), "'answers' of 'good'"),
        (row(1, correct={"good": 2}), "'correct' of 'good'"),
        (row(1, correct={"good": "1"}), "'correct' of 'good'"),
        (row(1, chars={"good": -1}), "'chars' of 'good'"),
        (row(1, answers=None), "neither 'answers' nor 'correct'"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str | dict[str, Any], words: str) -> None:
    path = write_rows(tmp_path / "q.jsonl", GOOD, line, row(2))
    with pytest.raises(Mistake) as caught:
        read_recorded(path)
    message = str(caught.value)
    assert f"{path}, line 2: " in message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no question"),
        (b"\n \n\n", "holds no question"),
        (b"\xff\xfe{}\n", "line 1: is not UTF-8"),
        (b"\x1f\x8b broken", "gzip data is damaged"),
        (gzip.compress(GOOD.encode(), mtime=0)[:-20], "gzip data is damaged"),
        (gzip.compress(b"", mtime=0), "holds no question"),
    ],
    ids=["empty", "blank", "utf-16", "gzip", "cut-gzip", "empty-gzip"],
)
def test_a_broken_file_is_a_mistake(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(content)
    with pytest.raises(Mistake, match=words):
        read_recorded(path)


def test_a_missing_file_and_a_folder_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"none\.jsonl: No such file.*check the path"):
        read_recorded(tmp_path / "none.jsonl")
    with pytest.raises(Mistake, match="cannot be read"):
        read_recorded(tmp_path)


def test_odd_but_right_files(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    lines = [
        json.dumps(row(0)),
        "",
        json.dumps(row(1, question="two\u2028lines \ud800 and \x00", extra={"a": 1})),
        json.dumps(row(2, kind="numeric", options=None, gold=12, answers={"good": 12.0})),
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    file = read_recorded(path)
    assert file.rows[1].question == "two\u2028lines \ufffd and \ufffd"
    assert graded_singles(file, ["good"])["good"]["made/2"]


@pytest.mark.parametrize(
    ("expert", "words"),
    [
        (Expert(label="x", model="recorded/made/good"), "x: a recorded expert needs its file"),
        (Expert(label="x", model="recorded/made", data="q"), "is not recorded/<data set>/<model>"),
        (Expert(label="x", model="recorded/made/", data="q"), "is not recorded/<data set>/<model>"),
    ],
)
def test_an_incomplete_expert_is_a_mistake(expert: Expert, words: str) -> None:
    with pytest.raises(Mistake, match=words):
        identify(expert)
    with pytest.raises(Mistake, match=words):
        asyncio.run(make_engine(expert).load())


@pytest.mark.parametrize(
    ("said", "gold", "kind", "right"),
    [
        ("A", "(A)", "choice", True),
        ("b", "B", "choice", True),
        ("(A) or (B)", "(A)", "choice", False),
        ("1,000.0", "1000", "number", True),
        ("$18", "18.00", "number", True),
        ("nan", "nan", "number", False),
        ("18 eggs", "18", "number", False),
        (" Valid ", "valid", "text", True),
        ("valid", "invalid", "text", False),
        ("", "", "text", False),
        (None, "A", "choice", False),
    ],
)
def test_grading(said: str | None, gold: str, kind: QuestionKind, right: bool) -> None:
    assert grade(said, gold, kind) is right


def test_the_flag_of_the_source_counts_before_gold(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "q.jsonl",
        row(0, correct={"good": 0, "bad": 1, "gone": 1}),
        row(1, correct={"good": 1}),
    )
    graded = graded_singles(read_recorded(path), ["good", "bad", "mute", "gone", "nobody"])
    assert graded == {
        "good": {"made/0": False, "made/1": True},
        "bad": {"made/0": True, "made/1": False},
        "mute": {"made/0": False, "made/1": False},
        "gone": {},
        "nobody": {},
    }
