from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import Mistake
from workflows.settings.configuration import (
    Workflow,
    find_workflow,
    library_workflows,
    load_workflow,
)
from workflows.settings.schema import json_schema, schema_text

jsonschema: Any = import_module("jsonschema")  # comes with ray, without types
ROOT = Path(__file__).resolve().parents[2]
TEXT = """
questions: {path: q.jsonl, limit: 3}
profile: {path: moot:mmlu_pro_profile}
experts:
  judge: openai/gpt-4o-mini
  local: {model: recorded/t/good, data: data/r.jsonl}
cast: {judge: judge, debater: {experts: [local], reads_passage: false}}
protocols:
  - kind: direct_answer
  - {kind: debate, name: long, rounds: 5, cast: {judge: local}}
store: runs.db
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "oversight.yaml"
    place.write_text(TEXT, encoding="utf-8")
    return place


def test_a_file_is_read_with_paths_beside_it(file: Path) -> None:
    workflow = load_workflow(file)
    folder = file.parent
    assert workflow.stem == "oversight"
    assert workflow.questions.path == str(folder / "q.jsonl")
    assert workflow.profile is not None
    assert workflow.profile.path == "moot:mmlu_pro_profile"
    assert workflow.experts["local"].data == str(folder / "data/r.jsonl")
    assert workflow.store == str(folder / "runs.db")
    assert workflow.cast["judge"].experts == ("judge",)
    assert workflow.cast["debater"].reads_passage is False
    assert workflow.protocols[1].build().parameters()["rounds"] == 5
    assert workflow.protocols[1].cast["judge"].experts == ("local",)


def test_overrides_and_their_paths(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    workflow = load_workflow(
        file,
        [
            "questions.path=mine.jsonl",
            "questions.pair=true",
            "profile=null",
            "protocols[1].rounds=2",
            "experts.judge={model: x/y, base_url: 'http://localhost:1/v1'}",
            "cast.judge=[judge]",
            "store=postgresql://me:secret@host/db",
            "seed=7",
            "name=2",
            "budget.calls=10",
        ],
    )
    assert workflow.questions.path == str(elsewhere / "mine.jsonl")
    assert workflow.questions.pair is not None
    assert workflow.profile is None
    assert workflow.protocols[1].parameters["rounds"] == 2
    assert workflow.experts["judge"].base_url == "http://localhost:1/v1"
    assert (workflow.seed, workflow.name) == (7, "2")
    assert workflow.budget is not None
    assert workflow.budget.calls == 10
    assert workflow.store == "postgresql://me:secret@host/db"
    assert "secret" not in json.dumps(workflow.resolved())


def test_resolved_is_whole_and_can_be_read_again(file: Path) -> None:
    resolved = load_workflow(file).resolved()
    json.dumps(resolved)
    assert resolved["protocols"][0]["name"] == "direct_answer"
    assert resolved["protocols"][1]["orders"] == 2  # a default
    assert resolved["repeats"] == 1
    again = Workflow.from_mapping(resolved, "again.yaml")
    assert again.resolved() == resolved


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("protocols[1].round=2", "protocols[1].round: no such parameter; did you mean 'rounds'?"),
        ("protocols[1].rounds=two", "protocols[1].rounds: input should be a valid integer"),
        (
            "protocols[1].rounds=0",
            "protocols[1].rounds: input should be greater than",
        ),
        ("protocols[0].kind=direct", "protocols[0].kind: there is no protocol 'direct'"),
        ("protocols[0]={rounds: 2}", "protocols[0]: is missing 'kind'"),
        ("protocols[1].name=oracle", "'oracle' is the name of a baseline"),
        ("protocols[1].name=direct_answer", "two protocols are called 'direct_answer'"),
        ("protocols=[]", "protocols: "),
        ("protocols=debate", "protocols: "),
        ("protocols=null", "protocols: is missing"),
        ("question.path=x", "question: no such key; did you mean 'questions'?"),
        ("questions=null", "questions: is missing"),
        ("questions.pth=x", "questions: unknown key 'pth'; did you mean 'path'?"),
        ("questions.limit=0", "questions.limit: input should be greater than or equal to 1"),
        ("questions.pair.sead=1", "questions.pair: unknown key 'sead'; did you mean 'seed'?"),
        ("questions.fields={txt: a}", "questions.fields: unknown key 'txt'; did you mean 'text'?"),
        ("questions.format=xml", "questions.format: "),
        ("experts.judge.modell=x", "modell"),
        ("experts.judge={modell: a/b}", "experts: judge: unknown key 'modell'"),
        ("experts.judge={model: gpt}", "experts: judge.model: 'gpt' is not provider/model"),
        ("cast.judge={expert: a}", "cast.judge: unknown key 'expert'; did you mean 'experts'?"),
        ("cast=judge", "cast: not a mapping"),
        ("budget.calls=-1", "budget.calls: input should be greater than or equal to 0"),
        ("budget.money=3", "budget: unknown key 'money'"),
        ("repeats=0", "repeats: input should be greater than or equal to 1"),
        ("seed=x", "seed: input should be a valid integer"),
        ("fleet=cloud", "fleet: input should be 'local' or 'ray'"),
    ],
)
def test_one_line_for_a_wrong_key(file: Path, override: str, says: str) -> None:
    with pytest.raises(Mistake) as caught:
        load_workflow(file, [override])
    text = str(caught.value)
    assert "\n" not in text
    assert says in text


def test_a_message_names_the_file(file: Path) -> None:
    file.write_text(TEXT.replace("rounds: 5", "round: 5"), encoding="utf-8")
    with pytest.raises(Mistake) as caught:
        load_workflow(file)
    assert str(caught.value) == (
        "oversight.yaml: protocols[1].round: no such parameter; did you mean 'rounds'?"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a mapping"),
        ("- 1", "not a mapping"),
        ("a: [1", "not valid YAML"),
        ("seed: 1\nseed: 2", "'seed' stands twice"),
        ("1: 2", "1: no such key"),
        ("experts: [1]\nquestions: {path: x}", "no experts"),
    ],
)
def test_files_that_are_no_workflow(file: Path, text: str, says: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Mistake, match=says):
        load_workflow(file)


KEYS = st.sampled_from(
    [*Workflow.model_fields, "path", "pair", "kind", "judge", "experts", 1, None]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("debate"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, VALUES, max_size=3), st.booleans())
def test_any_data_is_a_workflow_or_a_mistake(change: dict[Any, Any], whole: bool) -> None:
    data = {**yaml.safe_load(TEXT), **change} if whole else change
    try:
        Workflow.from_mapping(data, "x.yaml")
    except Mistake as mistake:
        text = str(mistake)
    else:
        return
    assert text.startswith("x.yaml: ")
    assert "\n" not in text


def test_library_workflows_are_found_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert {"oversight", "skills", "starter"} <= set(library_workflows())
    for path in ("skills", "skills.yaml", "workflows/library/skills.yaml"):
        assert load_workflow(path).stem == "skills"
    own = tmp_path / "skills.yaml"
    own.write_text(TEXT, encoding="utf-8")
    assert find_workflow("skills.yaml") == Path("skills.yaml")  # one's own comes first
    for path in ("skill", "other/library/skills.yaml", "other/skills"):
        with pytest.raises(Mistake, match=r"the library holds .*oversight"):
            find_workflow(path)


def test_the_published_schema_is_current() -> None:
    published = json.loads((ROOT / "docs/workflow.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(schema_text()), (
        "run: python -m workflows.settings.schema docs/workflow.schema.json"
    )


@pytest.mark.slow
def test_the_schema_takes_what_moot_takes(file: Path) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for place in (file, *library_workflows().values()):
        data = yaml.safe_load(place.read_text(encoding="utf-8"))
        jsonschema.validate(data, schema)
        jsonschema.validate(load_workflow(place).resolved(), schema)


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 1},
        {"protocols": [{"kind": "debate", "round": 1}]},
        {"protocols": [{"kind": "debat"}]},
        {"protocols": []},
        {"protocols": [], "crossplay": None},
        {"crossplay": {"debaters": ["judge"]}},
        {"crossplay": {"debater": ["judge", "local"]}},
        {"questions": {}},
    ],
)
def test_the_schema_refuses_what_moot_refuses(file: Path, change: dict[str, Any]) -> None:
    data = yaml.safe_load(TEXT) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, json_schema())
    with pytest.raises(Mistake):
        Workflow.from_mapping(data)
