"""Commands by name, each loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from advbench.errors import PluginError, one_line
from advbench.plugins.foreign import no_exit
from advbench.plugins.origin import Origin

COMMANDS = (
    "run",
    "plan",
    "plugins",
    "show",
    "compare",
    "verify",
    "reproduce",
    "merge",
    "export",
    "check",
    "train",
    "data",
    "study",
)
"""Our own, in the order of `--help`: each is a function of its name in a module of its name."""

Command = Any
"""click's; some versions of typer bring a click of their own, others use the installed one."""


def own(name: str) -> Command:
    return command(name, getattr(import_module(f"advbench.cli.{name}"), name))


def loaded(point: EntryPoint, origin: Origin) -> Command:
    """The command of an entry point; what fails while it is loaded is the plugin's mistake."""
    try:
        with no_exit(f"the command {point.name!r}"):
            return command(point.name, point.load())
    except Exception as error:
        raise PluginError(f"{origin}: the command {point.name!r} can't be loaded: {one_line(error)}") from error


def command(name: str, what: Any) -> Command:
    """A function as a command; an application as a group of commands."""
    if isinstance(what, typer.Typer):
        made = get_command(what)
        made.name = name
        return made
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name)(what)
    return get_command(app)


def all_of(app: typer.Typer) -> dict[str, Command]:
    """The commands of an application by name; none of one that has none."""
    if not app.registered_commands and not app.registered_groups:
        return {}
    made = get_command(app)
    return dict(made.commands) if isinstance(made, TyperGroup) else {str(made.name): made}
