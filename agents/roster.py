"""Rosters: the experts of a run.

An expert is a named model with its revision, sampling defaults, price and hardware needs. Its
label is for people; its identity (what changes the output) is the model's name and revision.

A roster in YAML maps labels to experts; a plain text is short for an expert with that model::

    mathstral:
      model: recorded/mmlu_pro/mathstral-7B
      data: questions.jsonl
    gpt: openai/gpt-4o-mini

A roster never holds a secret: ``key_env`` names the environment variable that does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agents.settings import checked, read_yaml, suggestion
from protocols.asks import Sampling
from protocols.cast import Member
from protocols.errors import Mistake

LOCAL = ("transformers", "vllm")
"""Providers whose models run on this machine, or on a worker's."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRETS = frozenset({"api_key", "apikey", "key", "password", "secret", "token"})


class Price(BaseModel):
    """List price in US dollars: per million tokens, per GPU second, or both together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: float = Field(0.0, ge=0.0)
    completion: float = Field(0.0, ge=0.0)
    gpu_second: float = Field(0.0, ge=0.0)
    """Of an expert on our own GPUs: a second of one GPU, shared by all that it runs at once."""


class Expert(BaseModel):
    """One entry of a roster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = ""
    """Its name in the roster; filled in from the mapping's key."""
    model: str
    """``provider/name``: openai/gpt-4o-mini, recorded/mmlu_pro/mathstral-7B, offline/..."""
    revision: str = ""
    """Commit or date; recorded experts compute theirs from their data."""
    sampling: Sampling = Sampling()
    """Defaults; a protocol's own settings take precedence."""
    price: Price | Literal["unknown"] | None = None
    """List price; None asks the engine (local, recorded and offline experts cost nothing)."""
    base_url: str | None = None
    """The server's address, for OpenAI-compatible servers. Not identity."""
    key_env: str | None = None
    """The environment variable that holds the key, where it is not the provider's usual one."""
    data: str | None = None
    """The file of recorded answers, for recorded experts; the folder of the model, for those that
    lie on this machine. The content is identity, the path not."""
    gpu_gb: float | None = Field(None, gt=0.0)
    """Memory that the model needs on each of its GPUs, in gigabytes. Not identity."""
    gpus: int = Field(1, ge=1)
    """How many GPUs it spreads over, where `gpu_gb` is set. Not identity."""
    accelerator: str | None = None
    """The kind of GPU that it needs, in Ray's words (``A100``, ``H100``...). Not identity."""
    timeout_s: float = Field(120.0, gt=0.0)
    """How long one attempt may take."""
    fallbacks: tuple[str, ...] = ()
    """The experts that answer in its place, in this order, when it does not. Not identity."""
    options: dict[str, Any] = {}
    """Settings of the engine, for example the script of a scripted expert."""

    @field_validator("model")
    @classmethod
    def _has_provider(cls, model: str) -> str:
        provider, _, name = model.partition("/")
        if not provider or not name:
            raise ValueError(
                f"{model!r} is not provider/model; write for example openai/gpt-4o-mini"
            )
        return model

    @field_validator("key_env")
    @classmethod
    def _names_a_variable(cls, name: str | None) -> str | None:
        if name is not None and _VARIABLE.fullmatch(name) is None:
            raise ValueError(
                "names an environment variable, for example OPENAI_API_KEY, never the key itself"
            )
        return name

    @field_validator("base_url")
    @classmethod
    def _holds_no_password(cls, url: str | None) -> str | None:
        if url is not None and "@" in url.partition("://")[2].partition("/")[0]:
            raise ValueError("must not hold a user or password; name the key's variable in key_env")
        return url

    @field_validator("options")
    @classmethod
    def _hold_no_secret(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in options:
            if name.lower() in _SECRETS:
                raise ValueError(f"must not hold {name!r}; name the key's variable in key_env")
        return options

    @property
    def provider(self) -> str:
        """The part of the model's name before the first slash."""
        return self.model.partition("/")[0]


def written_folder(model: str) -> str | None:
    """Return the path in a model's name, ``transformers/./models/mathstral``; None: an id of a hub.

    It begins with ``./``, ``../``, ``~`` or ``/``.
    """
    provider, _, name = model.partition("/")
    if provider not in LOCAL or not name.startswith(("./", "../", "~", "/")):
        return None
    return name


class UnknownExpert(Mistake, KeyError):
    """Nobody in the roster has that label."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True, eq=False)
class Roster(Mapping[str, Expert]):
    """The experts of a run by label, in the order in which they were written."""

    experts: dict[str, Expert]
    """Label to expert; each expert carries its label."""

    @classmethod
    def from_yaml(cls, path: str | Path) -> Roster:
        """Read a roster; files of recorded answers, models and templates are looked for beside it.

        Raises:
            Mistake: the file cannot be read, or holds something that is not a roster.
        """
        content = read_yaml(path)
        return cls.from_mapping(content, where=str(path), folder=Path(path).parent)

    @classmethod
    def from_mapping(
        cls, entries: object, *, where: str = "roster", folder: Path | None = None
    ) -> Roster:
        """Return the roster that `entries` describe.

        Args:
            entries: label to an expert's fields, to ``provider/model``, or to an Expert.
            where: how messages name the source.
            folder: where relative paths of data and chat templates start; None leaves them as they
                are.

        Raises:
            Mistake: an entry is not an expert; the message names the key.
        """
        if not isinstance(entries, Mapping) or not entries:
            raise Mistake(f"{where}: no experts; write lines such as  name: provider/model")
        return cls({label: _expert(label, e, where, folder) for label, e in entries.items()})

    def __getitem__(self, label: str) -> Expert:
        try:
            return self.experts[label]
        except KeyError:
            raise UnknownExpert(
                f"no expert {label!r} in the roster; {suggestion(label, self.experts)}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.experts)

    def __len__(self) -> int:
        return len(self.experts)

    def member(self, label: str) -> Member:
        """Return the expert as a cast knows it; reads the data of a recorded expert.

        Raises:
            Mistake: nobody has that label, or the expert cannot be identified.
        """
        from agents.engines import identify

        expert = self[label]
        return Member(expert=label, model=identify(expert), sampling=expert.sampling)


def _expert(label: object, entry: object, where: str, folder: Path | None) -> Expert:
    """Return one entry of a roster as an expert with its label and full paths."""
    if not isinstance(label, str) or not label.strip():
        raise Mistake(f"{where}: the label {label!r} is not text; put it in quotes")
    here = f"{where}: {label}"
    if isinstance(entry, Expert):
        expert = entry
    else:
        fields = {"model": entry} if isinstance(entry, str) else entry
        if not isinstance(fields, Mapping):
            raise Mistake(f"{here}: is neither provider/model nor a mapping with the key 'model'")
        expert = checked(Expert, dict(fields), here)
    if expert.label not in ("", label):
        raise Mistake(f"{here}: is labelled {expert.label!r} too; leave 'label' out")
    if folder is None:
        return expert.model_copy(update={"label": label})

    def absolute(path: str) -> str:
        return str((folder / Path(path).expanduser()).absolute())

    data, options = expert.data or written_folder(expert.model), expert.options
    template = options.get("chat_template")
    if expert.provider in LOCAL and isinstance(template, str):
        options = {**options, "chat_template": absolute(template)}
    data = None if data is None else absolute(data)
    return expert.model_copy(update={"label": label, "data": data, "options": options})
