"""Workflow files: what a run is to do, as YAML with dotted overrides.

A workflow names questions, experts, and the protocols to compare. Paths in a file are relative to
that file, paths in an override to the present directory; ``moot:NAME`` is data that comes with
moot. Everything that is wrong in a file is one line that names the key.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator

from agents.roster import Expert, Roster
from agents.settings import checked, read_yaml, suggestion
from orchestrator.limits.limits import Limit
from orchestrator.limits.retry import RetryPolicy
from orchestrator.money.ledger import Budget
from protocols.contract import Protocol
from protocols.errors import Mistake
from workflows.comparing.grid import as_written, on_grid, read_grid
from workflows.settings.assets import AssetSetting, checked_assets
from workflows.settings.endpoints import Rules, checked_limits
from workflows.settings.fleets import FleetSpec
from workflows.settings.meetings import CrossplaySpec
from workflows.settings.overrides import apply_override
from workflows.settings.paths import with_absolute_paths
from workflows.settings.prompt_files import with_prompts
from workflows.settings.sections import ProfileSpec, QuestionsSpec, Section
from workflows.settings.spending import CacheSpec, expanded_budget, expanded_cache

BASELINES = ("best_single", "oracle", "random")
"""Rows that every table has; no protocol may take their names."""
POOL = "pool"
"""In a cast: the experts of the workflow's pool."""

_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")


class RoleCast(Section):
    """Who sits in a role. A label, or a list of them, is short for its `experts`."""

    experts: tuple[str, ...] = (POOL,)
    """Labels, ``provider/model`` names, or ``pool``."""
    reads_passage: bool | None = None
    """Whether the role reads the passage; by default what the protocol says."""

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: object) -> object:
        if isinstance(data, (list, tuple)):
            return {"experts": tuple(data)}
        if isinstance(data, dict) and isinstance(data.get("experts"), str):
            return {**data, "experts": (data["experts"],)}
        return {"experts": (data,)} if isinstance(data, (str, int, float)) else data


class ProtocolSpec(Section):
    """One protocol to run; its parameters stand beside `kind`."""

    kind: str
    """Which protocol."""
    name: str = ""
    """What tables call it; by default its kind."""
    cast: dict[str, RoleCast] = Field({})
    """Takes precedence over the workflow's cast."""
    parameters: dict[str, Any] = Field({})
    """The protocol's parameters, with their defaults."""
    filled: tuple[str, ...] = ()
    """The roles that a grid of casts fills in it."""
    written_as: str = ""
    """Its name before that."""

    def build(self) -> Protocol:
        """Return the protocol with these parameters."""
        from protocols.registry import make_protocol

        return make_protocol(self.kind, self.parameters)

    def resolved(self) -> dict[str, Any]:
        """Return cast and parameters as JSON, as a workflow file may hold them."""
        cast = {role: cast.model_dump(mode="json") for role, cast in self.cast.items()}
        return {"cast": cast, **self.parameters}


class Workflow(Section):
    """A whole workflow, checked."""

    name: str | None = None
    """The run's name; by default the file's stem and eight digits of the data's hash."""
    questions: QuestionsSpec
    profile: ProfileSpec | None = None
    pool: tuple[str, ...] | None = None
    """Labels or names of recorded models; by default the models found in both files."""
    experts: dict[str, Expert] = Field({})
    """The roster, by label."""
    protocols: tuple[ProtocolSpec, ...] = Field(min_length=1)
    """What is compared; the meetings of a cross-play stand last."""
    crossplay: CrossplaySpec | None = None
    """Debaters that all meet, to be rated."""
    teams: dict[str, ProtocolSpec] = Field({})
    """Protocols that may fill a seat in the place of an expert, by label."""
    cast: dict[str, RoleCast] = Field({})
    """Who sits in which role, for all protocols."""
    casts: dict[str, tuple[RoleCast, ...]] = Field({})
    """A grid: who may sit in which role; each protocol is run with every combination."""
    assets: dict[str, AssetSetting] = Field({})
    """What sessions read beside their question, by name: files, or the content itself."""
    store: str = "moot.db"
    """A file of SQLite, or a database URL."""
    seed: int = 0
    """Of everything that a session draws."""
    repeats: int = Field(1, ge=1)
    """How often each protocol is run on each question."""
    budget: Budget | None = None
    """What the run may spend, in US dollars, tokens, calls and seconds; a number is dollars."""
    cache: CacheSpec | None = None
    """Take replies to the same requests from the store: ``true``, or how old they may be."""
    retry: RetryPolicy = RetryPolicy()
    """When an attempt that failed is made again, and when that ends."""
    limits: dict[str, Limit] = Field({})
    """What endpoints allow: by provider, ``provider:KEY_ENV``, or a server's address."""
    fleet: FleetSpec = FleetSpec()
    """Where engines live: in this process, or on a Ray cluster; a name, or a mapping."""

    _stem: str = PrivateAttr("workflow")

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        seen: set[str] = set()
        for spec in self.protocols:
            name = spec.name or spec.kind
            if name in BASELINES:
                raise ValueError(f"{name!r} is the name of a baseline; call the protocol otherwise")
            if name in seen:
                raise ValueError(f"two protocols are called {name!r}; give one another 'name'")
            seen.add(name)
        return self

    @property
    def written(self) -> tuple[ProtocolSpec, ...]:
        """The protocols that the file names itself, without meetings of a cross-play and grids."""
        made = len(self.crossplay.meetings()) if self.crossplay else 0
        return as_written(self.protocols[: len(self.protocols) - made])

    @property
    def rules(self) -> Rules:
        """How endpoints are treated."""
        return Rules(self.retry, self.limits)

    @property
    def stem(self) -> str:
        """The name of the file that the workflow was read from, without its ending."""
        return self._stem

    @classmethod
    def from_mapping(
        cls, data: Mapping[str, Any], where: str = "workflow", folder: Path | None = None
    ) -> Workflow:
        """Return the workflow that plain data describe.

        Args:
            data: as a workflow file holds it.
            where: how messages name it; a file's stem becomes part of the run's default name.
            folder: where relative paths start; by default the present directory.

        Raises:
            Mistake: one line for the first thing that is wrong.
        """
        data = with_absolute_paths(dict(data), folder or Path.cwd())
        for key in data:
            if key not in cls.model_fields:
                raise Mistake(
                    f"{where}: {key}: no such key; {suggestion(str(key), cls.model_fields)}"
                )
        if isinstance(data.get("crossplay"), dict):
            data["crossplay"] = {
                key: with_prompts(e, f"{where}: crossplay.{key}") if isinstance(e, dict) else e
                for key, e in data["crossplay"].items()
            }
        for key, expand in (("budget", expanded_budget), ("cache", expanded_cache)):
            data[key] = expand(data.get(key))
        sections: dict[str, type[BaseModel]] = {
            "cache": CacheSpec,
            "questions": QuestionsSpec,
            "profile": ProfileSpec,
            "budget": Budget,
            "retry": RetryPolicy,
            "crossplay": CrossplaySpec,
            "fleet": FleetSpec,
        }
        for key, kind in sections.items():
            if data.get(key) is not None:
                data[key] = checked(kind, data[key], f"{where}: {key}")
        if data.get("experts"):
            data["experts"] = Roster.from_mapping(
                data["experts"], where=f"{where}: experts"
            ).experts
        data["limits"] = checked_limits(data.get("limits"), f"{where}: limits")
        data["cast"] = _cast(data.get("cast"), f"{where}: cast")
        data["assets"] = checked_assets(data.get("assets"), f"{where}: assets")
        data["teams"] = _teams(data.get("teams"), f"{where}: teams", data.get("experts") or ())
        if isinstance(data.get("protocols"), list):
            data["protocols"] = tuple(
                _protocol(entry, f"{where}: protocols[{i}]")
                for i, entry in enumerate(data["protocols"])
            )
        data["casts"] = read_grid(RoleCast, data, f"{where}: casts")
        data["protocols"] = on_grid(data.get("protocols"), data["casts"])
        if isinstance(data.get("crossplay"), CrossplaySpec):
            data["protocols"] = _with_meetings(data, f"{where}: crossplay")
        workflow = _checked_whole(cls, {k: v for k, v in data.items() if v is not None}, where)
        workflow._stem = Path(where).name.partition(".")[0] or "workflow"
        return workflow

    def resolved(self) -> dict[str, Any]:
        """Return the configuration as JSON: all defaults filled in, no password."""
        data = self.model_dump(mode="json", exclude={"protocols", "teams"})
        data["store"] = _PASSWORD.sub(r"\1:***@", self.store)
        data["protocols"] = [
            {"kind": spec.kind, "name": spec.name or spec.kind, **spec.resolved()}
            for spec in self.written
        ]
        data["teams"] = {
            label: {"kind": spec.kind, **spec.resolved()} for label, spec in self.teams.items()
        }
        return {key: data[key] for key in type(self).model_fields}


def load_workflow(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Workflow:
    """Read a workflow file, or a library workflow by its name, and apply dotted overrides.

    Raises:
        Mistake: there is no such file, or something in it or in an override is wrong.
    """
    place = find_workflow(path)
    data = read_yaml(place)
    if not isinstance(data, dict):
        raise Mistake(f"{place.name}: not a mapping of keys; moot init writes an example")
    data = with_absolute_paths(data, place.parent.absolute())
    for override in overrides:
        apply_override(data, override)
    return Workflow.from_mapping(data, where=place.name)


def as_workflow(workflow: Workflow | str | Path, overrides: Sequence[str] = ()) -> Workflow:
    """Return a workflow, read from its file where it is not one yet; see :func:`load_workflow`.

    Raises:
        Mistake: see there; or overrides go with a workflow that is read already.
    """
    if not isinstance(workflow, Workflow):
        return load_workflow(workflow, [*overrides])
    if overrides:
        raise Mistake("overrides belong to a workflow file; change the Workflow itself")
    return workflow


def library_workflows() -> dict[str, Path]:
    """Return the workflows that come with moot, by name."""
    folder = Path(str(files("workflows").joinpath("library")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_workflow(path: str | Path) -> Path:
    """Return where a workflow lies: a file, or one of the library by its name or its path there.

    Raises:
        Mistake: there is none.
    """
    place = Path(path)
    if place.is_file():
        return place
    library = library_workflows()
    in_library = place.parts[-3:-1] == ("workflows", "library") or len(place.parts) == 1
    if in_library and place.suffix in ("", ".yaml") and place.stem in library:
        return library[place.stem]
    raise Mistake(
        f"{path}: no such workflow file; the library holds {', '.join(library)} (moot init writes "
        "a file of your own)"
    )


def _cast(data: object, where: str) -> dict[str, RoleCast]:
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Mistake(f"{where}: not a mapping; write role: expert")
    return {
        str(role): checked(RoleCast, entry, f"{where}.{role}")
        for role, entry in data.items()
        if entry is not None  # an override may take a role out of it
    }


def _teams(data: object, where: str, experts: Container[str]) -> dict[str, ProtocolSpec]:
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Mistake(f"{where}: not a mapping; write label: {{kind: plurality, cast: ...}}")
    for label, entry in data.items():
        if label in experts or label == POOL:
            raise Mistake(f"{where}.{label}: names an expert too; call the team otherwise")
        if isinstance(entry, dict) and "name" in entry:
            raise Mistake(f"{where}.{label}.name: no such parameter; its name is {label!r}")
    teams = {str(label): _protocol(entry, f"{where}.{label}") for label, entry in data.items()}
    for label in teams:
        _refuse_circle(teams, label, (), f"{where}.{label}")
    return teams


def _refuse_circle(
    teams: Mapping[str, ProtocolSpec], label: str, above: tuple[str, ...], where: str
) -> None:
    """Raise where a team sits in itself."""
    if label in above:
        raise Mistake(f"{where}: the team {label!r} sits in itself; cast somebody else in it")
    for role in teams[label].cast.values():
        for member in role.experts:
            if member in teams:
                _refuse_circle(teams, member, (*above, label), where)


def _protocol(entry: object, where: str) -> ProtocolSpec:
    """Return one entry of ``protocols``; its parameters are checked and filled up."""
    from protocols.registry import protocol_class

    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise Mistake(f"{where}: is missing 'kind'; write for example  - kind: plurality")
    given = with_prompts(entry, where)
    own = {key: value for key, value in given.items() if key not in ("kind", "name", "cast")}
    try:
        kind = protocol_class(entry["kind"])
    except Mistake as mistake:
        raise Mistake(f"{where}.kind: {mistake}") from None
    for key in own:
        if key not in kind.model_fields:
            hint = suggestion(str(key), [*kind.model_fields, "cast", "kind", "name"])
            raise Mistake(f"{where}.{key}: no such parameter; {hint}")
    spec = {
        "kind": entry["kind"],
        "name": entry.get("name") or "",
        "cast": _cast(entry.get("cast"), f"{where}.cast"),
        "parameters": checked(kind, own, where).parameters(),
    }
    return checked(ProtocolSpec, spec, where)


def _with_meetings(data: Mapping[str, Any], where: str) -> object:
    """Return the protocols with the meetings of a cross-play behind them."""
    written = () if data.get("protocols") is None else data["protocols"]
    if not isinstance(written, tuple):
        return written
    entries = data["crossplay"].entries()
    return (*written, *(_protocol(entry, f"{where}.{entry['kind']}") for entry in entries))


def _checked_whole(kind: type[Workflow], data: dict[str, Any], where: str) -> Workflow:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        steps = [f"[{step}]" if isinstance(step, int) else str(step) for step in first["loc"]]
        place = "".join([f"{steps[0]}", *steps[1:]]) if steps else "protocols"
        if first["type"] == "missing":
            raise Mistake(f"{where}: {place}: is missing; add it") from None
        text = first["msg"].removeprefix("Value error, ")
        raise Mistake(f"{where}: {place}: {text[:1].lower()}{text[1:]}") from None
