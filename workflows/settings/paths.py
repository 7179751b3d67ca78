"""Paths in workflow files: where the files lie that a workflow names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.roster import LOCAL, written_folder
from workflows.questions.sources import PACKED


def with_absolute_paths(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return `data` with the paths in it absolute; relative ones start at `folder`."""
    data = dict(data)
    for key in ("questions", "profile"):
        data[key] = _within(data.get(key), "path", folder)
    if isinstance(data.get("protocols"), list):
        data["protocols"] = [_within(entry, "prompts", folder) for entry in data["protocols"]]
    if isinstance(data.get("experts"), dict):
        data["experts"] = {k: _with_model(one, folder) for k, one in data["experts"].items()}
    for key, named in (("experts", "data"), ("teams", "prompts"), ("crossplay", "prompts")):
        if isinstance(data.get(key), dict):
            data[key] = {label: _within(one, named, folder) for label, one in data[key].items()}
    if isinstance(data.get("assets"), dict):
        data["assets"] = {name: _absolute(one, folder) for name, one in data["assets"].items()}
    if "store" in data:
        data["store"] = _absolute(data["store"], folder)
    return data


def _with_model(entry: object, folder: Path) -> object:
    """Return an expert with the folder of its model, and the file of its chat template."""
    fields = {"model": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict):
        return entry
    written = written_folder(str(fields.get("model")))
    if written is not None and fields.get("data") is None:
        fields = {**fields, "data": _absolute(written, folder)}
    if str(fields.get("model")).partition("/")[0] in LOCAL:
        fields = {**fields, "options": _within(fields.get("options"), "chat_template", folder)}
    return {k: v for k, v in fields.items() if k != "options" or v is not None}


def _absolute(path: object, folder: Path) -> object:
    if not isinstance(path, str) or not path or path.startswith(PACKED) or "://" in path:
        return path
    return str((folder / Path(path).expanduser()).absolute())


def _within(section: object, key: str, folder: Path) -> object:
    if not isinstance(section, dict) or key not in section:
        return section
    return {**section, key: _absolute(section[key], folder)}
