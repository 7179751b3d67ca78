"""Models on disk: which files hold their weights, what the headers say, and reading them.

A model is a folder as the hub has it: ``config.json``, and its weights in safetensors files, one or
several with an index. Pickled weights are refused: reading them runs what they say. What is wrong
with a folder is told in one line, with the file's name.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from protocols.errors import Mistake

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
_OTHERS = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the headers of a model's files say."""

    folder: Path
    files: tuple[Path, ...]
    tensors: dict[str, tuple[int, str]]
    """By name: number of elements, and dtype as safetensors calls it (BF16, F32, I64...)."""

    def bytes(self, dtype: torch.dtype | None = None) -> int:
        """Return the size of the weights, floating point ones cast to `dtype`; None: as stored."""
        size = None if dtype is None else dtype.itemsize
        return sum(
            count * (size if size and _floats(kind) else _width(kind))
            for count, kind in self.tensors.values()
        )


def find_model(name: str, revision: str = "") -> Path:
    """Return the folder of a model: `name` is a folder, or a hub id, which is fetched if need be.

    Raises:
        Mistake: there is no such folder, or the hub does not give it.
    """
    if name.startswith(("./", "../", "/", "~")) or Path(name).is_dir():
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise Mistake(f"{name}: no such folder; a local model is a folder with config.json")
        return folder
    from agents.weights_hub import hub_folder

    def weights(folder: Path) -> list[str]:
        return _shards(folder / _INDEX) if (folder / _INDEX).is_file() else [_SINGLE]

    return hub_folder(name, revision, weights)


def examine(path: str | Path) -> Checkpoint:
    """Return what the headers of a model's files say; no weights are read.

    Raises:
        Mistake: a file is missing or not whole, or the weights are not safetensors.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise Mistake(f"{folder}: no such folder; a model is a folder with config.json")
    if not (folder / "config.json").is_file():
        raise Mistake(f"{folder}: holds no config.json; give the folder of one model")
    tensors: dict[str, tuple[int, str]] = {}
    files = tuple(folder / name for name in _names(folder))
    for file in files:
        try:
            with safe_open(str(file), framework="pt") as reader:
                for name in reader.keys():  # noqa: SIM118 - the reader is no mapping
                    part = reader.get_slice(name)
                    count = 1
                    for size in part.get_shape():
                        count *= size
                    tensors[name] = count, str(part.get_dtype())
        except FileNotFoundError:
            raise Mistake(f"{file}: is missing; copy the model again") from None
        except (SafetensorError, OSError) as error:
            raise Mistake(f"{file}: is corrupt ({_line(error)}); copy it again") from None
    return Checkpoint(folder, files, tensors)


def from_disk(checkpoint: Checkpoint, dtype: torch.dtype | None) -> Any:
    """Return the model with its weights, in host memory.

    Raises:
        Mistake: the files do not hold this architecture's weights.
    """
    folder = str(checkpoint.folder)
    _be_quiet()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if getattr(config, "quantization_config", None) is not None:
            raise Mistake(
                f"{folder}: its weights are quantised, which transformers/ experts are not; use "
                "vllm/ or a server of its own"
            )
        module, found = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype="auto" if dtype is None else dtype,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # told of below, by name
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        raise Mistake(f"{folder}: cannot be read as a model ({_line(error)})") from None
    for name, *shapes in sorted(found["mismatched_keys"], key=str):
        sizes = " where config.json makes it ".join(str(tuple(shape)) for shape in shapes)
        raise Mistake(f"{folder}: {name} is {sizes}; the files are of different models")
    missing = sorted(str(name) for name in found["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise Mistake(f"{folder}: its files lack {missing[0]}{more}; copy the model again")
    module.requires_grad_(False)
    return module.eval()


def _names(folder: Path) -> list[str]:
    """Return the names of the files that hold a model's weights."""
    if (folder / _INDEX).is_file():
        return _shards(folder / _INDEX)
    if (folder / _SINGLE).is_file():
        return [_SINGLE]
    if any(folder.glob("*.bin")):
        raise Mistake(
            f"{folder}: has weights in pickled .bin files, which can run code; convert them: load "
            "the model with transformers and call save_pretrained"
        )
    raise Mistake(f"{folder}: holds no {_SINGLE}; give the folder of one model, with its weights")


def _shards(index: Path) -> list[str]:
    """Return the files that an index names."""
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        files = sorted({str(name) for name in named})
    except (ValueError, KeyError, AttributeError, OSError) as error:
        raise Mistake(f"{index}: is corrupt ({_line(error)}); copy it again") from None
    if not files or any(Path(name).name != name for name in files):
        raise Mistake(f"{index}: names no files beside it; copy the model again")
    return files


def _floats(kind: str) -> bool:
    return kind in _FLOATS


def _width(kind: str) -> int:
    return _FLOATS.get(kind) or _OTHERS.get(kind, 1)


def _be_quiet() -> None:
    """Let what `transformers` reports be told by this module's messages alone."""
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _line(error: BaseException) -> str:
    """Return an error in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
