"""The application: its verbs, in the order of ``--help``, and what happens when something goes wrong."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

import miaobi
from miaobi.cli._shared import complain, quiet_libraries, write_json
from miaobi.errors import MiaobiError

VERBS = (
    "demo",
    "data",
    "train",
    "generate",
    "chat",
    "evaluate",
    "compare",
    "tune",
    "rate",
    "estimate",
    "promote",
    "export",
    "list",
    "show",
    "doctor",
)
# Typer gives Ctrl-C a status of its own; scripts rely on 0, 1 and 2 only.
_TYPERS_INTERRUPT = 130

app = typer.Typer(
    name="miaobi",
    help="Train, compare, control and serve generative models of text, images and music.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 the request was wrong."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit status; errors are told, never raised."""
    quiet_libraries()
    debug = "--debug" in arguments or bool(os.environ.get("MIAOBI_DEBUG"))
    try:
        status: int = app(list(arguments), prog_name="miaobi", standalone_mode=False) or 0
        if status == _TYPERS_INTERRUPT:
            raise KeyboardInterrupt
        return status
    except typer.TyperException as error:
        return _fail(arguments, error.exit_code, "UsageError", f"{error.format_message()} (see miaobi --help)")
    except (KeyboardInterrupt, typer.Abort):
        return _fail(arguments, 1, "Interrupted", "interrupted; what was saved is kept")
    except MiaobiError as error:
        if debug:
            traceback.print_exc()
        return _fail(arguments, error.exit_status, type(error).__name__, error.message)
    except BrokenPipeError:
        # The reader of our output went away, e.g. `miaobi list | head`: silence is what it wants.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last line of defence: a user gets a sentence, not a traceback
        if debug:
            traceback.print_exc()
        hint = "" if debug else "; run it again with MIAOBI_DEBUG=1 for the whole story, and please report it"
        return _fail(arguments, 1, type(error).__name__, f"unexpected {type(error).__name__}: {error}{hint}")


def _fail(arguments: Sequence[str], status: int, kind: str, message: str) -> int:
    complain(message)
    if "--json" in arguments:
        write_json({"error": {"kind": kind, "message": message, "exit_status": status}})
    return status


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"miaobi {miaobi.__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (or set MIAOBI_DEBUG).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _add_verbs() -> None:
    for verb in VERBS:
        command = importlib.import_module(f"miaobi.cli.{verb}").command
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=verb)
        else:
            app.command(verb)(command)


_add_verbs()
