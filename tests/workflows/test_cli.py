"""The command line itself: help, mistakes of the user, Ctrl-C, and the quiet of standard output."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.workflows.terminal import COMMAND, environment, moot, process
from workflows.cli.application import VERBS

GOOD = """
questions: {path: q.jsonl}
experts: {judge: {model: scripted/voter, options: {answers: [A]}}}
protocols: [{kind: direct_answer}]
"""
SLOW = """
questions: {path: q.jsonl}
experts:
  quick: {model: scripted/voter, options: {answers: [A]}}
  slow: {model: scripted/slow, options: {inner: voter, latency_s: %s, batch_limit: 2}}
protocols:
  - {kind: direct_answer, name: quick, cast: {judge: quick}}
  - {kind: direct_answer, name: slow, cast: {judge: slow}}
"""
ROW = '{"id": "%s", "text": "Which?", "options": ["x", "y"], "gold": "A"}\n'


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.jsonl").write_text("".join(ROW % n for n in range(60)), encoding="utf-8")
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")
    return tmp_path


def test_help_names_every_verb() -> None:
    done = moot("--help")
    assert done.code == 0
    for verbs in VERBS.values():
        for verb in verbs:
            assert f" {verb} " in done.out
    assert moot().out == done.out


@pytest.mark.parametrize("verb", [verb for verbs in VERBS.values() for verb in verbs])
def test_every_verb_has_help_with_an_example(verb) -> None:
    done = moot(verb, "--help")
    assert done.code == 0
    assert f"moot {verb}" in done.out.partition("Example:")[2]


def test_version() -> None:
    assert moot("--version").out.startswith("moot")


@pytest.mark.parametrize(
    ("file", "content", "arguments", "said"),
    [
        ("w.yaml", GOOD + "protcols: []\n", [], "protcols: no such key; did you mean 'protocols'?"),
        ("w.yaml", "questions: [", [], "w.yaml, line 1: not valid YAML"),
        ("w.yaml", GOOD, ["--set", "protocols[0].oders=2"], "no such parameter; did you mean 'o"),
        ("w.yaml", GOOD, ["--set", "questions.path=gone.jsonl"], "gone.jsonl: no such file"),
        ("w.yaml", GOOD, ["--cast", "judge=nobody"], "no expert 'nobody' in the roster"),
        ("w.yaml", GOOD, ["--cast", "judge"], "write ROLE=EXPERT"),
        ("w.yaml", GOOD, ["--set", "seed"], "is not an override"),
        ("w.yaml", GOOD, ["--fleet", "slurm"], "there is local (this process) and ray"),
        ("w.yaml", GOOD, ["--store", "no/such/folder/m.db"], "cannot be created"),
        ("w.yaml", GOOD, ["--store", "mysql://host/moot"], "no store can be kept at mysql"),
        ("w.yaml", GOOD, ["--store", "w.yaml"], "is not a moot store"),
        ("w.yaml", GOOD, ["--nope"], "moot run: No such option: --nope"),
        ("q.jsonl", ROW % 1 + "{broken\n", [], "q.jsonl:2: malformed line"),
        ("q.jsonl", ROW % 1 + "[1]\n", [], "q.jsonl:2: malformed line, not a JSON object"),
        ("q.jsonl", "", [], "q.jsonl: holds no question"),
        ("q.jsonl", ROW % 1 + ROW % 1, [], "q.jsonl:2: id '1' stands at"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line_and_loses_nothing(here, file, content, arguments, said) -> None:
    assert moot("run", "good.yaml", "--store", "kept.db").code == 0
    before = (here / "kept.db").read_bytes()
    (here / "w.yaml").write_text(GOOD, encoding="utf-8")
    (here / file).write_text(content, encoding="utf-8")
    store = [] if "--store" in arguments else ["--store", "kept.db"]
    done = moot("run", "w.yaml", *arguments, *store, "--json")
    assert done.code == 2
    assert said in done.message
    assert done.out == ""
    assert (here / "kept.db").read_bytes() == before
    assert moot("replay", "good", "--store", "kept.db").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Missing argument 'WORKFLOW'"),
        (["run", "nothere"], "nothere: no such workflow file; the library holds"),
        (["compare", "nothere.yaml"], "no such workflow file"),
        (["runs"], "No such command 'runs'"),
        (["replay"], "Missing argument 'RUN'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_a_usage_error(here, arguments, said) -> None:
    done = moot(*arguments)
    assert done.code == 2
    assert said in done.message


def test_a_hosted_expert_without_a_key_is_told_before_anything_is_spent(here) -> None:
    for command in ("run", "validate"):
        done = moot(command, "good.yaml", "--cast", "judge=openai/gpt-4o-mini")
        assert done.code == 2
        assert "OPENAI_API_KEY is not set" in done.message
    assert not (here / "moot.db").exists()


def test_a_defect_is_one_line_and_shows_its_traceback_when_wanted(here, monkeypatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("sample")

    monkeypatch.setattr("workflows.catalogue.inventory.engines", broken)
    done = moot("list", "engines")
    assert done.code == 1
    assert done.message == "internal error: ZeroDivisionError: sample; --debug shows where"
    monkeypatch.setenv("MOOT_DEBUG", "1")
    assert "Traceback" in moot("list", "engines").err


def test_validate_lists_every_problem(here) -> None:
    done = moot("validate", "good.yaml", "--cast", "judge=nobody", "--cast", "jugde=judge")
    assert done.code == 2
    lines = done.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("good.yaml: ") for line in lines)
    found = moot("validate", "good.yaml", "--cast", "judge=nobody", "--json")
    assert found.code == 2
    assert len(found.json["problems"]) == 1


def test_validate_refuses_to_draw_twice_from_recorded_answers() -> None:
    settings = ["--set", "protocols=[{kind: self_consistency}]"]
    done = moot("validate", "skills", *settings, "--cast", "solver=Yi-34B")
    assert done.code == 2
    assert "recorded" in done.message


def test_validate_prints_the_resolved_configuration_and_the_schema(here) -> None:
    done = moot("validate", "good.yaml", "--print", "--set", "seed=7")
    assert done.code == 0
    assert "seed: 7" in done.out
    (here / "again.yaml").write_text(done.out, encoding="utf-8")
    again = moot("validate", "again.yaml", "--print")
    assert again.out.replace(f"{here}/moot.db", "moot.db") == done.out
    assert moot("validate", "good.yaml", "--schema").json["title"] == "moot workflow"


def test_init_writes_a_workflow_that_runs_and_never_overwrites(here) -> None:
    assert moot("init", "my.yaml").code == 0
    assert moot("validate", "my.yaml").code == 0
    (here / "my.yaml").write_text("mine", encoding="utf-8")
    done = moot("init", "my.yaml")
    assert done.code == 2
    assert "my.yaml is there already" in done.message
    assert (here / "my.yaml").read_text(encoding="utf-8") == "mine"


def test_doctor_names_keys_and_never_shows_them(here, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sample-of-a-key")
    done = moot("doctor", "--json")
    assert done.code == 0
    states = {check["name"]: check["state"] for check in done.json["checks"]}
    assert states["agents"] == states["store"] == states["OPENAI_API_KEY"] == "good"
    assert "sk-sample" not in done.out + moot("doctor").out
    assert moot("doctor", "--store", "no/such/folder/m.db").code == 1


def test_variables_of_an_env_file_are_read_and_those_set_stay(here, monkeypatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "so that leaving removes what the command sets")
    monkeypatch.delenv("GROQ_API_KEY")
    monkeypatch.setenv("MISTRAL_API_KEY", "mine")
    (here / ".env").write_text("MISTRAL_API_KEY=\nGROQ_API_KEY=from-file\n", encoding="utf-8")
    checks = {check["name"]: check["found"] for check in moot("doctor", "--json").json["checks"]}
    assert checks["GROQ_API_KEY"] == "set"
    assert checks["MISTRAL_API_KEY"] == "set"


def test_a_reader_that_reads_no_more_is_no_error(here) -> None:
    command = f"{sys.executable} -m workflows.cli list experts | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.fixture
def start(here) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Starts a run and waits until the quick expert answered: the slow one is in flight then."""
    with ExitStack() as stack:

        def started(latency_s: float) -> subprocess.Popen[str]:
            (here / "slow.yaml").write_text(SLOW % latency_s, encoding="utf-8")
            running = subprocess.Popen(
                [*COMMAND, "run", "slow.yaml", "--json"],
                cwd=here,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(running)
            stack.callback(running.kill)
            assert running.stderr is not None
            assert "120 sessions" in running.stderr.readline()
            while not answered(here / "moot.db"):
                assert running.poll() is None
            return running

        yield started


def answered(store: Path) -> bool:
    """Whether a store holds a reply."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
        return bool(database.execute("SELECT count(*) FROM reply").fetchone()[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.slow
def test_one_ctrl_c_keeps_what_is_there_and_the_same_command_goes_on(start, number) -> None:
    running = start(0.05)
    running.send_signal(number)
    out, err = running.communicate()
    assert running.returncode == 1
    stopped = json.loads(out)
    assert stopped["ending"] == "stopped"
    assert "stopping: what is in flight is finished and kept" in err
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert 60 <= stopped["asks"] < 120
    done = moot("run", "slow.yaml", "--json")
    assert done.code == 0
    assert done.json["run_id"] == stopped["run_id"]
    assert stopped["asks"] + done.json["asks"] == 120
    assert moot("replay", "slow", "--json").json["diverged"] == 0
    again = moot("run", "slow.yaml", "--json").json
    assert again["asks"] == 0
    assert again["rows"] == done.json["rows"]


@pytest.mark.slow
def test_a_second_ctrl_c_aborts(start) -> None:
    running = start(600)
    running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    assert "stopping" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    assert running.returncode == 1
    assert out == ""
    assert "Traceback" not in err
    assert "what is recorded is kept" in err
    assert moot("replay", "slow").code == 0


def test_python_m_is_the_same_command(tmp_path) -> None:
    done = process("list", "protocols", "--json", cwd=tmp_path)
    assert done.code == 0
    assert {"debate", "plurality"} <= {one["kind"] for one in done.json}
