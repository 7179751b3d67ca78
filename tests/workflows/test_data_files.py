from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import Mistake
from protocols.outcome import Outcome
from tests.workflows.making import DATA, load, make, read_packed, recorded_row, write_lines
from workflows.data.pack import by_hash, write
from workflows.questions.data_files import load_inputs, run_name
from workflows.questions.sources import packed_names
from workflows.recruiting.measuring import profile_source
from workflows.settings.configuration import load_workflow
from workflows.settings.sections import ProfileSpec


def mistake(path: str | Path, **fields: Any) -> str:
    with pytest.raises(Mistake) as caught:
        load(path, **fields)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "questions", "recorded"),
    [
        ("gsm8k", 40, True),
        ("bbh", 40, True),
        ("llmrouter9", 40, True),
        ("pandalm", 28, False),
        ("nyu_sessions", 12, False),
    ],
)
def test_published_kinds_are_told_by_their_content(
    name: str, questions: int, recorded: bool
) -> None:
    loaded = load(DATA / f"{name}.jsonl.gz")
    assert len(loaded.questions) == questions
    assert (loaded.recorded is not None) is recorded
    assert len({question.id for question in loaded.questions}) == questions
    for question in loaded.questions:
        gold = loaded.key.gold[question.id]
        assert gold in question.labels if question.labels else gold


def test_recorded_answers_keep_gold_flags_and_what_was_unread(tmp_path: Path) -> None:
    rows = [
        recorded_row(1),
        recorded_row(2, gold="(C)", correct={"good": 1, "bad": 0}),
        recorded_row(3, kind="numeric", options=None, gold="1,200.50", answers={"bad": "1200.5"}),
    ]
    key = load(write_lines(tmp_path / "r.jsonl", rows)).key
    assert key.gold == {"t/1": "B", "t/2": "C", "t/3": "1200.5"}
    assert key.kinds == {"t/1": "choice", "t/2": "choice", "t/3": "number"}
    assert key.flags == {"good": {"t/2": 1}, "bad": {"t/2": 0}}
    assert key.singles["good"] == {"t/1": True, "t/2": True}  # the flag, not "B" against "C"
    assert key.singles["bad"] == {"t/1": False, "t/2": False, "t/3": True}
    assert key.unread["mute"] == ("t/1", "t/2")


def test_votes_are_questions_with_two_responses(tmp_path: Path) -> None:
    row: dict[str, Any] = {"id": "v/1", "item": "i", "category": "c", "votes": {}}
    text = {"instruction": "Sum up.", "input": "Long.", "response_1": "x", "response_2": ""}
    rows: list[dict[str, Any]] = [
        {**row, **text, "gold": "2"},
        {**row, **text, "id": "v/2", "human_majority": "1", "input": ""},
        {**row, **text, "id": "v/3", "human_majority": "tie"},
        {**row, "id": "v/4", "gold": "1", "pair_sha256": "00"},
    ]
    loaded = load(write_lines(tmp_path / "v.jsonl", rows))
    assert [question.id for question in loaded.questions] == ["v/1", "v/2"]
    assert loaded.key.gold == {"v/1": "B", "v/2": "A"}
    assert loaded.questions[0].options == ("x", "(an empty response)")
    assert "Input: Long." in loaded.questions[0].text
    assert "Input" not in loaded.questions[1].text
    assert {question.unit for question in loaded.questions} == {"i"}
    assert loaded.notes == (
        "1 of 4 pairs carry no text and are left out",
        "1 of 4 pairs are a tie among people and are left out",
    )
    assert "gold '3'" in mistake(write_lines(tmp_path / "w.jsonl", [{**rows[0], "gold": "3"}]))
    assert "no question that can be asked" in mistake(write_lines(tmp_path / "x.jsonl", [rows[3]]))


def test_sessions_of_one_question_are_one_question(tmp_path: Path) -> None:
    row = read_packed("nyu_sessions")[0]
    other = {**row, "id": "nyu/again", "answers": row["answers"][::-1], "gold": 1 - row["gold"]}
    loaded = load(write_lines(tmp_path / "c.jsonl", [row, other]))
    assert [question.id for question in loaded.questions] == [f"nyu/{row['question_id']}"]
    assert loaded.questions[0].options == tuple(row["answers"])
    assert loaded.questions[0].passage is None
    assert loaded.questions[0].unit == row["story_id"]
    wrong = write_lines(tmp_path / "d.jsonl", [row, {**other, "gold": row["gold"]}])
    assert f"{wrong}:2: question" in mistake(wrong)


def test_passages_share_a_cluster_and_know_their_story() -> None:
    loaded = load("moot:nyu_passages")
    assert len(loaded.questions) == 100
    assert all(question.passage and len(question.options) == 2 for question in loaded.questions)
    assert all(question.id.startswith("nyu/") for question in loaded.questions)
    assert len({question.unit for question in loaded.questions}) == 31


@pytest.mark.parametrize("change", [{"options": ["x"], "gold": 0}, {"gold": 2}, {"gold": True}])
def test_a_malformed_passage_question_names_its_line(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    question = {"question_id": "q", "question": "Why?", "options": ["x", "y"], "gold": 1} | change
    path = write_lines(tmp_path / "p.jsonl", [{"id": "s/1", "text": "T", "questions": [question]}])
    assert mistake(path).startswith(f"{path}:1: ")


OWN = [
    {"key": 1, "ask": "Two and two?", "choices": ["3", "four"], "right": "four", "story": "s"},
    {"key": 2, "ask": "Two and one?", "choices": ["3", "four"], "right": "A", "story": "s"},
    {"key": 3, "ask": "One and one?", "choices": ["two", "one", "none"], "right": 0, "story": None},
]
FIELDS = {"id": "key", "text": "ask", "options": "choices", "gold": "right", "cluster": "story"}


def write_own(path: Path) -> str:
    """The rows of OWN in the format that the path's ending names."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, list(OWN[0]))
            writer.writeheader()
            for row in OWN:
                writer.writerow({**row, "choices": json.dumps(row["choices"])})
    elif path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        rows = [{**row, "right": str(row["right"])} for row in OWN]
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        write_lines(path, OWN)
    return str(path)


@pytest.mark.parametrize("name", ["own.jsonl", "own.csv", "own.parquet"])
@pytest.mark.parametrize("compress", [False, True])
def test_own_rows_with_a_field_map(tmp_path: Path, name: str, compress: bool) -> None:
    path = write_own(tmp_path / name)
    plain = load(path, fields=FIELDS)
    if compress:
        packed = tmp_path / f"{name}.gz"
        packed.write_bytes(gzip.compress(Path(path).read_bytes()))
        assert load(packed, fields=FIELDS).content_digest == plain.content_digest
        path = str(packed)
    loaded = load(path, fields=FIELDS)
    assert [question.id for question in loaded.questions] == ["1", "2", "3"]
    assert loaded.key.gold == {"1": "B", "2": "A", "3": "A"}
    assert [question.unit for question in loaded.questions] == ["s", "s", "3"]
    assert loaded.recorded is None


def test_options_in_columns_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,question,a,b,c,gold\n1,Why?,x,y,,y\n2,Who?,x,y,z,C\n", encoding="utf-8")
    loaded = load(path, fields={"options": ["a", "b", "c"]})
    assert [question.options for question in loaded.questions] == [("x", "y"), ("x", "y", "z")]
    assert loaded.key.gold == {"1": "B", "2": "C"}


def test_kinds_of_free_answers(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "1", "text": "a", "gold": "1e3"},
        {"id": "2", "text": "b", "gold": 2.50},
    ]
    numbers = load(write_lines(tmp_path / "n.jsonl", rows))
    assert numbers.key.gold == {"1": "1000", "2": "2.5"}
    texts = load(write_lines(tmp_path / "t.jsonl", [*rows, {**rows[0], "id": 3, "gold": "Bob"}]))
    assert set(texts.key.kinds.values()) == {"text"}
    said = [{**row, "kind": "text"} for row in rows]
    assert load(write_lines(tmp_path / "k.jsonl", said)).key.gold["1"] == "1e3"


def test_rows_without_gold_can_be_asked_but_not_scored(tmp_path: Path) -> None:
    loaded = load(write_lines(tmp_path / "q.jsonl", [{"id": 1, "text": "Why?"}]))
    assert loaded.key.gold == {}
    assert "nothing can be scored" in loaded.notes[0]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": "2", "gold": "A"}, "no 'text'"),
        ({"id": None, "text": "x", "gold": "A"}, "no 'id'"),
        ({"id": "2", "text": "x", "options": ["a", "b"]}, "no 'gold'"),
        ({"id": "2", "text": "x", "options": ["a", "b"], "gold": "C"}, "not among the options"),
        ({"id": "2", "text": "x", "options": ["a", "b"], "gold": 2}, "not among the options"),
        ({"id": "2", "text": "x", "options": ["B", "A"], "gold": "A"}, "could mean A or B"),
        ({"id": "2", "text": "x", "options": ["0", "1", "2"], "gold": 1}, None),
        ({"id": "2", "text": "x", "options": ["1", "0"], "gold": 0}, "could mean A or B"),
        ({"id": "2", "text": "x", "options": "a, b", "gold": "A"}, "no list of options"),
        ({"id": "2", "text": "x", "options": ["a"], "gold": "A"}, "2 to 26 options"),
        ({"id": "2", "text": "x", "options": [str(i) for i in range(27)], "gold": "A"}, "2 to 26"),
        ({"id": "2", "text": "x", "options": ["a", None], "gold": "A"}, "an option is empty"),
        ({"id": "2", "text": {"x": 1}, "options": ["a", "b"], "gold": "A"}, "not text"),
        ({"id": "1", "text": "x", "options": ["a", "b"], "gold": "A"}, "id '1' stands at"),
        ({"id": "2", "text": "x", "kind": "essay", "gold": "A"}, "kind 'essay'"),
        ({"id": "2", "text": "x", "kind": "number", "gold": "many"}, "no answer of kind 'number'"),
    ],
)
def test_a_wrong_own_row_names_its_line(
    tmp_path: Path, row: dict[str, Any], says: str | None
) -> None:
    first = {"id": "1", "text": "ok", "options": ["a", "b"], "gold": "A", "kind": None}
    path = write_lines(tmp_path / "bad.jsonl", [first, row])
    if says is None:
        assert load(path).key.gold["2"] == "B"
        return
    text = mistake(path)
    assert text.startswith(f"{path}:2: ")
    assert says in text


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("e.jsonl", b"", "holds no question"),
        ("e.jsonl", b"\n \n", "holds no question"),
        ("e.csv", b"id,text\n", "holds no question"),
        ("e.jsonl.gz", gzip.compress(b"", mtime=0), "holds no question"),
        ("m.jsonl", b'{"id": 1, "text": "x"}\n{"id": 2,\n', ":2: malformed line, not JSON"),
        ("m.jsonl", b"[1]\n", ":1: malformed line, not a JSON object"),
        ("m.jsonl", b"[" * 100_000, ":1: malformed line"),
        ("m.jsonl", b'{"id": "\xff"}\n', ":1: not UTF-8"),
        ("m.csv", b"id,text\n1,a\n2\n", ":3: malformed line, not 2 cells"),
        ("m.csv", b"id,text\n1,a,b\n", ":2: malformed line, not 2 cells"),
        ("m.csv", b'id,text\n1,"a"b\n', ":2: malformed line"),
        ("m.csv", b"id,text\n1,a\n2,\xff\n", ":3: not UTF-8"),
        ("m.jsonl.gz", gzip.compress(b"x" * 1000, mtime=0)[:-20], "gzip compression is broken"),
        ("m.parquet", b"PAR1 and nothing more", "not a readable Parquet file"),
        ("m.jsonl", b'{"name": 1}\n', "no field 'id'"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    text = mistake(path)
    assert text.startswith(str(path))
    assert says in text


def test_a_malformed_line_of_recorded_answers_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", [recorded_row(1), recorded_row(2, kind="essay")])
    assert "line 2" in mistake(path)
    path = write_lines(tmp_path / "s.jsonl", [recorded_row(1), recorded_row(1)])
    assert "t/1" in mistake(path)


def test_a_recorded_gold_answer_that_is_no_answer_is_told_and_never_right(tmp_path: Path) -> None:
    """Published data holds a few: they may not keep the rest of the file from being used."""
    first = recorded_row(1)
    written_out = recorded_row(2, gold=first["options"][1])
    path = write_lines(tmp_path / "r.jsonl", [first, written_out, recorded_row(3, gold="Monsters")])
    loaded = load(path)
    assert loaded.key.gold["t/2"] == "B"
    assert "the gold answer of 't/3' is no answer to it" in loaded.notes[0]
    answered = Outcome(status="answered", answer="A", rule="plurality")
    assert loaded.key.correctness(answered, "t/3") == 0.0
    read = answered.model_copy(update={"readings": ((1.0, 0.0),)})
    assert loaded.key.correctness(read, "t/3") == 0.0
    assert [q.id for q in load(path, pair=True).questions] == ["t/1", "t/2"]


def test_pairs_need_gold_answers(tmp_path: Path) -> None:
    rows = [{"id": "1", "text": "Which?", "options": ["x", "y", "z"]}]
    path = write_lines(tmp_path / "nogold.jsonl", rows)
    assert "questions.pair needs a gold answer" in mistake(path, pair=True)


def test_missing_files_and_fields(tmp_path: Path) -> None:
    assert "no such file" in mistake(tmp_path / "none.jsonl")
    assert "is a directory" in mistake(tmp_path)
    assert "moot:mmlu_pro_questions" in mistake("moot:nothing")
    path = write_lines(tmp_path / "f.jsonl", OWN)
    text = mistake(path, fields={**FIELDS, "gold": "wright"})
    assert "'wright' (questions.fields.gold); did you mean 'right'?" in text
    assert "leave questions.fields out" in mistake(
        "moot:nyu_passages", format="passages", fields={}
    )
    assert "not a row of the format votes" in mistake(path, format="votes")


def test_hostile_text_is_cleaned_and_lines_are_not_broken(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    row = {"id": "h\u2028x", "text": "nul \0 and \ud800", "options": ["a\u0085b", "c"], "gold": "B"}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    question = load(path).questions[0]
    assert (question.id, question.text) == ("h\u2028x", "nul \ufffd and \ufffd")
    raw = '{"id": "u", "text": "one\u2028line"}\n'
    path.write_text(raw, encoding="utf-8")
    assert load(path).questions[0].text == "one\u2028line"


NAMES = st.sampled_from(
    [
        "id",
        "text",
        "question",
        "options",
        "gold",
        "passage",
        "cluster",
        "kind",
        "votes",
        "human_majority",
        "response_1",
        "response_2",
        "instruction",
        "question_id",
        "answers",
        "correct",
        "rounds",
        "questions",
        "story_id",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.text("aB1\0\n ", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=8), max_size=3), st.booleans())
def test_any_rows_are_questions_or_a_mistake(rows: list[dict[str, Any]], pair: bool) -> None:
    with TemporaryDirectory() as folder:
        path = write_lines(Path(folder) / "any.jsonl", rows)
        try:
            loaded = load(path, pair=pair)
        except Mistake as mistake:
            text = str(mistake)
        else:
            assert loaded.questions
            return
        assert "\n" not in text


def test_a_long_cell_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text(f"id,text,passage\n1,Why?,{'word ' * 60_000}\n", encoding="utf-8")
    assert len(load(path).questions[0].passage or "") == 300_000


def test_limit_is_seeded_stable_and_grows(tmp_path: Path) -> None:
    rows = [{"id": f"q{i}", "text": "x"} for i in range(200)]
    path = write_lines(tmp_path / "l.jsonl", rows)
    shuffled = write_lines(tmp_path / "s.jsonl", rows[::-1])

    def ids(path: str, **fields: Any) -> list[str]:
        return [question.id for question in load(path, **fields).questions]

    some = ids(path, limit=20)
    assert len(some) == 20
    assert some == sorted(some, key=lambda id: int(id[1:]))  # the order of the file
    assert set(ids(shuffled, limit=20)) == set(some)
    assert set(some) < set(ids(path, limit=40))
    assert set(ids(path, limit=20, seed=1)) != set(some)
    assert len(ids(path, limit=1000)) == 200
    assert ids(path, ids=["q7", "q3"]) == ["q3", "q7"]
    assert "no question 'q777'" in mistake(path, ids=["q777"])
    assert load(path, limit=20).content_digest == load(path).content_digest


def test_the_run_is_named_by_its_data(tmp_path: Path) -> None:
    data: dict[str, Any] = {
        "questions": {"path": write_lines(tmp_path / "a.jsonl", [recorded_row(1)])},
        "protocols": [{"kind": "plurality"}],
    }
    name = run_name(*make(data, "skills.yaml"))
    assert name.startswith("skills-")
    assert len(name) == len("skills-") + 8
    assert run_name(*make({**data, "seed": 5}, "skills.yaml")) == name
    other = {"path": write_lines(tmp_path / "b.jsonl", [recorded_row(2)])}
    assert run_name(*make({**data, "questions": other}, "skills.yaml")) != name
    assert run_name(*make({**data, "profile": other}, "skills.yaml")) != name
    assert run_name(*make({**data, "name": "mine"}, "skills.yaml")) == "mine"


def test_a_profile_holds_recorded_answers(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "o.jsonl", [{"id": 1, "text": "x"}])
    with pytest.raises(Mistake, match="no recorded answers"):
        profile_source(ProfileSpec(path=str(path)), "moot.db")


def test_packed_data_is_whole_and_its_parts_do_not_overlap() -> None:
    assert packed_names() == ["mmlu_pro_profile", "mmlu_pro_questions", "nyu_passages"]
    inputs = load_inputs(load_workflow("skills"))
    assert inputs.profile is not None
    asked = {question.id for question in inputs.questions.questions}
    assert inputs.profile.recorded is not None
    measured = set(inputs.profile.recorded.questions)
    assert (len(asked), len(measured), asked & measured) == (400, 407, set())
    assert len(inputs.profile.experts) == 7


def test_packing_gives_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    rows = [{"id": f"q{i}", "text": "\u00e9"} for i in range(9)]
    for name, order in (("a.gz", rows), ("b.gz", rows[::-1])):
        write(tmp_path / name, order)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4)  # no time
    assert by_hash(rows, "x") == by_hash(rows[::-1], "x") != by_hash(rows, "y")
