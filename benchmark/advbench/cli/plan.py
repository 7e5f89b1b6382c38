"""`advbench plan`: the whole matrix before anything runs."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from advbench.cli import options as opt
from advbench.cli.text import plain
from advbench.plan import make_plan
from advbench.suite import load_suite


def register(app: typer.Typer) -> None:
    app.command("plan")(plan)


def plan(
    context: typer.Context,
    suite: opt.SuiteArgument = "quick",
    examples: opt.Examples = None,
    seed: opt.Seed = None,
    attack: opt.Attacks = None,
    model: opt.Models = None,
    defense: opt.Defenses = None,
    threat: opt.Threats = None,
    goal: opt.Goals = None,
    dataset: opt.Datasets = None,
    strict: opt.Strict = False,
) -> None:
    """Show what a suite would run, what it would skip and why, and about how many forward passes it takes."""
    console = Console()
    wanted = load_suite(
        suite,
        context.obj.checked(strict),
        opt.overrides(
            examples=examples,
            seed=seed,
            attacks=attack,
            models=model,
            defenses=defense,
            threats=threat,
            goals=goal,
            datasets=dataset,
        ),
    )
    laid_out = make_plan(wanted)
    cells = Table(title=f"{plain(wanted.name)}: {len(laid_out.cells)} cells", title_justify="left")
    for heading in ("data", "target", "threat", "attack", "goal"):
        cells.add_column(heading, overflow="fold")
    cells.add_column("examples", justify="right")
    cells.add_column("passes, at most", justify="right")
    total, unknown = 0, False
    for cell in laid_out.cells:
        # without opening the data the number of examples may be unknown
        passes = cell.passes(cell.examples) if cell.examples else None
        total += passes or 0
        unknown |= passes is None
        words = (
            cell.source.dataset.label,
            cell.source.label,
            f"{cell.threat.name} {cell.threat.radius}",
            cell.attack.label,
            cell.goal,
        )
        cells.add_row(
            *(Text(plain(word)) for word in words),
            str(cell.examples or "all"),
            "?" if passes is None else f"{passes:,}",
        )
    console.print(cells)
    if laid_out.skips:
        skips = Table(title=f"{len(laid_out.skips)} skipped", title_justify="left")
        for heading in ("data", "target", "threat", "attack", "goal", "why"):
            skips.add_column(heading, overflow="fold")
        for skip in laid_out.skips:
            target = f"{skip.model}+{skip.defenses}"
            words = (skip.dataset, target, skip.threat, skip.attack, skip.goal, skip.reason)
            skips.add_row(*(Text(plain(word) or "–") for word in words))
        console.print(skips)
    more = " and those of attacks that can't say" if unknown else ""
    console.print(Text(f"At most {total:,} forward passes{more}; examples that are done leave early."))
