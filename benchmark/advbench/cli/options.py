"""Options that several commands share, each spelled once."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from advbench.errors import AdvbenchError

if TYPE_CHECKING:
    from advbench.data import DataFolders
    from advbench.plugins.registry import Registry
    from advbench.suite.suite import Suite

DATABASE = Path("results.sqlite")


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
Jobs = Annotated[
    str,
    typer.Option("--jobs", "-j", metavar="N", envvar="ADVBENCH_JOBS", help="Processes at a time: auto, or a number."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.")]
Boards = Annotated[list[str] | None, typer.Option("--board", metavar="NAME", help="Only this board; may be repeated.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, …")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop when a plugin is broken.")]
Examples = Annotated[int | None, typer.Option(metavar="N", help="Judge so many examples on every board.")]
Drawn = Annotated[
    int | None, typer.Option(metavar="SEED", help="Draw the examples at random by this seed; not the first ones.")
]
Precision = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of attack passes: float32 or bf16; the referee judges in float32.")
]
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
    from advbench.data import DataFolders

    for folder in data or ():
        if not folder.expanduser().is_dir():
            raise AdvbenchError(f"--data {folder}: no such folder")
    return DataFolders(DataFolders.default(data or ()).folders, download=not offline)


def seconds(timeout: float | None) -> float | None:
    """A time limit, refused unless it is one."""
    if timeout is not None and not 0 < timeout < math.inf:
        raise AdvbenchError(f"--timeout {timeout:g}: give seconds, more than 0")
    return timeout


@dataclass(frozen=True)
class Asked:
    """A suite, and what a command line says in place of parts of it."""

    suite: SuiteArgument = "quick"
    examples: Examples = None
    drawn: Drawn = None
    seed: Seed = None
    attack: Attacks = None
    model: Models = None
    defense: Defenses = None
    threat: Threats = None
    goal: Goals = None
    dataset: Datasets = None
    precision: Precision = None

    def load(self, registry: Registry) -> Suite:
        from advbench.suite.suite import Overrides, load_suite

        overrides = Overrides(
            examples=self.examples,
            drawn=self.drawn,
            seed=self.seed,
            attacks=self.attack or None,
            models=self.model or None,
            defenses=self.defense or None,
            threats=self.threat or None,
            goals=self.goal or None,
            data=self.dataset or None,
            precision=self.precision,
        )
        return load_suite(self.suite, registry, overrides)


def asking(function: Callable[..., None]) -> Callable[..., None]:
    """The function as a command that takes each field of `Asked` in place of its parameter `asked`."""
    hints = get_type_hints(Asked, include_extras=True)
    each = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in fields(Asked)
    ]
    signature = inspect.signature(function, eval_str=True)
    parameters = [
        inner
        for one in signature.parameters.values()
        for inner in (each if one.name == "asked" else [one.replace(kind=inspect.Parameter.KEYWORD_ONLY)])
    ]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        asked = Asked(**{field.name: given.pop(field.name) for field in fields(Asked)})
        function(asked=asked, **given)

    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command
