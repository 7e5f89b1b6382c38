"""Options that several commands share, each spelled once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from advbench.data import DataFolders
from advbench.errors import AdvbenchError
from advbench.plugins.registry import Registry
from advbench.suite.suite import Overrides
from advbench.terminal.text import complain

DATABASE = Path("results.sqlite")


@dataclass(frozen=True)
class App:
    """What `main` hands to the commands."""

    registry: Registry

    def checked(self, strict: bool = False) -> Registry:
        """The registry, after a line on standard error about each broken plugin; under `--strict` one is the end."""
        self.refuse_broken(strict)
        for broken in self.registry.broken:
            complain(str(broken))
        return self.registry

    def refuse_broken(self, strict: bool) -> None:
        if strict and self.registry.broken:
            broken = "; ".join(f"{b.origin}: {b.error}" for b in self.registry.broken)
            raise AdvbenchError(f"broken plugins (see `advbench plugins`): {broken}")


SuiteArgument = Annotated[
    str, typer.Argument(metavar="[SUITE]", help="A suite file, or the name of an embedded suite.")
]
Database = Annotated[Path, typer.Option("--db", metavar="FILE", help="The SQLite database of results.")]
DataFolder = Annotated[
    list[Path] | None,
    typer.Option("--data", metavar="FOLDER", help="A folder with data sets; may be repeated. Also: ADVBENCH_DATA."),
]
Train = Annotated[
    bool, typer.Option("--train", help="Train what has no weights here, even where that takes over ten minutes.")
]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Seconds of crafting that a cell may take; an hour where nothing is said."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.")]
Boards = Annotated[list[str] | None, typer.Option("--board", metavar="NAME", help="Only this board; may be repeated.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, …")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop when a plugin is broken.")]
Examples = Annotated[int | None, typer.Option(metavar="N", help="Judge so many examples on every board.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="The seed of every random draw.")]
Attacks = Annotated[
    list[str] | None, typer.Option("--attack", metavar="NAME", help="Only this attack; may be repeated.")
]
Models = Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help="Only this model; may be repeated.")]
Defenses = Annotated[
    list[str] | None, typer.Option("--defense", metavar="NAME", help="Only this defense; may be repeated.")
]
Threats = Annotated[
    list[str] | None,
    typer.Option("--threat", metavar="NAME", help='Only this ball, as "linf(eps=8/255)"; may be repeated.'),
]
Goals = Annotated[
    list[str] | None,
    typer.Option("--goal", metavar="GOAL", help="untargeted, random, least-likely, class=3, each; may be repeated."),
]
Datasets = Annotated[
    list[str] | None, typer.Option("--dataset", metavar="NAME", help="Only this data set; may be repeated.")
]


def folders(data: list[Path] | None, offline: bool) -> DataFolders:
    """Where data sets are looked for; a folder that somebody named has to be there."""
    for folder in data or ():
        if not folder.expanduser().is_dir():
            raise AdvbenchError(f"--data {folder}: no such folder")
    return DataFolders(DataFolders.default(data or ()).folders, download=not offline)


def seconds(timeout: float | None) -> float | None:
    """A time limit, refused unless it is one."""
    if timeout is not None and not 0 < timeout < math.inf:
        raise AdvbenchError(f"--timeout {timeout:g}: give seconds, more than 0")
    return timeout


def overrides(
    *,
    examples: int | None,
    seed: int | None,
    attacks: list[str] | None,
    models: list[str] | None,
    defenses: list[str] | None,
    threats: list[str] | None,
    goals: list[str] | None,
    datasets: list[str] | None,
) -> Overrides:
    return Overrides(
        examples=examples,
        seed=seed,
        attacks=attacks or None,
        models=models or None,
        defenses=defenses or None,
        threats=threats or None,
        goals=goals or None,
        data=datasets or None,
    )
