"""`advbench plan`: the whole matrix before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from advbench.cli import options as opt
from advbench.errors import PluginError, one_line, printable
from advbench.rates.drawn import drawn_by
from advbench.terminal.tables import names, new_table, numbers, show_table
from advbench.terminal.text import say, terminal

if TYPE_CHECKING:
    from advbench.data import Data
    from advbench.plugin import Dataset
    from advbench.suite.plan import CellPlan, Plan

_MOST_GOALS = 3
_MOST_TARGETS = 3


@opt.asking
def plan(context: typer.Context, asked: opt.Asked, strict: opt.Strict = False) -> None:
    """Show what a suite would run, what it would skip and why, and about how many forward passes it takes."""
    from advbench.suite.plan import make_plan

    console = terminal()
    wanted = asked.load(context.obj.checked(strict))
    laid_out = make_plan(wanted)
    where = {cell.source.dataset.label for cell in laid_out.cells}
    title = f"{wanted.name}: {len(laid_out.cells)} cells" + (f" on {min(where)}" if len(where) == 1 else "")
    show_table(console, _cells(laid_out.cells, show_data=len(where) > 1), title)
    if laid_out.skips:
        console.print()
        show_table(console, _skips(laid_out), "skipped")
    broken = dict.fromkeys(reason for _, reason in laid_out.broken)
    known = [passes for cell in laid_out.cells if (passes := _passes(cell, broken)) is not None]
    more = "" if len(known) == len(laid_out.cells) else ", and those of the cells marked with ?"
    say(console, f"At most {sum(known):,} forward passes{more}; examples that are done leave early.")
    if wanted.precision != "float32":
        say(console, f"Attacks ask in {wanted.precision}; a success counts when float32 confirms it, by one more pass.")
    if lacking := _lacking(laid_out, broken):
        say(console, f"Without weights on this machine, to be trained first: {', '.join(lacking)}.")
    for reason in broken:
        say(console, f"broken: {reason}", "red")
    if broken:
        raise typer.Exit(1)


def _lacking(laid_out: Plan, broken: dict[str, None]) -> list[str]:
    """Targets whose weights would have to be trained, as far as their data are here to tell.

    Reasons why a data set can't serve are added to `broken`.
    """
    from advbench.plugins import data_intake
    from advbench.run.missing_weights import missing_weights

    folders = opt.folders(None, offline=True)
    here: dict[Dataset, Data] = {}
    for dataset in dict.fromkeys(target.dataset for target in laid_out.targets):
        try:
            if data_intake.place(dataset, folders) is not None:
                here[dataset] = data_intake.load(dataset, folders)
        except PluginError as error:
            broken[one_line(error)] = None
    lacking = list(missing_weights((target for target in laid_out.targets if target.dataset in here), here))
    many = len({one.target.dataset for one in lacking}) > 1
    return [f"{one.label} on {one.target.dataset.label}" if many else one.label for one in lacking]


def _passes(cell: CellPlan, broken: dict[str, None] | None = None) -> int | None:
    """Passes of a cell; None where the data is not opened, or an attack can't tell, which is added to `broken`."""
    try:
        return cell.passes(cell.examples) if cell.examples else None
    except PluginError as error:
        if broken is not None:
            broken[one_line(error)] = None
        return None


def _cells(cells: Iterable[CellPlan], *, show_data: bool) -> Table:
    """A row for every board and the attacks that its targets share, each a cell on each target."""
    by_target: dict[tuple[str, str, str, str], list[CellPlan]] = {}
    for cell in cells:
        examples = f"{cell.examples or 'all'}{drawn_by(cell.drawn)}"
        board = (cell.source.dataset.label, f"{cell.threat.name} {cell.threat.radius}", examples)
        by_target.setdefault((*board, cell.source.label), []).append(cell)
    rows: dict[tuple[str, str, str, str], dict[str, list[CellPlan]]] = {}
    for (data, threat, examples, target), own in by_target.items():
        rows.setdefault((data, threat, examples, _entrants(own)), {})[target] = own
    table = new_table()
    for heading in ("data", "threat", "attacks") if show_data else ("threat", "attacks"):
        table.add_column(heading, overflow="fold")
    names(table, "targets", (target for targets in rows.values() for target in targets))
    for heading in ("examples", "cells", "passes,\nat most"):
        numbers(table, heading)
    for (data, threat, examples, entrants), targets in rows.items():
        inside = [cell for own in targets.values() for cell in own]
        passes = [_passes(cell) for cell in inside]
        total = sum(one or 0 for one in passes)
        table.add_row(
            *(Text(printable(word)) for word in ((data, threat, entrants) if show_data else (threat, entrants))),
            Text("\n".join(printable(target) for target in targets)),
            examples,
            str(len(inside)),
            f"{total:,}" if None not in passes else f"{total:,} + ?" if total else "?",
        )
        table.add_section()
    return table


def _entrants(cells: Iterable[CellPlan]) -> str:
    """Attacks with their goals, in the order in which they run."""
    goals: dict[str, list[str]] = {}
    for cell in cells:
        goals.setdefault(cell.attack.label, []).append(cell.goal)
    words = []
    for attack, aims in goals.items():
        shown = ", ".join(aims) if len(aims) <= _MOST_GOALS else f"{len(aims)} goals"
        words.append(attack if aims == ["untargeted"] else f"{attack} → {shown}")
    return "; ".join(words) if any("→" in word for word in words) else ", ".join(words)


def _skips(laid_out: Plan) -> Table:
    """A table with a row for each reason for which combinations are skipped."""
    everyone: dict[str, list[str]] = {}
    for one in laid_out.targets:
        everyone.setdefault(one.dataset.label, []).append(one.label)
    rows: dict[tuple[str, str, str], dict[str, None]] = {}
    for skip in laid_out.skips:
        rows.setdefault((skip.dataset, skip.what, skip.reason), {})[skip.target] = None
    table = new_table()
    for heading in ("data", "what"):
        table.add_column(heading, overflow="fold")
    names(table, "targets", (target for targets in rows.values() for target in targets))
    table.add_column("why", overflow="fold")
    for (data, what, reason), targets in rows.items():
        many = len(targets) > _MOST_TARGETS and set(targets) == set(everyone.get(data, ()))
        listed = Text(f"all {len(targets)}" if many else "\n".join(printable(target) for target in targets))
        table.add_row(Text(printable(data)), Text(printable(what)), listed, Text(printable(reason)))
    return table
