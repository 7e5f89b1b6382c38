"""The command line: one module a command, loaded when that command is asked for."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from advbench.cli.app import App
from advbench.cli.commands import Commands
from advbench.errors import AdvbenchError
from advbench.interrupts import listening
from advbench.plugins.spec import SpecError
from advbench.terminal.text import complain

_ClickError: type[Exception] = typer.BadParameter.__mro__[2]
"""Click's `ClickException`: some versions of typer bring a click of their own, others use the installed one."""


def command_line(app: App) -> Commands:
    """The whole command line: the commands of advbench, and those that plugins add."""
    whole = typer.Typer(
        name="advbench",
        cls=Commands,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    whole.callback()(advbench)
    made = typer.main.get_command(whole)
    assert isinstance(made, Commands)
    made.app = app
    return made


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"advbench {version('advbench')}")
        raise typer.Exit


def advbench(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Evaluate every attack against every model and defense, and let a referee decide."""


@listening()
def main() -> None:
    """The console script: every error that a person can act on is one line and exit code 2."""
    _replace_what_the_terminal_cannot_show()
    app = App()
    try:
        sys.exit(command_line(app)(prog_name="advbench", obj=app, standalone_mode=False))
    except AdvbenchError as error:
        complain(_words(error))
        sys.exit(2)
    except _ClickError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())  # type: ignore[attr-defined]
            sys.exit(2)
        complain(_usage(error, app))
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        complain("stopped")
        sys.exit(130)
    except BrokenPipeError:  # `advbench show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _words(error: AdvbenchError) -> str:
    """A call that can't be read has its place shown below it, which takes three lines; here one has to do."""
    if isinstance(error, SpecError):
        return f"{error.text!r}, character {error.position + 1}: {error.problem}"
    return str(error)


def _usage(error: BaseException, app: App) -> str:
    """Print a wrong option or command as one line on stderr."""
    message = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    if message.startswith("No such command"):
        message += app.registry.perhaps_missing()
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "advbench"
    return f"{message[:1].lower()}{message[1:]}; see `{command} --help`"


def _replace_what_the_terminal_cannot_show() -> None:
    """A terminal without Unicode gets question marks, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
