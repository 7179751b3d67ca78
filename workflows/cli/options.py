"""Options that several commands share."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from protocols.errors import Mistake

Store = Annotated[
    str, typer.Option("--store", metavar="URL", help="A SQLite file, or postgresql://...")
]
StoreOverride = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="Where the run is kept: a SQLite file, or postgresql://..."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set a key: protocols[1].rounds=2. Repeats."),
]
Casts = Annotated[
    list[str] | None,
    typer.Option(
        "--cast", metavar="ROLE=EXPERT", help="Cast an expert: judge=openai/gpt-4o-mini. Repeats."
    ),
]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        "--casts",
        metavar="ROLE=A,B",
        help="Run with each of several experts in a role; several roles make a grid. Repeats.",
    ),
]
FleetName = Annotated[
    str | None,
    typer.Option("--fleet", metavar="local|ray", help="Where experts live: this process, or Ray."),
]
Address = Annotated[
    str | None, typer.Option("--address", metavar="HOST:PORT", help="The Ray cluster.")
]
Drivers = Annotated[
    int | None,
    typer.Option(
        "--drivers",
        metavar="N",
        help="Processes that share the run out; they lease slices of the budget.",
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget", min=0.0, metavar="DOLLARS", help="Spend no more on the run; workflow: budget."
    ),
]
Cache = Annotated[
    bool | None,
    typer.Option(
        "--cache/--no-cache",
        help="Take replies to the same requests from the store; an age limit: --set cache=30d.",
    ),
]
Events = Annotated[
    str | None,
    typer.Option(
        "--events", metavar="FILE", help="Append what happens as JSON lines; - is standard error."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]
Html = Annotated[
    str | None, typer.Option("--html", metavar="FILE", help="Write a page that needs no network.")
]
Markdown = Annotated[str | None, typer.Option("--md", metavar="FILE", help="Write it as Markdown.")]
Plots = Annotated[
    str | None,
    typer.Option(
        "--plots", metavar="DIR", help="Write each plot as SVG, and as PNG with matplotlib."
    ),
]
OpenPage = Annotated[
    bool, typer.Option("--open", help="Open the page in a browser; without --html in a new file.")
]
Unit = Annotated[
    str | None,
    typer.Option("--unit", metavar="money|tokens|calls", help="What is held equal in prices."),
]
UntilDecided = Annotated[
    bool, typer.Option("--until-decided", help="Stop when every pair of protocols is decided.")
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's name, the beginning of it, or its id.")
]
WorkflowFile = Annotated[
    str,
    typer.Argument(metavar="WORKFLOW", help="A workflow file, or the name of one of the library."),
]


def pairs(given: list[str] | None, flag: str, example: str) -> dict[str, str]:
    """Return ``name=value`` options as a dictionary.

    Raises:
        Mistake: one of them is not of this form.
    """
    found: dict[str, str] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise Mistake(f"--{flag} {text!r}: write {example}")
        found[name.strip()] = value.strip()
    return found


def cast_options(given: list[str] | None) -> dict[str, str]:
    """Return ``--cast`` options by role.

    Raises:
        Mistake: one of them is not ROLE=EXPERT.
    """
    return pairs(given, "cast", "ROLE=EXPERT, for example judge=openai/gpt-4o-mini")


def grid_settings(given: list[str] | None) -> list[str]:
    """Return ``--casts`` options as overrides of a workflow.

    Raises:
        Mistake: one of them is not ROLE=EXPERT,EXPERT.
    """
    found = pairs(given, "casts", "ROLE=EXPERT,EXPERT, for example judge=offline/lexical-judge,me")
    settings = []
    for role, value in found.items():
        names = [name.strip() for name in value.split(",") if name.strip()]
        settings += [f"casts.{role}={json.dumps(names)}", f"cast.{role}=null"]
    return settings


def parameter_options(given: list[str] | None) -> dict[str, Any]:
    """Return the ``--set`` options of a fork: parameters of protocols, their values as YAML.

    Raises:
        Mistake: one of them is not PARAMETER=VALUE.
    """
    from workflows.settings.overrides import parse_override

    found: dict[str, Any] = {}
    for text in given or []:
        path, value = parse_override(text)
        if len(path) != 1 or not isinstance(path[0], str):
            raise Mistake(f"--set {text!r}: a fork sets parameters, for example rounds=2")
        found[path[0]] = value
    return found


def fleet_option(name: str | None) -> Any:
    """Return the fleet's name, or None where none is given.

    Raises:
        Mistake: there is no such fleet.
    """
    if name not in (None, "local", "ray"):
        raise Mistake(f"--fleet {name!r}: there is local (this process) and ray")
    return name
