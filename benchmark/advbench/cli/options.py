"""Options that several commands share, each spelled once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from advbench.errors import AdvbenchError
from advbench.registry import Registry
from advbench.suite import Overrides

DATABASE = Path("results.sqlite")


@dataclass(frozen=True)
class App:
    """What `main` hands to the commands."""

    registry: Registry

    def checked(self, strict: bool) -> Registry:
        """The registry; under `--strict` a broken plugin is the end."""
        if strict and self.registry.broken:
            broken = "; ".join(f"{b.origin}: {b.error}" for b in self.registry.broken)
            raise AdvbenchError(f"broken plugins (see `advbench plugins`): {broken}")
        return self.registry


SuiteArgument = Annotated[str, typer.Argument(help="A suite file, or the name of an embedded suite.")]
Database = Annotated[Path, typer.Option("--db", help="The SQLite database of results.")]
DataFolder = Annotated[
    list[Path] | None, typer.Option("--data", help="A folder with data sets; may be repeated. Also: ADVBENCH_DATA.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop when a plugin is broken.")]
Examples = Annotated[int | None, typer.Option(help="Judge so many examples on every board.")]
Seed = Annotated[int | None, typer.Option(help="The seed of every random draw.")]
Attacks = Annotated[list[str] | None, typer.Option("--attack", help="Only this attack; may be repeated.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be repeated.")]
Defenses = Annotated[list[str] | None, typer.Option("--defense", help="Only this defense; may be repeated.")]
Threats = Annotated[list[str] | None, typer.Option("--threat", help='Only this ball, as "linf(eps=8/255)".')]
Goals = Annotated[list[str] | None, typer.Option("--goal", help="untargeted, random, least-likely, class=3, each.")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset", help="Only this data set; may be repeated.")]


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
