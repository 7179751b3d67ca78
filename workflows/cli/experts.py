"""The verbs about experts: measure them, show what they are good at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protocols.errors import Mistake
from workflows.cli import learning, options
from workflows.cli.learning import put_or_write
from workflows.cli.running import close, load, perform
from workflows.cli.screen import command_name, near, put, put_json, say
from workflows.cli.tables import put_wrapped
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from agents.profile_file import Measured
    from workflows.recruiting.exams import Exam
    from workflows.settings.configuration import Workflow

Annotating = Annotated[
    str | None, typer.Option("--annotator", metavar="EXPERT", help="Names the skills.")
]
Menu = Annotated[
    str | None,
    typer.Option("--menu", metavar="A,B|FILE", help="The skills to choose from, for menu."),
]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Ask again what a provider failed.")]

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What experts are good at: measure them on questions, show their profiles.",
)


@app.command("profile")
def profile(
    workflow: Annotated[
        str, typer.Argument(metavar="[WORKFLOW]", help="Names questions, experts and pool.")
    ] = "profile",
    *,
    questions: Annotated[
        str | None, typer.Option("--questions", metavar="FILE", help="Measure on these questions.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", metavar="A,B", help="Measure these experts.")
    ] = None,
    skills: Annotated[
        str | None,
        typer.Option(
            "--skills",
            metavar="subject|text|annotated|menu",
            help="Who names the skills: the data, key phrases of the text, or an expert.",
        ),
    ] = None,
    annotator: Annotating = None,
    menu: Menu = None,
    update: Annotated[
        str | None,
        typer.Option("--update", metavar="RUN|FILE", help="Add to a profile measured before."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.json", help="Export the profile.")
    ] = None,
    settings: options.Settings = None,
    store: options.StoreOverride = None,
    fleet: options.FleetName = None,
    retry_failed: Retry = False,
    as_json: options.Json = False,
) -> None:
    """Let every expert answer the questions, grade them, and keep how good each is at what.

    Example: moot experts profile --questions FILE --out profile.json
    """
    loaded = load(workflow, [*_overrides(questions, pool), *(settings or [])], None, store)
    base = None if update is None else _found(update, loaded.store)
    named = skills or (base.skills_by if base else _written_skills(loaded))
    exams = _exam(loaded, named, annotator, menu)
    result = perform(exams, fleet=fleet, retry_failed=retry_failed)
    if result.ending != "finished":
        close(result)
    exam, measured = _measure(loaded.store, result.run_id, named, base)
    if out is not None:
        from agents.profile_file import write_measured

        write_measured(out, measured)
    if as_json:
        facts = {"price": exam.price.as_json(), "notes": [*result.notes, *exam.notes], "out": out}
        put_json({**_told(exam.run, measured), **facts})
        return
    _put_exam(exam, measured)
    say(f"\nkept in {near(result.store)} as run {result.name} (id {result.run_id})")
    if out is not None:
        say(f"exported to {out}; use it:  profile: {{path: {out}}}")


def _found(source: str | None, store: str) -> Measured:
    from workflows.recruiting.profiling import find_measured

    return find_measured(source, store)[1]


def _measure(store: str, run_id: int, skills: str, base: Measured | None) -> tuple[Exam, Measured]:
    """Grade what a run recorded, add it to what was measured before, and keep it."""
    from orchestrator.store import Store
    from workflows.api import find_run
    from workflows.recruiting.exams import read_exam
    from workflows.recruiting.profiling import save_measured

    with Store.open(store) as opened:
        run = find_run(opened, str(run_id))
        exam = read_exam(opened, run, _name(skills))
        measured = exam.measured if base is None else base.plus(exam.measured)
        save_measured(opened, run, measured)
    return exam, measured


def _put_exam(exam: Exam, measured: Measured) -> None:
    from workflows.cli.profiles import put_measured, put_price

    put_measured(measured)
    put_price(exam.price)
    for note in exam.notes:
        put_wrapped(f"{note}.")


def _overrides(questions: str | None, pool: str | None) -> list[str]:
    found = []
    if questions is not None:
        found.append(f"questions.path={json.dumps(questions)}")
        if pool is None:
            found.append("pool=null")
    if pool is not None:
        labels = [label.strip() for label in pool.split(",") if label.strip()]
        found.append(f"pool={json.dumps(labels)}")
    return found


def _name(skills: str) -> Any:
    from agents.annotators import annotator_called

    return annotator_called(skills).name


def _written_skills(workflow: Workflow) -> str:
    """Return who names skills by the workflow's own protocols: the data where none does."""
    from workflows.comparing.results import NAMES_SKILLS

    for spec in workflow.protocols:
        if spec.kind == NAMES_SKILLS:
            return "menu" if spec.parameters.get("menu") else "annotated"
    return "subject"


def _exam(workflow: Workflow, skills: str, annotator: str | None, menu: str | None) -> Workflow:
    from workflows.questions.data_files import load_inputs
    from workflows.recruiting.exams import exam_workflow
    from workflows.running.casting import Casting

    name = _name(skills)
    if menu is not None and name != "menu":
        raise Mistake(f"--menu belongs to --skills menu, not to {name}")
    if annotator is not None and name not in ("annotated", "menu"):
        raise Mistake(f"--annotator belongs to --skills annotated or menu, not to {name}")
    casting = Casting(workflow, load_inputs(workflow.model_copy(update={"profile": None})))
    return exam_workflow(workflow, casting.pool, skills=name, annotator=annotator, menu=_menu(menu))


def _menu(menu: str | None) -> Any:
    """Return a menu: names with commas, or a file: a list, or modality -> list."""
    from agents.settings import read_yaml

    if menu is None:
        return ()
    if not Path(menu).is_file():
        if menu.endswith((".yaml", ".yml", ".json")):
            raise Mistake(f"--menu {menu}: no such file; check the path")
        return tuple(name.strip() for name in menu.split(",") if name.strip())
    content = read_yaml(menu)
    lists = content.values() if isinstance(content, dict) else [content]
    if not all(isinstance(one, list) and one for one in lists):
        raise Mistake(f"--menu {menu}: neither a list of skills nor modality: [skill, ...]")
    return content


def _told(name: str, measured: Measured) -> dict[str, Any]:
    """Return measured experts as JSON: each expert with its scores by skill."""
    from workflows.recruiting.profile_table import expert_lines

    return {
        "profile": name,
        "skills_by": measured.skills_by,
        "measured_on": measured.evidence.measured_on,
        "questions": len(measured.evidence.questions),
        "experts": [line.as_json() for line in expert_lines(measured)],
    }


@app.command("skills")
def name_skills(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Names the questions.")],
    *,
    like: Annotated[
        str, typer.Option("--like", metavar="RUN|FILE", help="The profile whose way is taken.")
    ],
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.json", help="Where they are written.")
    ] = None,
    annotator: Annotating = None,
    menu: Menu = None,
    settings: options.Settings = None,
    store: options.StoreOverride = None,
) -> None:
    """Name the skills of a workflow's questions as those of a profile were named.

    The file is the asset that sessions read:  assets: {skills: FILE.json}

    Example: moot experts skills skills --like profile.json --out skills.json
    """
    from orchestrator.store import Store
    from workflows.api import find_run
    from workflows.recruiting.naming import named_like, naming_workflow, read_skills

    loaded = load(workflow, settings, None, store)
    measured = _found(like, loaded.store)
    if measured.skills_by in ("annotated", "menu"):
        named = naming_workflow(loaded, measured.skills_by, annotator, _menu(menu))
        result = perform(named)
        if result.ending != "finished":
            close(result)
        with Store.read(loaded.store) as opened:
            skills = read_skills(opened, find_run(opened, str(result.run_id)))
    else:
        skills = named_like(measured, loaded)
    put_or_write(skills, out, counted_of(len(skills), "question"))


@app.command("match")
def match(
    skills: Annotated[
        str, typer.Argument(metavar="SKILLS.json", help="What moot experts skills wrote.")
    ],
    *,
    like: Annotated[
        str, typer.Option("--like", metavar="RUN|FILE", help="The profile with the known skills.")
    ],
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="tfidf|trigram|EXPERT",
            help="How alike skills are: their words, or an embedding expert's vectors.",
        ),
    ] = "tfidf",
    roster: Annotated[
        str | None,
        typer.Option("--roster", metavar="FILE", help="Where EXPERT is described: label: expert."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.json", help="Where it is written.")
    ] = None,
    store: options.Store = "moot.db",
) -> None:
    """Say which known skill each unseen one stands for.

    The file is the asset that sessions read:  assets: {matches: FILE.json}

    Example: moot experts match skills.json --like profile.json --by openai/text-embedding-3-small
    """
    from agents.roster import Roster
    from agents.settings import read_yaml
    from workflows.recruiting.naming import matches_of

    measured = _found(like, store)
    content = read_yaml(skills)
    if not isinstance(content, dict):
        raise Mistake(f"{skills}: no skills of questions; moot experts skills writes such a file")
    described = None if roster is None else Roster.from_yaml(roster)
    found = matches_of(content, measured.profile.known_skills, by, described)
    put_or_write(found, out, f"{len(found):,} unseen skills")


@app.command("show")
def show(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[RUN|FILE]", help="By default the profile measured last."),
    ] = None,
    *,
    picture: Annotated[
        str | None,
        typer.Option("--png", metavar="FILE", help="Draw a heat map: FILE.png, .svg or .pdf."),
    ] = None,
    store: options.Store = "moot.db",
    as_json: options.Json = False,
) -> None:
    """Show how good experts are at what: a table, and a heat map.

    Example: moot experts show profile.json --png profile.png
    """
    from workflows.recruiting.profiling import find_measured

    name, measured = find_measured(source, store)
    if picture is not None:
        from workflows.recruiting.heat_map import draw_profile

        draw_profile(measured, picture, title=name)
    if as_json:
        put_json({**_told(name, measured), "picture": picture})
        return
    from workflows.cli.profiles import put_measured

    put_measured(measured)
    if picture is not None:
        say(f"drawn in {picture}")
    elif source is None:
        put()
        put_wrapped(f"As a picture: {command_name()} experts show {name} --png profile.png")


for _verb in (learning.bench, learning.aggregators, learning.memory):
    app.command(_verb.__name__)(_verb)
