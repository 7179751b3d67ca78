from __future__ import annotations

import math
from typing import Any

import pytest

from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.evidence import EVIDENCE, Evidence, EvidenceQuestion, cast_evidence
from protocols.question import Question

QUESTIONS = tuple(
    EvidenceQuestion(id=f"v/{n}", text=f"What is {n}?", category=category, skills=skills)
    for n, (category, skills) in enumerate(
        [("math", ("math", "sums")), ("math", ("math",)), ("law", ("law", "law")), ("", ())]
    )
)
EVIDENCE_OF_THREE = Evidence(
    questions=QUESTIONS,
    right={"cy": "11-0", "ada": "1000", "dee": "----"},
    answers={"cy": ("A", "B", None, "C")},
    cost={"cy": 3.0},
    cost_unit="usd",
    measured_on="by hand",
)


def test_the_matrix_has_a_row_a_question_and_a_column_an_expert():
    assert EVIDENCE_OF_THREE.experts == ("ada", "cy", "dee")
    matrix = EVIDENCE_OF_THREE.matrix()
    assert matrix.shape == (4, 3)
    assert matrix[:, 0].tolist() == [1, 0, 0, 0]
    assert matrix[[0, 1, 3], 1].tolist() == [1, 1, 0]
    assert math.isnan(matrix[2, 1])
    swapped = EVIDENCE_OF_THREE.matrix(("cy", "nobody", "ada"))
    assert swapped[0].tolist()[::2] == [1, 1]
    assert all(math.isnan(value) for value in swapped[:, 1])
    assert EVIDENCE_OF_THREE.matrix(()).shape == (4, 0)


def test_accuracy_leaves_out_what_is_missing():
    accuracy = EVIDENCE_OF_THREE.accuracy
    assert [accuracy(name) for name in ("ada", "cy", "dee", "nobody")] == [0.25, 2 / 3, None, None]


def test_the_profile_sums_right_and_wrong_by_skill():
    profile = EVIDENCE_OF_THREE.profile()
    assert profile.skills == {
        "ada": {"math": 0.0, "sums": 1.0, "law": -1.0},
        "cy": {"math": 2.0, "sums": 1.0},
        "dee": {},
    }
    assert profile.asked == {"ada": 4, "cy": 3, "dee": 0}
    assert profile.right == {"ada": 1, "cy": 2, "dee": 0}
    assert profile.measured_on == "by hand"
    assert EVIDENCE_OF_THREE.profile(("cy", "nobody")).experts == ("cy",)


def test_a_subset_keeps_the_order_of_the_whole():
    part = EVIDENCE_OF_THREE.subset(["v/3", "v/1"])
    assert [question.id for question in part.questions] == ["v/1", "v/3"]
    assert part.right == {"cy": "10", "ada": "00", "dee": "--"}
    assert part.answers == {"cy": ("B", "C")}
    assert (part.cost, part.cost_unit) == ({"cy": 3.0}, "usd")
    assert part.measured_on == "2 of by hand"
    with pytest.raises(Mistake, match="no question 'v/9'"):
        EVIDENCE_OF_THREE.subset(["v/9"])


def test_it_travels_as_an_asset_and_is_read_once():
    asset = EVIDENCE_OF_THREE.as_asset()
    assert asset.digest == EVIDENCE_OF_THREE.digest
    read = cast_evidence({EVIDENCE: asset})
    assert read == EVIDENCE_OF_THREE
    assert cast_evidence({EVIDENCE: EVIDENCE_OF_THREE.as_asset()}) is read
    assert cast_evidence({}) is None
    with pytest.raises(Mistake, match="'memory' is not evidence"):
        Evidence.from_asset(Asset(kind="memory", content={}))
    with pytest.raises(Mistake, match="cannot be read at questions"):
        Evidence.from_asset(Asset(kind=EVIDENCE, content={"right": {}}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"right": {"ada": "10"}}, "needs 4 characters"),
        ({"right": {"ada": "10x0"}}, "needs 4 characters"),
        ({"answers": {"bob": (None,) * 4}}, "needs 4 graded answers"),
        ({"answers": {"cy": ("A",)}}, "needs 4 graded answers"),
        ({"cost": {"cy": -1.0}}, "must not be negative"),
        ({"cost": {"cy": math.inf}}, "finite"),
        ({"questions": [*QUESTIONS[:3], QUESTIONS[0]]}, "the same id"),
    ],
)
def test_what_is_inconsistent_is_refused(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Evidence.model_validate({**EVIDENCE_OF_THREE.model_dump(), **fields})


def test_a_question_is_kept_without_its_passage():
    question = Question(
        id="q", text="Why?", options=("a", "b"), category="math", subject="sums", passage="long"
    )
    kept = EvidenceQuestion.of(question)
    assert kept.skills == ("math", "sums")
    assert kept.options == ("a", "b")
    assert EvidenceQuestion.of(question, ("proof",)).skills == ("proof",)
    assert EvidenceQuestion(id="q", text="?", category="law").skills == ("law",)
    assert "long" not in kept.model_dump_json()


def test_empty_evidence_is_evidence():
    empty = Evidence(questions=(), right={"ada": ""})
    assert empty.matrix().shape == (0, 1)
    assert empty.accuracy("ada") is None
    assert empty.profile().known_skills == ()
