"""The questions advbench asks a plugin, and the mark that answers them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import typer

    from advbench.plugin import Attack, Dataset, Defense, Model
    from advbench.study import Study
    from advbench.threats import Threat

GROUP = "advbench"
"""The entry-point group, for the built-ins and for everybody else's."""
COMMAND_GROUP = "advbench.commands"
"""The entry-point group of commands: a name, and the function or `typer.Typer` that is loaded when it is asked for."""

hookspec = pluggy.HookspecMarker("advbench")
hookimpl = pluggy.HookimplMarker("advbench")


@hookspec
def advbench_attacks() -> Iterable[Attack]:
    """Attacks to enter, each an instance holding its parameters."""
    return ()


@hookspec
def advbench_models() -> Iterable[Model]:
    """Models to attack."""
    return ()


@hookspec
def advbench_defenses() -> Iterable[Defense]:
    """Defenses to put in front of a model."""
    return ()


@hookspec
def advbench_datasets() -> Iterable[Dataset]:
    """Data sets to judge on."""
    return ()


@hookspec
def advbench_threats() -> Iterable[Threat]:
    """Balls to search, each an instance at its defaults, which stand where a suite says nothing else."""
    return ()


@hookspec
def advbench_studies() -> Iterable[Study]:
    """Papers to reproduce, each with its suites, analyses, published numbers and claims."""
    return ()


@hookspec
def advbench_commands(app: typer.Typer) -> None:
    """Add commands to the command line; an entry point of `advbench.commands` is quicker, and loads nothing else."""


@hookspec
def advbench_finished(database: Path) -> Path | None:
    """A run has ended and its facts are in the database: render what follows from them, and return where it is."""
