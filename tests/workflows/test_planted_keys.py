"""Keys: from the environment or .env, and nowhere else; and one clear line where one is wrong."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.servers.openai_server import Answer, OpenAIServer
from tests.workflows.terminal import COMMAND, Done, environment, process

pytestmark = pytest.mark.slow

KEYS = {"a": "planted-in-the-environment-0123", "b": "planted-in-the-env-file-4567"}
VARIABLES = {"a": "PROXY_AUTH", "b": "OTHER_KEY"}
ECHO = "the server echoes"
WORKFLOW = """
questions: {path: q.jsonl}
experts:
  a: {model: openai/a, base_url: "%s", key_env: PROXY_AUTH}
  b: {model: hosted_vllm/b, base_url: "%s", key_env: OTHER_KEY, timeout_s: 20}
protocols:
  - {kind: direct_answer, name: a, cast: {judge: a}}
  - {kind: direct_answer, name: b, cast: {judge: b}}
"""
ROW = '{"id": "%s", "text": "Which?", "options": ["x", "y"], "gold": "A"}\n'
KINDS = 5


def echoing(body: dict[str, Any], number: int) -> Answer:
    """Repeat the key in whatever goes wrong, as real providers do."""
    said = f"{ECHO} {KEYS[body['model']]} (Bearer {KEYS[body['model']]})"
    place = int(body["messages"][-1]["content"].partition("number ")[2][:1])
    return (
        Answer(status=401, error=said),
        Answer(status=400, error=said, error_code="context_length_exceeded"),
        Answer(None, refusal=said),
        Answer(status=403, body=said.encode(), content_type="text/plain"),
        Answer(status=404, body=f"<html>{said}</html>".encode(), content_type="text/html"),
    )[place]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    rows = [ROW.replace("Which?", f"Which, number {n}?") % n for n in range(KINDS)]
    (tmp_path / "q.jsonl").write_text("".join(rows), encoding="utf-8")
    (tmp_path / ".env").write_text(f"OTHER_KEY={KEYS['b']}\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def server(here: Path) -> Iterator[OpenAIServer]:
    with OpenAIServer(rule=echoing) as server:
        write(here, server.url)
        yield server


def write(here: Path, url: str) -> None:
    (here / "w.yaml").write_text(WORKFLOW % (url, url), encoding="utf-8")


def command(here: Path, *arguments: str, **more: str) -> Done:
    return process(*arguments, cwd=here, **{"PROXY_AUTH": KEYS["a"], **more})


def leaks(here: Path, *outputs: str) -> list[str]:
    """Return where a key stands: files of the folder, but for .env, and outputs."""
    files = [file for file in here.rglob("*") if file.is_file() and file.name != ".env"]
    places = {str(file.relative_to(here)): file.read_bytes() for file in files}
    places |= {f"output {number}": out.encode() for number, out in enumerate(outputs)}
    return [
        place
        for place, content in places.items()
        for key in KEYS.values()
        if key.encode() in content
    ]


def test_keys_reach_the_server_and_nothing_else(here: Path, server: OpenAIServer) -> None:
    done = [
        command(here, "--debug", "run", "w.yaml", "--set", "name=w", "--json"),
        command(here, "run", "w.yaml", "--set", "name=w"),
        command(here, "show", "w", "1"),
        command(here, "--debug", "show", "w", "1", "--json"),
        command(here, "export", "w", "--to", "jsonl"),
        command(here, "validate", "w.yaml", "--json"),
        command(here, "doctor", "--json"),
        command(here, "--debug", "run", "w.yaml", "--set", "experts.a.options={x: 1}"),
        command(here, "run", "w.yaml", "--new", "--events", "events.jsonl", "--drivers", "2"),
        command(here, "report", "w", "--html", "page.html", "--md", "page.md"),
        command(here, "export", "w", "tables", "--to", "csv"),
    ]
    assert [one.code for one in (done[4], *done[8:])] == [0, 0, 0, 0], done[-1].err
    for written in ("events.jsonl", "page.html", "page.md", "tables/replies.csv"):
        assert (here / written).stat().st_size > 0
    sent = {headers["authorization"] for headers in server.headers}
    assert sent == {f"Bearer {key}" for key in KEYS.values()}
    outputs = [stream for one in done for stream in (one.out, one.err)]
    assert ECHO in done[2].out  # so that what is looked for could be found
    assert ECHO.encode() in (here / "moot.db").read_bytes()
    assert leaks(here, *outputs) == []


def test_a_killed_run_leaves_no_key_in_the_log_of_its_store(here: Path) -> None:
    def rule(body: dict[str, Any], number: int) -> Answer:
        return echoing(body, number) if number < KINDS else Answer(hold=True)

    with OpenAIServer(rule=rule) as server:
        write(here, server.url)
        running = subprocess.Popen(
            [*COMMAND, "run", "w.yaml", "--json"],
            cwd=here,
            env=environment(PROXY_AUTH=KEYS["a"]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with running:
            assert server.wait_until(lambda one: one.requests == 2 * KINDS)
            while recorded(here / "moot.db") < KINDS:
                assert running.poll() is None
            running.send_signal(signal.SIGKILL)
            outputs = running.communicate()
    assert (here / "moot.db-wal").stat().st_size > 0
    assert ECHO.encode() in (here / "moot.db-wal").read_bytes()
    assert leaks(here, *outputs) == []


def recorded(store: Path) -> int:
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
        return int(database.execute("select count(*) from reply").fetchone()[0])


def test_a_wrong_key_is_told_in_one_line(here: Path) -> None:
    answer = Answer(status=401, error=f"Incorrect API key provided: {KEYS['a']}")
    with OpenAIServer(answer) as server:
        write(here, server.url)
        done = command(here, "run", "w.yaml")
        assert server.requests == 2 * KINDS  # a wrong key is not tried twice
    assert done.code == 1
    (line,) = [line for line in done.err.splitlines() if "(most often: " in line]
    assert line.startswith("10 of 10 replies failed; ")
    assert f"(most often: authentication 401 ({server.url}): " in line
    assert line.endswith("Incorrect API key provided: [key])")
    assert leaks(here, done.out, done.err) == []


def test_a_host_that_nobody_reaches_is_told_in_one_line(here: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connecting is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        write(here, url)
        done = command(here, "run", "w.yaml", "--set", "questions.limit=1")
    assert done.code == 1
    (line,) = [line for line in done.err.splitlines() if "(most often: " in line]
    assert f"(most often: connection ({url}): " in line


def test_no_key_is_told_in_one_line_before_anything_is_called(
    here: Path, server: OpenAIServer
) -> None:
    (here / ".env").unlink()
    for arguments in (("run", "w.yaml"), ("run", "w.yaml", "--json"), ("--debug", "run", "w.yaml")):
        done = command(here, *arguments, PROXY_AUTH=" ")
        lines = [line for line in done.err.splitlines() if "is not set" in line]
        assert done.code == 2
        assert done.out == ""
        assert any("expert 'a': the environment variable PROXY_AUTH" in line for line in lines)
    assert server.requests == 0
    assert not (here / "moot.db").exists()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("key_env: sk-0123456789abcdef", "never the key itself"),
        ("options: {api_key: sk-0123456789abcdef}", "name the key's variable in key_env"),
        ("options: {extra: {auth: sk-0123456789abcdef}}", "name its variable in key_env"),
        ("base_url: 'http://u:sk-0123456789abcdef@127.0.0.1:1/v1'", "must not hold a user"),
        ("api_key: sk-0123456789abcdef", "unknown key 'api_key'"),
    ],
)
def test_a_key_in_a_workflow_is_refused_and_not_repeated(here: Path, field: str, said: str) -> None:
    text = f"""
questions: {{path: q.jsonl}}
experts: {{a: {{model: openai/a, {field}}}}}
protocols: [{{kind: direct_answer, cast: {{judge: a}}}}]
"""
    (here / "w.yaml").write_text(text, encoding="utf-8")
    done = command(here, "--debug", "run", "w.yaml")
    assert done.code == 2
    assert said in done.err
    assert "sk-0123456789abcdef" not in done.err + done.out


GUARDED = """
import sys, json
tried = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        if not (event == "socket.connect" and isinstance(arguments[1], (str, bytes))):
            tried.append(event)
sys.addaudithook(watch)
from workflows.cli.application import run_command
try:
    run_command(sys.argv[1:])
finally:
    print(json.dumps({"litellm": "litellm" in sys.modules, "tried": tried}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("validate", "w.yaml"), 0), (("run", "w.yaml", "--dry-run"), 0), (("run", "w.yaml"), 2)],
)
def test_starting_makes_no_network_attempt(
    here: Path, arguments: tuple[str, ...], code: int
) -> None:
    """The last has no key, and ends where the first call would be made."""
    write(here, "http://127.0.0.1:9/v1")
    keys = {"PROXY_AUTH": KEYS["a"] if code == 0 else ""}
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, *arguments],
        cwd=here,
        env=environment(**keys),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    seen = json.loads(done.stderr.splitlines()[-1])
    assert seen == {"litellm": True, "tried": []}
