"""Runs as logs of Inspect, read back by its own reader, and protocols as its solvers."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import Store
from protocols.asks import Model
from protocols.cast import Cast, Member
from protocols.errors import Mistake
from protocols.outcome import Outcome
from protocols.registry import make_protocol
from tests.workflows.played import store_sessions
from tests.workflows.recorded_sessions import PACKED
from tests.workflows.stored import HOSTILE, some_key, some_outcomes, store_outcomes, tried_twice
from tests.workflows.terminal import moot
from workflows.comparing.results import run_rows
from workflows.exports.frame_rows import table_rows
from workflows.nyu.importing import import_nyu

if find_spec("inspect_ai") is None and not os.environ.get("CI"):
    reason = "NOT TESTED: Inspect is not installed; pip install 'moot[inspect]'"
    pytest.skip(reason, allow_module_level=True)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what Inspect itself imports
    import inspect_ai
    from inspect_ai import Task
    from inspect_ai.dataset import Sample
    from inspect_ai.log import read_eval_log
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import choice, match

    from workflows.exports.inspect_solver import make_cast, moot_solver

pytestmark = pytest.mark.filterwarnings("ignore")  # of Inspect's own


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path / "logs"))
    yield
    # Inspect leaves the stream of a sample's events open, in a cycle. Whoever collects it is told,
    # so it is collected here and not in the middle of some other test, where warnings are errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def logs(run: str) -> dict[str, Any]:
    """Export a run; return its logs by protocol, as Inspect reads them."""
    done = moot("export", run, "out", "--to", "inspect", "--store", "x.db", "--json")
    assert done.code == 0, done.err
    read = {name: read_eval_log(one["path"]) for name, one in done.json["files"].items()}
    assert {name: len(log.samples or ()) for name, log in read.items()} == {
        name: one["rows"] for name, one in done.json["files"].items()
    }
    assert not list(Path("out").glob("*.part*"))
    return read


def rows(table: Any, run: str) -> list[dict[str, Any]]:
    with Store.read("x.db") as store:
        chosen = [one for one in store.runs() if one.name == run]
        return [row for some in table_rows(store, chosen, table) for row in some]


def test_every_protocol_is_read_back_whole() -> None:
    with Store.open("x.db") as store:
        run = asyncio.run(store_sessions(store))
        table = {row.name: row for row in run_rows(store, run)}
    read = logs("examples")
    sessions = {row["protocol"]: row for row in rows("sessions", "examples")}
    assert set(read) == set(sessions)
    for name, log in read.items():
        row = sessions[name]
        [sample] = log.samples or []
        assert (sample.id, sample.epoch, sample.input) == (row["question_id"], 1, row["question"])
        assert (sample.choices or []) == json.loads(row["options"])
        assert sample.target == (row["gold"] or "")
        score = sample.scores["moot"] if sample.scores else None
        assert (score and score.value, score and score.answer) == (
            row["correct"],
            row["answer"] if score else None,
        )
        assert sample.metadata["cast"] == json.loads(row["cast"])
        assert sample.metadata["parameters"] == json.loads(row["parameters"])
        assert sample.metadata["seed"] == row["seed"]
        assert len(sample.messages) == 1 + row["asks"]
        assert len(sample.events) == row["attempts"]
        used = sum(one.total_tokens for one in sample.model_usage.values())
        assert used == row["prompt_tokens"] + row["completion_tokens"]
        assert used == sum(one.total_tokens for one in sample.role_usage.values())
        accuracy = log.results.scores[0].metrics["accuracy"].value
        if name in table:  # an annotator has no row
            wanted = table[name].accuracy
            assert math.isnan(accuracy) if wanted is None else accuracy == pytest.approx(wanted)


def test_prompts_replies_attempts_and_prices_are_there() -> None:
    outcomes = some_outcomes(8)
    with Store.open("x.db") as store:
        key = some_key(outcomes)
        replies = {1: tried_twice(), 2: tried_twice("long " * 200_000)}
        asyncio.run(store_outcomes(store, [*outcomes, None], key, replies=replies))
    read = logs("r")
    samples = {one.id: one for log in read.values() for one in log.samples or ()}
    assert set(samples) == {f"q{number}" for number in range(8)}
    assert sum(log.results.total_samples for log in read.values() if log.results) == 9
    sample = samples["q1"]
    assert sample.messages[1].text == HOSTILE
    accepted, failed = sample.events
    assert [message.text for message in accepted.input] == [f"Once.\n\nWhich? {HOSTILE}\n\nSay."]
    assert accepted.output.completion == HOSTILE
    assert accepted.metadata["accepted"] is True
    assert failed.error == "timeout: no answer in 60 s"
    usage = sample.model_usage["openai/some"]
    assert (usage.input_tokens, usage.input_tokens_cache_read, usage.output_tokens) == (4, 6, 4)
    assert usage.total_cost == 0.25
    assert (sample.metadata["list_price"], sample.metadata["paid_price"]) == (0.25, 0.125)
    assert samples["q2"].messages[1].text == "long " * 200_000
    missing = [row["question_id"] for row in rows("sessions", "r") if row["correct"] is None]
    assert missing
    assert [id for id in missing if id in samples and samples[id].scores] == []


def test_a_run_without_a_key_or_without_sessions_has_no_scores() -> None:
    with Store.open("x.db") as store:
        asyncio.run(store_outcomes(store, some_outcomes(4)))
        asyncio.run(store_outcomes(store, [], name="empty"))
        asyncio.run(store_outcomes(store, [None, None], name="not reached"))
    for log in logs("r").values():
        assert all(not one.scores and one.target == "" for one in log.samples or ())
    assert logs("empty") == {}
    for log in logs("not reached").values():
        assert (log.samples or []) == []


def test_people_who_judged_are_in_the_log() -> None:
    found = import_nyu([PACKED], store="x.db")
    read = logs(found.name)
    assert sum(len(log.samples or ()) for log in read.values()) == len(rows("sessions", found.name))
    roles = {role for log in read.values() for role in log.stats.role_usage}
    assert {"judge", "debater"} <= roles


def test_the_same_export_again_says_the_same() -> None:
    outcomes = some_outcomes(6)
    with Store.open("x.db") as store:
        asyncio.run(store_outcomes(store, outcomes, some_key(outcomes), replies={0: tried_twice()}))
    first, second = ({n: log.model_dump_json() for n, log in logs("r").items()} for _ in "ab")
    assert first == second


def test_names_of_protocols_become_names_of_files_of_their_own() -> None:
    from workflows.exports.inspect_log import _file_name

    names = ["a/b", "a b", "../c", "d"]
    made = [_file_name("run", name, names) for name in names]
    assert made == ["run_a_b_1", "run_a_b_2", "run_c", "run_d"]


def said(text: str) -> ModelOutput:
    output = ModelOutput.from_content("mockllm", text)
    output.usage = ModelUsage(input_tokens=30, output_tokens=5, total_tokens=35)
    return output


def honest(messages, *rest) -> ModelOutput:
    """Say the label of the option ``right``, wherever it stands."""
    lines = "\n".join(message.text for message in messages).splitlines()
    label = next((line[0] for line in lines if line.endswith(". right")), "A")
    return said(f"I looked it up.\nAnswer: {label}")


def model(answers: Any = honest, name: str = "model") -> Any:
    return get_model(f"mockllm/{name}", custom_outputs=answers, memoize=False)


SAMPLES = [
    Sample(
        id=f"q{number}",
        input=f"Which is right? {number}",
        choices=["right", "wrong"] if number % 2 else ["wrong", "right"],
        target="A" if number % 2 else "B",
        metadata={"passage": "A story."},
    )
    for number in range(3)
]


def evaluate(solver: Any, samples: Any = SAMPLES, scorer: Any = None, **settings: Any) -> Any:
    task = Task(samples, solver=solver, scorer=scorer or choice())
    settings = {"model": model(), **settings}
    [log] = inspect_ai.eval(task, display="none", log_format="json", **settings)
    return read_eval_log(log.location, resolve_attachments=True)


def test_an_evaluation_leaves_nothing_that_can_be_collected_later() -> None:
    from anyio.streams.memory import MemoryObjectReceiveStream

    def streams() -> int:
        return sum(isinstance(one, MemoryObjectReceiveStream) for one in gc.get_objects())

    evaluate(moot_solver("direct_answer"))
    gc.collect()
    assert streams() == 0


@pytest.mark.parametrize(
    "protocol", ["debate", "plurality", "consultancy", {"kind": "direct_answer"}]
)
def test_a_protocol_runs_inside_a_task(protocol: Any) -> None:
    log = evaluate(moot_solver(protocol))
    assert log.status == "success", log.error
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    for sample in log.samples or []:
        told = sample.metadata["moot"]
        assert sample.output.completion == f"ANSWER: {sample.target}"
        assert Outcome.model_validate(told["outcome"]).answer == sample.target
        asks = [message for message in sample.messages if message.role == "assistant"]
        assert len([event for event in sample.events if event.event == "model"]) == len(asks) > 0
        assert sample.model_usage["mockllm/model"].total_tokens == 35 * len(asks)


def test_roles_are_filled_by_model_roles_and_by_models() -> None:
    roles = {"judge": model(name="judge"), "other": model(name="other")}
    log = evaluate(moot_solver("debate", {"debater": ["other"]}), model_roles=roles)
    assert log.status == "success", log.error
    for sample in log.samples or []:
        assert set(sample.model_usage) == {"mockllm/judge", "mockllm/other"}
        seats = {(one.metadata or {})["role"] for one in sample.messages if one.role == "assistant"}
        assert seats == {"judge", "debater"}


def test_only_readers_see_the_passage_and_nobody_sees_the_target() -> None:
    samples = [Sample(**{**SAMPLES[0].model_dump(), "target": "never-shown"})]
    log = evaluate(moot_solver("debate"), samples)
    [sample] = log.samples or []
    calls = [event for event in sample.events if event.event == "model"]
    read: dict[str, set[bool]] = {}
    for message, call in zip(sample.messages[1:], calls, strict=True):
        prompt = "\n".join(one.text for one in call.input)
        assert "never-shown" not in prompt
        read.setdefault(message.metadata["role"], set()).add("A story." in prompt)
    assert read == {"debater": {True}, "judge": {False}}


def test_free_answers_and_epochs() -> None:
    samples = [Sample(id=1, input="Six times seven?", target="42")]
    log = evaluate(
        moot_solver("plurality", {"solver": ["solver", "judge"]}, kind="number"),
        samples,
        match(numeric=True),
        model=model(lambda *some: said("Answer: 42")),
        epochs=2,
    )
    assert log.status == "success", log.error
    assert [one.output.completion for one in log.samples or []] == ["42", "42"]
    assert [one.metadata["moot"]["repeat"] for one in log.samples or []] == [0, 1]
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1.0


def test_what_cannot_be_read_is_no_answer_and_not_a_guess() -> None:
    log = evaluate(moot_solver("direct_answer"), model=model(lambda *some: said("Who knows?")))
    assert log.status == "success", log.error
    for sample in log.samples or []:
        assert sample.output.completion == ""
        assert sample.metadata["moot"]["outcome"]["status"] == "unparsed"
        assert sample.scores is not None
        assert sample.scores["choice"].value != "C"


def test_a_filtered_reply_is_a_refusal() -> None:
    def filtered(*some: Any) -> ModelOutput:
        output = ModelOutput.from_content("mockllm", "", stop_reason="content_filter")
        output.usage = ModelUsage(total_tokens=1)
        return output

    log = evaluate(moot_solver("direct_answer"), model=model(filtered))
    outcome = (log.samples or [])[0].metadata["moot"]["outcome"]
    assert (outcome["status"], outcome["boundary"]) == ("failed", "refused")


def test_a_whole_cast_and_a_protocol_object_serve() -> None:
    protocol = make_protocol("plurality", {})
    members = tuple(Member(expert=name, model=Model(name)) for name in ("one", "two", "three"))
    cast = Cast(members={"solver": members})
    log = evaluate(moot_solver(protocol, cast), model_roles={"one": model(name="one")})
    [first, *_] = log.samples or []
    assert set(first.model_usage) == {"mockllm/one", "mockllm/model"}


@pytest.mark.parametrize(
    ("arguments", "said_so"),
    [
        ({"protocol": "nothing_like_it"}, "nothing_like_it"),
        ({"protocol": {"rounds": 2}}, "name the protocol"),
        ({"protocol": "debate", "cast": {"jury": "x"}}, "has no role 'jury'"),
        ({"protocol": {"kind": "debate", "speed": 3}}, "speed"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(arguments: Any, said_so: str) -> None:
    with pytest.raises(Mistake, match=said_so):
        moot_solver(**arguments)


def test_optional_roles_stay_empty_unless_they_are_cast() -> None:
    protocol = make_protocol("debate", {})
    optional = {role.name for role in protocol.roles() if role.optional}
    assert optional.isdisjoint(make_cast(protocol, {}).members)


def test_a_sample_that_is_no_question_fails_alone_with_its_reason() -> None:
    samples = [Sample(id="odd", input="Which?", choices=["only one"], target="A"), *SAMPLES]
    log = evaluate(moot_solver("direct_answer"), samples, fail_on_error=False)
    errors = {one.id: one.error.message for one in log.samples or [] if one.error}
    assert list(errors) == ["odd"]
    assert "sample 'odd' is no question" in errors["odd"]


def test_without_inspect_the_export_says_what_to_install(monkeypatch) -> None:
    import sys

    with Store.open("x.db") as store:
        asyncio.run(store_outcomes(store, some_outcomes(2)))
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    done = moot("export", "r", "out", "--to", "inspect", "--store", "x.db")
    assert done.code == 2
    assert "pip install 'moot[inspect]'" in done.message
