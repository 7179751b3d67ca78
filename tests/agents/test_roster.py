"""Rosters, and the one line that a wrong one gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import agents
from agents.engines import (
    NOT_BUILT,
    capabilities_of,
    does_network_io,
    identify,
    make_engine,
    price_of,
)
from agents.roster import Expert, Price, Roster, UnknownExpert
from protocols.asks import Model, Sampling
from protocols.errors import Mistake
from protocols.replies import Usage
from tests.agents.making import row, write_rows

GOOD = """
judge:
  model: openai/gpt-4o-mini
  revision: 2024-07-18
  sampling: {temperature: 0.3, stop: [END]}
  price: {prompt: 0.15, completion: 0.6}
  key_env: MY_KEY
  base_url: http://localhost:8000/v1
echo: scripted/echo
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "experts.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_roster_from_yaml_keeps_order_and_fields(tmp_path: Path) -> None:
    text = GOOD.replace("2024-07-18", "'2024-07-18'")
    roster = Roster.from_yaml(written(tmp_path, text))
    assert list(roster) == ["judge", "echo"]
    assert len(roster) == 2
    judge = roster["judge"]
    assert judge.label == "judge"
    assert judge.sampling == Sampling(temperature=0.3, stop=("END",))
    assert judge.price == Price(prompt=0.15, completion=0.6)
    assert roster["echo"].model == "scripted/echo"
    member = roster.member("judge")
    assert member.model == Model("openai/gpt-4o-mini", "2024-07-18")
    assert (member.expert, member.sampling) == ("judge", judge.sampling)


def test_a_roster_from_python_takes_experts_as_they_are() -> None:
    expert = Expert(model="scripted/echo", data="here.jsonl")
    roster = Roster.from_mapping({"a": expert, "b": "offline/lexical-judge", "c": {"model": "x/y"}})
    assert roster["a"] == expert.model_copy(update={"label": "a"})
    assert roster == Roster.from_mapping(dict(roster))
    assert {e.provider for e in roster.values()} == {"scripted", "offline", "x"}


def test_data_lies_beside_the_roster(tmp_path: Path) -> None:
    write_rows(tmp_path / "q.jsonl", row(0))
    text = "a: {model: recorded/made/good, data: q.jsonl}\nb: {model: x/y, data: /full/q}"
    roster = Roster.from_yaml(written(tmp_path, text))
    assert roster["a"].data == str(tmp_path / "q.jsonl")
    assert roster["b"].data == "/full/q"
    member = roster.member("a")
    assert len(member.model.revision) == 16


def test_nobody_of_that_label() -> None:
    roster = Roster.from_mapping({"mathstral": "x/y", "yi": "x/z"})
    assert "mathstrel" not in roster
    assert roster.get("mathstrel") is None
    with pytest.raises(UnknownExpert) as caught:
        roster["mathstrel"]
    line = "no expert 'mathstrel' in the roster; did you mean 'mathstral'?"
    assert str(caught.value) == line
    with pytest.raises(Mistake, match="known are: mathstral, yi"):
        roster.member("gpt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {modle: x/y}", ": a: unknown key 'modle'; did you mean 'model'?"),
        ("a: {model: x/y, price: {promt: 1}}", ": a.price: unknown key 'promt'; did you mean 'pr"),
        (
            "a: {model: x/y, sampling: {temprature: 1}}",
            ": a.sampling: unknown key 'temprature'; did you mean 'temperature'?",
        ),
        ("a: {model: x/y, zzz: 1}", "unknown key 'zzz'; known are: accelerator, base_url,"),
        ("a: {model: x/y, 5: 1}", ": a.5: keys should be strings"),
        ("a: {revision: r}", ": a.model: is missing"),
        ("a: gpt", ": a.model: 'gpt' is not provider/model"),
        ("a: 5", ": a: is neither provider/model nor a mapping"),
        ("a:", ": a: is neither"),
        ("a: {model: x/y, timeout_s: 0}", ": a.timeout_s: input should be greater than 0"),
        ("a: {model: x/y, price: free}", ": a.price: input should be"),
        ("a: {model: x/y, sampling: {stop: [1]}}", ": a.sampling.stop.0: input should be"),
        ("a: {model: x/y, sampling: 5}", ": a.sampling: input should be"),
        ("a: {model: x/y, label: b}", ": a: is labelled 'b' too"),
        ("1: x/y", "the label 1 is not text"),
        ("' ': x/y", "the label ' ' is not text"),
        ("", ": no experts"),
        ("{}", ": no experts"),
        ("- x/y", ": no experts"),
        ("a: x/y\na: x/z", "line 2: not valid YAML: the key 'a' stands twice"),
        ("a:\n  model: x/y\n  model: x/z", "line 3: not valid YAML: the key 'model' stands twice"),
        ("a: [", "not valid YAML"),
        ("a: 2024-99-99", "a value cannot be read"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("a: " + "[" * 50_000, "nested too deeply"),
    ],
)
def test_a_wrong_roster_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(Mistake) as caught:
        Roster.from_yaml(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "entry",
    [
        {"key_env": "sk-SECRET"},
        {"api_key": "sk-SECRET"},
        {"options": {"API_KEY": "sk-SECRET"}},
        {"base_url": "https://me:sk-SECRET@host/v1"},
        {"timeout_s": "sk-SECRET"},
    ],
    ids=lambda entry: next(iter(entry)),
)
def test_a_secret_is_refused_and_not_repeated(entry: dict[str, Any]) -> None:
    with pytest.raises(Mistake) as caught:
        Roster.from_mapping({"a": {"model": "x/y"} | entry})
    assert "SECRET" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no such file; check the path"):
        Roster.from_yaml(tmp_path / "none.yaml")
    with pytest.raises(Mistake, match="cannot be read"):
        Roster.from_yaml(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: \xe9")
    with pytest.raises(Mistake, match="is not UTF-8"):
        Roster.from_yaml(path)


@pytest.mark.parametrize("provider", NOT_BUILT)
def test_engines_to_come_say_so(provider: str) -> None:
    expert = Expert(label="x", model=f"{provider}/something")
    with pytest.raises(Mistake, match=f"not built yet: {provider}/ experts"):
        make_engine(expert)
    with pytest.raises(Mistake, match="not built yet"):
        capabilities_of(expert)
    assert identify(expert) == Model(expert.model)


@pytest.mark.parametrize(
    ("model", "class_name", "draws"),
    [
        ("scripted/echo", "ScriptedEngine", True),
        ("recorded/made/good", "RecordedEngine", False),
        ("offline/lexical-judge", "LexicalJudge", True),
        ("openai/gpt-4o-mini", "LiteLLMEngine", True),
        ("never-heard-of/it", "LiteLLMEngine", True),
    ],
)
def test_an_engine_by_provider(model: str, class_name: str, draws: bool) -> None:
    expert = Expert(label="x", model=model, data="q.jsonl")
    assert type(make_engine(expert)).__name__ == class_name
    assert capabilities_of(expert).draws is draws
    assert does_network_io(expert) is (class_name == "LiteLLMEngine")


def test_no_offline_engine_of_that_name() -> None:
    with pytest.raises(Mistake, match="did you mean 'offline/lexical-judge'"):
        make_engine(Expert(model="offline/lexical-juge"))


@pytest.mark.parametrize(
    ("model", "price", "dollars"),
    [
        ("openai/gpt-4o-mini", Price(prompt=2.0, completion=8.0), 0.004),
        ("recorded/a/b", Price(prompt=2.0, completion=8.0), 0.004),
        ("openai/gpt-4o-mini", "unknown", None),
        ("recorded/a/b", None, 0.0),
        ("offline/lexical-judge", None, 0.0),
        ("scripted/echo", None, 0.0),
    ],
)
def test_prices(model: str, price: Any, dollars: float | None) -> None:
    found = price_of(Expert(model=model, price=price), Usage(1200, 200))
    assert found == (None if dollars is None else pytest.approx(dollars))


def test_exported_names_are_exact_and_sorted() -> None:
    assert list(agents.__all__) == sorted(set(agents.__all__))
    for name in agents.__all__:
        assert getattr(agents, name) is not None
    assert set(agents.__all__) <= set(dir(agents))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        agents.Nothing  # noqa: B018 - the attribute is looked up
