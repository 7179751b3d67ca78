"""The application behind ``moot``: its verbs, its exit codes, its one-line errors.

==== ==========================================================================
0    good
1    failure: stopped, or something broke
2    usage: a mistake in the command, the workflow or its data
3    the budget is reached
4    a replay diverged
==== ==========================================================================

Nothing heavy is imported here or in the files of the verbs: each verb imports what it needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from protocols.errors import MootError
from workflows.cli import (
    caching,
    cluster,
    crossing,
    estimating,
    experts,
    exporting,
    importing,
    judging,
    reading,
    reporting,
    running,
    setting_up,
    watching,
)
from workflows.cli.screen import one_line, put, say

DEBUG = "MOOT_DEBUG"
INTERRUPTED = 130
"""What typer makes of a Ctrl-C."""
UsageError: Any = typer.BadParameter.__mro__[1]
"""What typer raises for a wrong command line; it has no public name of its own."""

app = typer.Typer(
    name="moot",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "Run": {
        "demo": running.demo,
        "run": running.run,
        "compare": running.compare,
        "crossplay": crossing.crossplay,
        "fork": running.fork,
        "import": importing.import_sessions,
    },
    "Look": {
        "status": watching.status,
        "show": reading.show,
        "report": reporting.report,
        "judges": judging.judges,
        "replay": reading.replay,
        "export": exporting.export,
        "cache": caching.cache,
        "list": setting_up.list_things,
    },
    "Set up": {
        "init": setting_up.init,
        "validate": setting_up.validate,
        "estimate": estimating.estimate,
        "doctor": setting_up.doctor,
    },
    "On a Ray cluster": {
        "submit": cluster.submit,
        "logs": cluster.logs,
        "cancel": cluster.cancel,
    },
}

for panel, verbs in VERBS.items():
    for verb, function in verbs.items():
        app.command(verb, rich_help_panel=panel)(function)

app.add_typer(experts.app, name="experts", rich_help_panel="Look")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            put(f"moot {version('moot')}")
        except PackageNotFoundError:
            put("moot, from its source")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks (as MOOT_DEBUG=1 does).")
    ] = False,
) -> None:
    """Debates, panels and skill-routed teams of language models: run, recorded, replayed, compared.

    Start with: moot demo
    """
    if debug:
        os.environ[DEBUG] = "1"


def run_command(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    Args:
        arguments: what follows ``moot``; by default what the process was started with.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    # Many small products of matrices: threads would wait for one another more than they work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    code = _exit_code(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    """Run the command line; every error becomes one line and a code."""
    try:
        _load_env_file()
        code = typer.main.get_command(app).main(arguments, "moot", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except UsageError as error:
        return _usage(error, arguments)
    except BrokenPipeError:
        return 0
    except (KeyboardInterrupt, typer.Abort) as error:
        _traceback_if_wanted(error)
        say("interrupted; what is recorded is kept, and the same command goes on")
        return 1
    except MootError as error:
        _traceback_if_wanted(error)
        say(one_line(error))
        return int(getattr(error, "exit_code", 1))
    except Exception as error:  # noqa: BLE001 - a defect of moot: one line, and how to see more
        _traceback_if_wanted(error)
        say(f"internal error: {type(error).__name__}: {one_line(error)}; --debug shows where")
        return 1


def _load_env_file() -> None:
    """Take variables from a ``.env`` file in the present directory; what is set already stays."""
    if Path(".env").is_file():
        from dotenv import load_dotenv

        load_dotenv(".env", override=False)


def _usage(error: Any, arguments: list[str]) -> int:
    if not arguments or type(error).__name__ == "NoArgsIsHelpError":
        put(error.format_message())
        return 0
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "moot"
    say(f"{path}: {one_line(error.format_message()).rstrip('.')}; see {path} --help")
    return 2


def _traceback_if_wanted(error: BaseException) -> None:
    if os.environ.get(DEBUG):
        import traceback

        traceback.print_exception(error)
