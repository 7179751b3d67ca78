"""Assets in workflow files: where they come from, who reads them, what is wrong with them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from protocols.errors import Mistake
from tests.workflows.making import make
from workflows.checking.checks import check_workflow, workflow_warnings
from workflows.questions.data_files import load_inputs
from workflows.running.casting import Casting, run_spec
from workflows.settings.configuration import Workflow, load_workflow
from workflows.settings.schema import json_schema

SHOT = {"question": "Who ran?", "options": ["The hare", "The snail"], "answer": "A"}
SAID = {"rounds": [{"A": "<quote>He slept</quote>", "B": "No."}]}
CONVINCED = {"samples": {"one": [{"question": "2+2?", "explanation": "Count.", "answer": "4"}]}}
ROWS = [
    {"id": "q1", "question": "Who slept?", "options": ["He", "She"], "gold": "A"},
    {"id": "q2", "question": "Who ran?", "options": ["He", "She"], "gold": "B"},
]
LEXICAL, DEBATER = "offline/lexical-judge", "offline/quote-debater"


CASTS: dict[str, Any] = {
    "debate": {"judge": "one", "debater": "two"},
    "direct_answer": {"judge": "one"},
    "offline_judge": {"judge": "one"},
    "plurality": {"solver": ["table"]},
    "reconcile": {"solver": ["one", "two"]},
}


def workflow(folder: Path, *protocols: dict[str, Any], **more: Any) -> dict[str, Any]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return {
        "questions": {"path": str(path)},
        "experts": {"one": LEXICAL, "two": DEBATER},
        "protocols": [{"cast": CASTS[one["kind"]], **one} for one in protocols],
        **more,
    }


OFFLINE = {"kind": "offline_judge"}
SHOTS = {"kind": "debate", "rounds": 1, "judge_shots": 1}
TALK = {"kind": "reconcile", "convincing": 1}


def test_a_cast_holds_what_its_protocol_reads_and_nothing_else(tmp_path: Path) -> None:
    assets = {"transcripts": {"q1": SAID, "q2": SAID}, "judge_exemplars": [SHOT]}
    made, inputs = make(
        workflow(tmp_path, OFFLINE, SHOTS, {"kind": "direct_answer"}, assets=assets)
    )
    assert check_workflow(made, inputs) == []
    casts = {entry.name: entry.cast for entry in run_spec(made, inputs).entries}
    assert set(casts["offline_judge"].assets) == {"transcripts"}
    assert casts["offline_judge"].assets["transcripts"].content == {"q1": SAID, "q2": SAID}
    assert casts["debate"].assets["judge_exemplars"].kind == "exemplars"
    assert casts["direct_answer"].assets == {}


def test_direct_answer_and_debate_read_the_same_exemplars(tmp_path: Path) -> None:
    direct = {"kind": "direct_answer", "judge_shots": 1}
    made, inputs = make(workflow(tmp_path, SHOTS, direct, assets={"judge_exemplars": [SHOT]}))
    assert check_workflow(made, inputs) == []
    one, other = (entry.cast.assets["judge_exemplars"] for entry in run_spec(made, inputs).entries)
    assert one == other


@pytest.mark.parametrize("name", ["x.json", "x.yaml", "x.json.gz"])
def test_a_file_and_its_content_are_the_same_asset(tmp_path: Path, name: str) -> None:
    text = json.dumps([SHOT], indent=1).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    inline = make(workflow(tmp_path, SHOTS, assets={"judge_exemplars": [SHOT]}))
    path = tmp_path / "w.yaml"
    path.write_text(json.dumps(workflow(tmp_path, SHOTS, assets={"judge_exemplars": name})))
    loaded = load_workflow(path)
    assert loaded.assets == {"judge_exemplars": str(tmp_path / name)}, "relative to the file"
    inputs = load_inputs(loaded)
    digests = [i.assets["judge_exemplars"].digest for i in (inputs, inline[1])]
    assert digests[0] == digests[1]
    again = Workflow.from_mapping(loaded.resolved()).resolved()
    assert again["assets"] == loaded.resolved()["assets"]


def test_a_team_reads_assets_too(tmp_path: Path) -> None:
    data = workflow(tmp_path, {"kind": "plurality"})
    data["teams"] = {"table": {**TALK, "cast": CASTS["reconcile"]}}
    made, inputs = make({**data, "assets": {"convincing": CONVINCED}})
    assert check_workflow(made, inputs) == []
    casting = Casting(made, inputs)
    (spec,) = made.protocols
    (team,) = casting.cast(spec, spec.build(), casting.roster()).teams.values()
    assert set(team.cast.assets) == {"convincing"}


def test_unfit_characters_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"q1": {"rounds": [{"A": "a\\ud800\\u0000b"}]}}')
    data = workflow(tmp_path, OFFLINE, assets={"transcripts": str(tmp_path / "x.json")})
    _, inputs = make(data)
    content: Any = inputs.assets["transcripts"].content
    assert content["q1"]["rounds"][0]["A"] == "a\ufffd\ufffdb"
    assert inputs.assets["transcripts"].digest


def wrong(setting: Any, name: str = "transcripts") -> dict[str, Any]:
    return {name: setting}


@pytest.mark.parametrize(
    ("assets", "says"),
    [
        pytest.param(3, "w.yaml: assets: not a mapping", id="no mapping"),
        pytest.param(wrong(3), "assets.transcripts: neither a file nor its content", id="number"),
        pytest.param(wrong(""), "assets.transcripts: neither a file nor its content", id="empty"),
        pytest.param(wrong([1], "profile"), "this is measured; write  profile:", id="profile"),
        pytest.param(wrong({"q1": SAID}, "transcript"), "did you mean 'transcripts'?", id="name"),
        pytest.param(wrong("no.json"), "no.json: no such file", id="no file"),
        pytest.param(wrong("."), "is a directory", id="directory"),
        pytest.param(wrong("bad.json"), "bad.json, line 2: not JSON", id="not JSON"),
        pytest.param(wrong("latin.json"), "is not UTF-8", id="not UTF-8"),
        pytest.param(wrong("bad.yaml"), "bad.yaml, line 1: not valid YAML", id="not YAML"),
        pytest.param(wrong("nan.json"), "float that JSON has no form for", id="NaN"),
        pytest.param(wrong([SHOT]), "not transcripts; write a mapping of question", id="kind"),
        pytest.param(
            wrong({"q1": {"rounds": []}}), "no transcript of question 'q1'", id="no round"
        ),
        pytest.param(wrong({"q1": {"rounds": [{"C": "x"}]}}), "'A', 'B' or both", id="sides"),
        pytest.param(wrong({"q1": SAID}, "judge_exemplars"), "a list of at least 1", id="no list"),
        pytest.param(wrong([{}], "judge_exemplars"), "needs 'question', 'options'", id="fields"),
        pytest.param(
            wrong([{**SHOT, "answer": "C"}], "judge_exemplars"), "not one of its labels", id="label"
        ),
        pytest.param(wrong({"one": []}, "convincing"), "cannot be read at samples", id="samples"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, assets: Any, says: str) -> None:
    (tmp_path / "bad.json").write_text('{"a":\n1,,}')
    (tmp_path / "latin.json").write_bytes('{"ä": 1}'.encode("latin-1"))
    (tmp_path / "bad.yaml").write_text("a: [1")
    (tmp_path / "nan.json").write_text('{"q1": NaN}')
    data = workflow(tmp_path, OFFLINE, SHOTS, TALK)
    if isinstance(assets, dict):
        places = {
            name: str(tmp_path / one) if isinstance(one, str) and one else one
            for name, one in assets.items()
        }
        data["assets"] = places
    else:
        data["assets"] = assets
    with pytest.raises(Mistake) as caught:
        make(data)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("protocol", "assets", "problem"),
    [
        (OFFLINE, {}, "reads the asset 'transcripts'; write  assets: {transcripts: FILE}"),
        (OFFLINE, {"transcripts": {"q1": SAID}}, "no transcript of question 'q2'"),
        (OFFLINE, {"transcripts": {"q9": SAID}}, "with 'rounds' (and 1 more)"),
        ({**SHOTS, "judge_shots": 2}, {"judge_exemplars": [SHOT]}, "a list of at least 2"),
    ],
    ids=["none", "one question", "all questions", "too few shots"],
)
def test_what_is_missing_stops_a_run(
    tmp_path: Path, protocol: dict[str, Any], assets: dict[str, Any], problem: str
) -> None:
    made, inputs = make(workflow(tmp_path, protocol, assets=assets))
    (found,) = check_workflow(made, inputs)
    assert problem in found
    with pytest.raises(Mistake):
        run_spec(made, inputs)


def test_assets_without_an_effect_are_warned_of(tmp_path: Path) -> None:
    made, inputs = make(workflow(tmp_path, SHOTS, assets={"transcripts": {"q1": SAID}}))
    assert "assets.transcripts: no protocol reads it with these parameters" in workflow_warnings(
        made, inputs
    )
    samples = {"samples": {"onne": CONVINCED["samples"]["one"]}}
    made, inputs = make(workflow(tmp_path, TALK, assets={"convincing": samples}))
    assert workflow_warnings(made, inputs) == [
        "assets.convincing: 'onne' sits nowhere; did you mean 'one'?"
    ]


def test_the_schema_has_assets() -> None:
    assert "assets" in json_schema()["properties"]


def test_a_role_that_one_of_two_alike_protocols_has_is_known(tmp_path: Path) -> None:
    cast = {**CASTS["debate"], "rater": "one"}
    plain = {"kind": "debate", "name": "plain", "rounds": 1}
    rated = {"kind": "debate", "rounds": 1, "best_of": 2, "cast": cast}
    made, inputs = make(workflow(tmp_path, rated, plain))
    assert check_workflow(made, inputs) == []
    made, inputs = make(workflow(tmp_path, rated, {**plain, "cast": cast}))
    (problem,) = check_workflow(made, inputs)
    assert problem.startswith("protocols[1].cast.rater: debate has no such role")
