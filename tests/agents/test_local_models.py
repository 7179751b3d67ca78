"""Models that lie on this machine, before anything is loaded; no torch is needed here."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from agents import local_models, machine
from agents.engines import does_network_io, identify, is_charged
from agents.local_models import check_model, loadable_name, model_folder, torch_cuda, weights_gb
from agents.machine import Gpu
from agents.roster import Expert, Roster, written_folder
from protocols.errors import Mistake

CARD = Gpu("0", "GPU-1", "Card", 24.0)


def write_weights(path: Path, tensors: dict[str, tuple[str, list[int], int]]) -> None:
    """Write a file of weights: name to (type, shape, bytes)."""
    header, end = {}, 0
    for name, (kind, shape, size) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * end)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model without any library of models: 1,500 values in BF16 and 10 whole numbers."""
    folder = tmp_path / "models" / "mathstral"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    write_weights(
        folder / "model.safetensors",
        {"a": ("BF16", [100, 10], 2_000), "b": ("BF16", [500], 1_000), "c": ("I64", [10], 80)},
    )
    return folder


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is installed, and there is no GPU."""
    monkeypatch.setattr(local_models, "find_spec", lambda name: object())
    monkeypatch.setattr(machine, "gpus", lambda: ())


def expert(folder: Path | None, **changes: Any) -> Expert:
    fields: dict[str, Any] = {"label": "math", "model": "transformers/./models/mathstral"}
    return Expert(**(fields | {"data": None if folder is None else str(folder)} | changes))


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("transformers/./models/m", "./models/m"),
        ("vllm/../m", "../m"),
        ("transformers//srv/m", "/srv/m"),
        ("transformers/~/m", "~/m"),
        ("transformers/Qwen/Qwen3-8B", None),
        ("openai/./m", None),
    ],
)
def test_a_path_is_told_from_an_id(model: str, written: str | None) -> None:
    assert written_folder(model) == written


def test_a_relative_model_lies_beside_the_roster(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "roster.yaml"
    path.write_text(
        "math: {model: transformers/./models/mathstral, gpu_gb: 15}\nqwen: vllm/Qwen/Qwen3-8B\n"
    )
    roster = Roster.from_yaml(path)
    assert roster["math"].model == "transformers/./models/mathstral"
    assert model_folder(roster["math"]) == folder
    assert loadable_name(roster["math"]) == str(folder)
    assert model_folder(roster["qwen"]) is None
    assert loadable_name(roster["qwen"]) == "Qwen/Qwen3-8B"
    again = Roster.from_mapping(dict(roster.experts))
    assert again["math"] == roster["math"]


def test_a_local_model_is_free_and_waits_for_no_server(folder: Path) -> None:
    assert not does_network_io(expert(folder))
    assert not is_charged(expert(folder))
    assert is_charged(expert(folder, price={"gpu_second": 0.001}))


def test_sizes_come_from_the_headers(folder: Path) -> None:
    assert weights_gb(folder) == pytest.approx(3_080 / 1e9)
    assert weights_gb(folder, "float32") == pytest.approx(6_080 / 1e9)
    assert weights_gb(folder, "float16") == pytest.approx(3_080 / 1e9)


def test_shards_are_those_of_the_index(folder: Path) -> None:
    write_weights(folder / "one.safetensors", {"a": ("F32", [4], 16)})
    write_weights(folder / "other.safetensors", {"b": ("F32", [2], 8)})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "other.safetensors"}}))
    assert weights_gb(folder) == pytest.approx(24 / 1e9)
    (folder / "one.safetensors").unlink()
    with pytest.raises(Mistake, match=r"one.safetensors: no such file, and the model's index"):
        weights_gb(folder)


@pytest.mark.usefixtures("installed")
def test_a_sound_model_is_taken(folder: Path) -> None:
    check_model(expert(folder))
    check_model(expert(None, model="transformers/Qwen/Qwen3-8B"))


def _no_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def _a_file(folder: Path) -> None:
    _no_folder(folder)
    folder.write_text("x")


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _torn_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _no_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def _empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def _no_template(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{}")


DAMAGES = [
    (_no_folder, "models/mathstral: no such folder"),
    (_a_file, "is a file, not a folder"),
    (_no_config, "holds no config.json"),
    (_torn_config, "config.json: is damaged: it is not JSON"),
    (_no_weights, r"holds no \*.safetensors; copy its weights too"),
    (_pickled, "convert its weights to safetensors"),
    (_cut_short, r"is damaged: [\d,]+ bytes, and its header says [\d,]+"),
    (_no_header, "has no header of safetensors"),
    (_empty, "has no header of safetensors"),
    (_no_template, "has no chat template; name a file"),
]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("damage", "said"), DAMAGES, ids=[one.__name__ for one, _ in DAMAGES])
def test_what_cannot_be_loaded_is_told_in_one_line(folder: Path, damage: Any, said: str) -> None:
    damage(folder)
    with pytest.raises(Mistake, match=said) as caught:
        check_model(expert(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("installed")
def test_a_model_larger_than_its_share_is_refused(folder: Path) -> None:
    write_weights(folder / "model.safetensors", {"a": ("BF16", [500_000], 1_000_000)})
    said = r"'math': its weights alone take 0.001 GB and it is given 0.0005 \(gpu_gb\).* 0.1"
    with pytest.raises(Mistake, match=said):
        check_model(expert(folder, gpu_gb=0.0005))
    with pytest.raises(Mistake, match=r"take 0.002 GB"):
        check_model(expert(folder, gpu_gb=0.0015, options={"dtype": "float32"}))


@pytest.mark.usefixtures("installed")
def test_several_gpus_are_for_vllm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Mistake, match="not built: transformers/ experts run on one GPU"):
        check_model(expert(folder, gpu_gb=4.0, gpus=2))
    monkeypatch.setattr(machine, "gpus", lambda: (CARD, CARD))
    write_weights(folder / "model.safetensors", {"a": ("BF16", [500_000], 1_000_000)})
    wide = expert(folder, model="vllm/./models/mathstral", gpu_gb=0.0006, gpus=2)
    check_model(wide)
    with pytest.raises(Mistake, match=r"write about gpu_gb: 0.1"):
        check_model(wide.model_copy(update={"gpu_gb": 0.0004}))


@pytest.mark.usefixtures("installed")
def test_a_template_may_be_given(folder: Path, tmp_path: Path) -> None:
    _no_template(folder)
    check_model(expert(folder, options={"chat_template": "chat.jinja"}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    check_model(expert(folder))


def test_a_missing_library_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_models, "find_spec", lambda name: None)
    with pytest.raises(Mistake, match=r"'math': torch is not installed; pip install 'moot\[gpu\]'"):
        check_model(expert(folder))
    with pytest.raises(Mistake, match="vllm is not installed"):
        check_model(expert(folder, model="vllm/./models/mathstral"))


@pytest.mark.usefixtures("installed")
def test_cuda_that_is_not_there_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Mistake, match="wants CUDA, and no GPU was found here"):
        check_model(expert(folder, options={"device": "cuda"}))
    with pytest.raises(Mistake, match="wants CUDA, and no GPU was found here"):
        check_model(expert(folder, model="vllm/./models/mathstral"))
    monkeypatch.setattr(machine, "gpus", lambda: (CARD,))
    monkeypatch.setattr(local_models, "torch_cuda", lambda: None)
    with pytest.raises(Mistake, match="the torch that is installed was built without it"):
        check_model(expert(folder, gpu_gb=4.0, options={"device": "cuda:0"}))


@pytest.mark.usefixtures("installed")
def test_who_would_take_a_gpu_says_how_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (CARD,))
    with pytest.raises(Mistake, match=r"there is a GPU here; .* gpu_gb: 0.1  \(or"):
        check_model(expert(folder))
    with pytest.raises(Mistake, match="for example  gpu_gb: GB"):
        check_model(expert(None, model="transformers/Qwen/Qwen3-8B"))
    check_model(expert(folder, gpu_gb=4.0))
    check_model(expert(folder, options={"device": "cpu"}))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_model(expert(folder))


def test_identity_is_the_content_and_what_changes_the_words(folder: Path, tmp_path: Path) -> None:
    first = identify(expert(folder))
    moved = folder.rename(tmp_path / "elsewhere")
    assert identify(expert(moved)) == first
    assert identify(expert(moved, options={"device": "cpu", "batch_limit": 3})) == first
    assert identify(expert(moved, gpu_gb=15.0)) == first
    assert identify(expert(moved, options={"dtype": "float16"})) != first
    template = tmp_path / "chat.jinja"
    template.write_text("one")
    one = identify(expert(moved, options={"chat_template": str(template)}))
    template.write_text("other")
    assert identify(expert(moved, options={"chat_template": str(template)})) != one
    write_weights(moved / "model.safetensors", {"a": ("BF16", [100, 10], 2_000)})
    assert identify(expert(moved)) != first
    with pytest.raises(Mistake, match="no such folder"):
        identify(expert(folder))
    assert identify(expert(folder, revision="v1")).revision == "v1"


def test_large_files_are_sampled(folder: Path) -> None:
    path = folder / "model.safetensors"
    write_weights(path, {"a": ("U8", [4_000_000], 4_000_000)})
    first = identify(expert(folder))
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    assert identify(expert(folder)) != first


def test_torch_says_what_it_was_built_for() -> None:
    found = torch_cuda()
    assert found is None or found[0].isdigit()


def test_a_template_lies_beside_the_roster(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for place in (home, elsewhere):
        place.mkdir()
        (place / "chat.jinja").write_text(f"of {place.name}")
        (place / "model").symlink_to(folder)
    options = "options: {chat_template: chat.jinja, device: cpu}"
    (home / "roster.yaml").write_text(f"own: {{model: transformers/./model, {options}}}\n")
    monkeypatch.chdir(elsewhere)
    found = Roster.from_yaml(home / "roster.yaml")["own"]
    assert found.options["chat_template"] == str(home / "chat.jinja")
    assert found.data == str(home / "model")
    revision = identify(found).revision
    (elsewhere / "chat.jinja").write_text("changed")
    assert identify(found).revision == revision
    (home / "chat.jinja").write_text("changed")
    assert identify(found).revision != revision
