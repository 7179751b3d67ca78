"""Debates over three models on this machine, by the command; read again where torch is absent."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tests.agents.torch_here  # noqa: F401 - skips where torch is absent
from agents import machine
from agents.local_models import weights_gb
from agents.machine import Gpu
from orchestrator.store import Store
from tests.agents.tiny_models import make_model
from tests.workflows.terminal import ROOT, Done, environment, moot

pytestmark = pytest.mark.torch

WITHOUT = """
import sys
for name in ("torch", "transformers", "safetensors", "tokenizers", "vllm"):
    sys.modules[name] = None  # an import of it fails from here on
from workflows.cli.application import run_command
run_command(sys.argv[1:])
"""
WORKFLOW = """
questions: {path: moot:mmlu_pro_questions, limit: 1, pair: true}
experts:
  ada: transformers/./models/ada
  bob: {model: transformers/./models/bob, sampling: {max_tokens: 12}}
  cy: {model: transformers/./models/cy, sampling: {max_tokens: 12}}
pool: [ada, bob, cy]
protocols:
  - {kind: multiagent_debate, rounds: 2}
  - {kind: debate, rounds: 2, cast: {debater: [ada, bob], judge: cy}}
store: own.db
"""
SESSIONS = 2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "models"
    for seed, name in enumerate(("ada", "bob", "cy")):
        make_model(folder / name, seed=seed, max_new_tokens=10)
    return folder


@pytest.fixture
def home(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workflow file with its models beside it, and another working directory."""
    folder, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "models").symlink_to(models)
    (tmp_path / "made").symlink_to(models)
    (folder / "own.yaml").write_text(WORKFLOW)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(machine, "gpus", lambda: ())  # the CPU also where there is a GPU
    return folder


def changed(home: Path, expert: str | None = None, **changes: object) -> str:
    """Write the workflow with another fleet, or with an expert's fields changed."""
    data = yaml.safe_load(WORKFLOW)
    if expert is None:
        data |= changes
    else:
        data["experts"][expert] = {"model": f"transformers/./models/{expert}", **changes}
    (home / "own.yaml").write_text(yaml.safe_dump(data))
    return str(home / "own.yaml")


def without_torch(cwd: Path, *arguments: str) -> Done:
    """Run the command in a process where no library of models can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_debates_are_run_kept_and_read_again_without_torch(home: Path) -> None:
    file = str(home / "own.yaml")
    assert moot("validate", file).code == 0
    done = moot("run", file, "--json")
    assert done.code == 0, done.err
    told = done.json
    assert (told["sessions_done"], told["ending"]) == (SESSIONS, "finished")
    assert all(row["failed"] == 0 for row in told["rows"])
    with Store.read(str(home / "own.db")) as store:
        totals = store.totals(told["run_id"])
    assert sum(total["completion_tokens"] for total in totals.values()) > 0
    assert sum(total["paid_price"] for total in totals.values()) == 0.0

    replayed = without_torch(home, "replay", told["name"], "--store", "own.db")
    assert replayed.code == 0, replayed.err
    shown = without_torch(home, "show", told["name"], "1", "--store", "own.db")
    assert shown.code == 0, shown.err
    for name in ("ada", "bob", "cy"):
        assert name in shown.out

    again = moot("run", file, "--json").json
    assert again["resumed"]
    assert again["asks"] == 0


def test_models_share_a_small_card_and_say_the_same(home: Path) -> None:
    alone = moot("run", str(home / "own.yaml"), "--json").json
    data = yaml.safe_load(WORKFLOW)
    for label, said in data["experts"].items():
        fields = {"model": said} if isinstance(said, str) else said
        data["experts"][label] = {**fields, "gpu_gb": 0.5}
    data |= {"fleet": {"gpus": 1, "gpu_gb": 1.0}, "store": "card.db"}
    (home / "card.yaml").write_text(yaml.safe_dump(data))
    shared = moot("run", str(home / "card.yaml"), "--json").json
    assert shared["sessions_done"] == SESSIONS
    assert alone["sessions_done"] == SESSIONS
    assert digests(home / "own.db") == digests(home / "card.db")


def digests(place: Path) -> list[bytes]:
    """Return the digest of every reply in a store, sorted."""
    with contextlib.closing(sqlite3.connect(place)) as connection:
        return sorted(row[0] for row in connection.execute("select digest from reply"))


def test_without_torch_one_line_says_what_to_install(home: Path) -> None:
    for verb in ("validate", "run"):
        done = without_torch(home, verb, "own.yaml")
        assert done.code == 2
        lines = [line for line in done.err.splitlines() if not line.startswith("note:")]
        assert "torch is not installed; pip install 'moot[gpu]'" in lines[0]
    assert not (home / "own.db").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "transformers/./models/adda"}, "models/adda: no such folder"),
        ({"options": {"device": "cuda"}}, "wants CUDA, and no GPU was found here"),
        ({"gpu_gb": 1e-6}, "its weights alone take"),
        ({"gpu_gb": 0.5}, "no GPU was found here"),
        ({"options": {"dtyp": "float16"}}, "unknown key 'dtyp'; did you mean 'dtype'?"),
        ({"gpu_gb": 1.0, "gpus": 2}, "transformers/ experts run on one GPU"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_leaves_no_run(
    home: Path, fields: dict[str, object], said: str
) -> None:
    file = changed(home, "ada", **fields)
    done = moot("run", file)
    assert done.code == 2
    (line,) = [one for one in done.err.splitlines() if not one.startswith("note:")]
    assert said in line
    assert not (home / "own.db").exists()


def test_a_model_larger_than_every_card_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Gpu("0", "GPU-1", "Card", 24.0, 20.0)
    monkeypatch.setattr(machine, "gpus", lambda: (card,))
    for label in ("bob", "cy"):
        changed(home, label, gpu_gb=1.0)
    data = yaml.safe_load(WORKFLOW)
    for label in data["experts"]:
        size = 30.0 if label == "ada" else 1.0
        data["experts"][label] = {"model": f"transformers/./models/{label}", "gpu_gb": size}
    (home / "own.yaml").write_text(yaml.safe_dump(data))
    done = moot("run", str(home / "own.yaml"))
    assert done.code == 2
    assert "ada asks for 1 GPU with 30 GB, and the GPUs here have 24 GB" in done.err


def test_the_doctor_says_what_fits_and_how_often_is_loaded(home: Path) -> None:
    data = yaml.safe_load(WORKFLOW)
    for label in data["experts"]:
        data["experts"][label] = {"model": f"transformers/./models/{label}", "gpu_gb": 10.0}
    data["fleet"] = {"gpus": 1, "gpu_gb": 24.0}
    (home / "own.yaml").write_text(yaml.safe_dump(data))
    done = moot("doctor", "--workflow", str(home / "own.yaml"), "--json")
    found = {check["name"]: check for check in done.json["checks"]}
    assert done.code == 0, done.out
    size = weights_gb(home / "models" / "ada")
    assert f"weights of {size:.3g} GB of gpu_gb 10" in found["model ada"]["found"]
    assert found["gpu-0"]["found"] == "24 GB: 2 of 3 experts at once (as ada 10, bob 10)"
    assert "loads of 3 experts in" in found["predicted loads"]["found"]


def test_the_example_of_the_documentation_is_good(home: Path) -> None:
    text = (ROOT / "docs" / "own-models.md").read_text(encoding="utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    (home / "own.yaml").write_text(example)
    (home / "models").unlink()
    (home / "models").mkdir()
    for name, model in zip(("mathstral", "law", "general"), ("ada", "bob", "cy"), strict=True):
        (home / "models" / name).symlink_to(home.parent / "made" / model)
    done = moot("validate", str(home / "own.yaml"))
    assert done.code == 0, done.err


def test_the_doctor_says_what_is_wrong_with_a_model(home: Path) -> None:
    (home / "models").unlink()
    done = moot("doctor", "--workflow", str(home / "own.yaml"), "--json")
    assert done.code == 1
    bad = {check["name"] for check in done.json["checks"] if check["state"] == "bad"}
    assert {"model ada", "model bob", "model cy"} <= bad


def test_a_chat_template_lies_beside_the_workflow(home: Path) -> None:
    make_model(home / "bare", chat_template=False, max_new_tokens=10)
    fields = {"model": "transformers/./bare", "options": {"chat_template": "chat.jinja"}}
    path = changed(home, "ada", **fields)
    done = moot("validate", path)
    assert done.code == 2
    assert "home/chat.jinja: no such file" in done.err
    (home / "chat.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}>")
    assert moot("validate", path).code == 0
