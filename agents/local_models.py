"""Models that lie on this machine: ``transformers/...`` and ``vllm/...`` before anything is loaded.

Plain functions on files and names; no library of models is imported here. A name that begins with
``./``, ``../``, ``~`` or ``/`` is a folder, any other the id of a model on a hub. What the folder
of a relative name is, the roster's file decides, and keeps it as the expert's `data`; the name as
it was written stays the model's name, so that asks have the same keys wherever the folder lies.

Sizes come from the headers of the weights' files, which say the type and shape of every tensor.
A file that was cut short is seen here too: its header says how long it is.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents import machine
from agents.roster import Expert, written_folder
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake

LIBRARIES = {
    "transformers": ("torch", "transformers", "safetensors"),
    "vllm": ("vllm", "transformers"),
}
"""What an engine imports, by provider."""
INSTALLS = {"transformers": "pip install 'moot[gpu]'", "vllm": "pip install vllm"}
ROOM = 1.25
"""How much more than its weights an expert should be given: room for prompts (ours)."""

_GB = 1e9
_BITS = {"BOOL": 8, "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32}
_FLOATS = ("F64", "F32", "BF16", "F16")
_BITS_OF_DTYPE = {"float32": 32, "bfloat16": 16, "float16": 16}
_LONGEST_HEADER = 100_000_000
_IDENTITY = (
    "chat_options",
    "chat_template",
    "context_tokens",
    "dtype",
    "min_tokens",
    "quantization",
)
"""The options that change what is said; a template's content, not its path."""
_SAMPLES, _SAMPLE_BYTES = 16, 65_536
_TORCH_CUDA = re.compile(r"^cuda\b[^=]*=\s*['\"]([0-9.]+)['\"]", re.MULTILINE)


def model_folder(expert: Expert) -> Path | None:
    """Return the folder of an expert's model; None where its name is an id on a hub."""
    if expert.data is not None:
        return Path(expert.data)
    written = written_folder(expert.model)
    return None if written is None else Path(written).expanduser().absolute()


def loadable_name(expert: Expert) -> str:
    """Return what a library of models is told to load: a folder, or an id on a hub."""
    folder = model_folder(expert)
    return expert.model.partition("/")[2] if folder is None else str(folder)


def check_model(expert: Expert) -> None:
    """Look for what would keep an expert from being loaded here; nothing is imported or loaded.

    Raises:
        Mistake: a library is missing; it spreads over several GPUs and its engine cannot; there is
            no such folder, or it is no model, or one of its
            files was cut short; it has no chat template; it needs more than its `gpu_gb`; it wants
            CUDA and there is none; or it would take a GPU without saying how much of it.
    """
    who = _who(expert)
    for library in LIBRARIES[expert.provider]:
        if find_spec(library) is None:
            install = INSTALLS[expert.provider]
            raise Mistake(f"{who}: {library} is not installed; {install}")
    check_gpus(expert)
    folder = model_folder(expert)
    if folder is not None:
        _check_folder(folder, expert)
    _check_device(expert, folder)


def check_gpus(expert: Expert) -> None:
    """Check that an expert's engine spreads over as many GPUs as the expert asks for.

    Raises:
        Mistake: it does not.
    """
    if expert.provider == "transformers" and expert.gpus > 1:
        raise Mistake(
            f"{_who(expert)}: not built: transformers/ experts run on one GPU, and this one asks "
            f"for {expert.gpus} (gpus); write vllm/ in the place of transformers/"
        )


def weights_gb(folder: Path, dtype: str = "auto") -> float:
    """Return what the weights in a folder take in memory, in gigabytes.

    Args:
        folder: of the model.
        dtype: float32, bfloat16 or float16; auto: as they are stored. Integers stay as they are.

    Raises:
        Mistake: a file is damaged.
    """
    bits = 0
    for path in weight_files(folder):
        for kind, count in _tensors(path):
            wide = _BITS.get(kind, 16 if "16" in kind else 8)
            bits += count * (_BITS_OF_DTYPE.get(dtype, wide) if kind in _FLOATS else wide)
    return bits / 8 / _GB


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a model's weights, sorted; of a sharded one those that its index names.

    Raises:
        Mistake: the index cannot be read, or names a file that is not there.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return tuple(sorted(folder.glob("*.safetensors")))
    names = _read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise Mistake(f"{index}: names no files; copy the model again")
    files = tuple(folder / name for name in sorted({str(name) for name in names.values()}))
    for path in files:
        if not path.is_file():
            raise Mistake(f"{path}: no such file, and the model's index names it; copy it again")
    return files


def model_revision(expert: Expert) -> str:
    """Return what of an expert is identity beside its name.

    That is the revision of the roster, else a fingerprint of the model's folder (its small files,
    and the weights' sizes, headers and samples), and a digest of the options that change what is
    said.

    Raises:
        Mistake: the folder is not there, or the template's file cannot be read.
    """
    folder = model_folder(expert)
    revision = expert.revision
    if not revision and folder is not None:
        _check_folder(folder, expert, deep=False)
        files = sorted(path for path in folder.iterdir() if _matters(path))
        state = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
        revision = _fingerprint(state)
    said = {name: expert.options[name] for name in _IDENTITY if name in expert.options}
    template = said.get("chat_template")
    if isinstance(template, str):
        said["chat_template"] = sha256_hex(_read_text(Path(template).expanduser(), _who(expert)))
    if not said:
        return revision
    try:
        digest = sha256_hex(canonical_json(said))[:16]
    except (TypeError, ValueError):
        raise Mistake(f"{_who(expert)}: options hold something that JSON has no form for") from None
    return f"{revision}+{digest}".removeprefix("+")


def torch_cuda() -> str | None:
    """Return the version of CUDA that the installed torch was built for, without importing it.

    None where torch is not installed, or was built without CUDA.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = _TORCH_CUDA.search(text)
    return None if found is None else found[1]


def _check_folder(folder: Path, expert: Expert, *, deep: bool = True) -> None:
    """Raise where a folder holds no model; `deep`: also where its files are damaged."""
    who = _who(expert)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise Mistake(f"{who}: {folder}: {what}; relative paths start beside the workflow's file")
    config = folder / "config.json"
    if not config.is_file():
        raise Mistake(f"{who}: {folder}: holds no config.json, so it is no folder of a model")
    if not deep:
        return
    _read_json(config)
    if not weight_files(folder):
        others = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        hint = "; convert its weights to safetensors" if others else "; copy its weights too"
        raise Mistake(f"{who}: {folder}: holds no *.safetensors{hint}")
    dtype = expert.options.get("dtype", "auto")
    size = weights_gb(folder, dtype if isinstance(dtype, str) else "auto")
    if expert.gpu_gb is not None and size > expert.gpu_gb * expert.gpus:
        raise Mistake(
            f"{who}: its weights alone take {size:.3g} GB and it is given "
            f"{expert.gpu_gb * expert.gpus:g} (gpu_gb); write about gpu_gb: "
            f"{_with_room(size / expert.gpus):g}"
        )
    if "chat_template" not in expert.options and not _has_template(folder):
        raise Mistake(
            f"{who}: {folder}: its tokenizer has no chat template; name a file with one:  options: "
            "{chat_template: FILE}"
        )


def _check_device(expert: Expert, folder: Path | None) -> None:
    """Raise where an expert wants CUDA that is not here, or a GPU of which it says too little."""
    who, device = _who(expert), str(expert.options.get("device", "auto"))
    on_cuda = device.startswith("cuda") or (expert.provider == "vllm" and device == "auto")
    cards = _usable_cards()
    if on_cuda and not cards:
        raise Mistake(f"{who}: wants CUDA, and no GPU was found here; write  device: cpu")
    if expert.provider == "transformers" and device.startswith("cuda") and torch_cuda() is None:
        raise Mistake(f"{who}: wants CUDA, and the torch that is installed was built without it")
    if expert.gpu_gb is None and device != "cpu" and cards:
        size = 0.0 if folder is None else weights_gb(folder, str(expert.options.get("dtype")))
        much = f"{_with_room(size):g}" if size else "GB"
        raise Mistake(
            f"{who}: there is a GPU here; say how much of it the model takes, for example  gpu_gb: "
            f"{much}  (or run it without:  options: {{device: cpu}})"
        )


def _usable_cards() -> tuple[machine.Gpu, ...]:
    """Return the GPUs of this machine; none where this process may use none of them."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    return () if hidden else machine.gpus()


def _with_room(size: float) -> float:
    """Return a size in gigabytes with room for prompts, rounded up to a tenth."""
    return math.ceil(size * ROOM * 10) / 10


def _has_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and bool(_read_json(settings).get("chat_template"))


def _tensors(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (type, number of values) of each tensor in a file of weights.

    Raises:
        Mistake: the file is damaged: its header is none, or it is shorter than that says.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _LONGEST_HEADER):
                raise ValueError("too long")
            header = json.loads(file.read(length))
        tensors = [one for name, one in header.items() if name != "__metadata__"]
        end = max((one["data_offsets"][1] for one in tensors), default=0)
        found = [(str(one["dtype"]), math.prod(one["shape"])) for one in tensors]
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror or error}") from None
    except (AttributeError, KeyError, TypeError, ValueError, struct.error):
        raise Mistake(f"{path}: is damaged: it has no header of safetensors; copy it again") from (
            None
        )
    if 8 + length + end != size:
        raise Mistake(
            f"{path}: is damaged: {size:,} bytes, and its header says {8 + length + end:,}; copy "
            "it again"
        )
    yield from found


def _matters(path: Path) -> bool:
    """Whether a file of a model's folder belongs to its fingerprint."""
    kinds = (".json", ".jinja", ".model", ".safetensors", ".txt")
    return path.is_file() and path.suffix in kinds and not path.name.startswith(".")


@lru_cache(maxsize=256)
def _fingerprint(state: tuple[tuple[str, int, int], ...]) -> str:
    """Return 16 hexadecimal digits over files: small ones whole, of large ones samples."""
    digest = blake2b(digest_size=8)
    for name, size, _ in state:
        path = Path(name)
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= 2 * _SAMPLES * _SAMPLE_BYTES:
                digest.update(file.read())
                continue
            for i in range(_SAMPLES):
                file.seek(i * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise Mistake(f"{path}: is damaged: it is not JSON; copy it again") from None
    if not isinstance(content, dict):
        raise Mistake(f"{path}: is damaged: it is not a JSON object; copy it again")
    return content


def _read_text(path: Path, who: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Mistake(f"{who}: chat_template: {path}: no such file") from None
    except (OSError, UnicodeDecodeError):
        raise Mistake(f"{who}: chat_template: {path}: cannot be read as UTF-8 text") from None


def _who(expert: Expert) -> str:
    return f"expert {(expert.label or expert.model)!r}"
