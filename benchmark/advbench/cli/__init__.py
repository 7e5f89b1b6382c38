"""The command line: one module a command."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from advbench.cli import check, compare, data, export, merge, plan, plugins, reproduce, run, show, train, verify
from advbench.cli.options import App
from advbench.errors import AdvbenchError
from advbench.interrupts import listening
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.plugins.spec import SpecError
from advbench.terminal.text import complain

COMMANDS = (run, plan, plugins, show, compare, verify, reproduce, merge, export, check, train, data)

_ClickError: type[Exception] = typer.BadParameter.__mro__[2]
"""Click's `ClickException`: some versions of typer bring a click of their own, others use the installed one."""


def command_line(registry: Registry) -> typer.Typer:
    """Our commands, and those that plugins add."""
    app = typer.Typer(
        name="advbench",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(advbench)
    for command in COMMANDS:
        command.register(app)
    registry.commands(app)
    return app


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
    registry = Registry()
    try:
        _one_thread_per_core_unless_told()
        registry = discover()
        sys.exit(command_line(registry)(prog_name="advbench", obj=App(registry), standalone_mode=False))
    except AdvbenchError as error:
        complain(_words(error))
        sys.exit(2)
    except _ClickError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())  # type: ignore[attr-defined]
            sys.exit(2)
        complain(_usage(error, registry))
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


def _usage(error: BaseException, registry: Registry) -> str:
    """A wrong option or command, in one line."""
    message = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    if message.startswith("No such command"):
        message += registry.perhaps_missing()
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "advbench"
    return f"{message[:1].lower()}{message[1:]}; see `{command} --help`"


def _replace_what_the_terminal_cannot_show() -> None:
    """A terminal without Unicode gets question marks, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def _one_thread_per_core_unless_told() -> None:
    """torch's own default also counts hyper-threads and ignores a container's limit."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(cores)
