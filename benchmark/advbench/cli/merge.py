"""`advbench merge`: other databases join one, and what they claim is refereed first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from advbench.cli import options as opt
from advbench.errors import AdvbenchError, printable
from advbench.store import Store, parts
from advbench.store.connection import located
from advbench.store.incoming import open_incoming
from advbench.terminal.text import say, terminal

if TYPE_CHECKING:
    from advbench.audit.merging import Arrival, Checking
    from advbench.audit.recrafting import Recrafting

AUTO = "auto"
_SHOWN = 5


@dataclass(frozen=True)
class _Unplaced:
    cell: str


def merge(
    context: typer.Context,
    into: Annotated[Path, typer.Argument(metavar="INTO", help="The database that the others join; made when missing.")],
    origin: Annotated[list[Path], typer.Argument(metavar="FROM...", help="Databases to read; they stay as they are.")],
    check: Annotated[
        str,
        typer.Option(metavar="WHAT", help="What to referee before it joins: all, none, or how many cells, by chance."),
    ] = "all",
    reproduce: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="Cells of each FROM to craft again first: none, how many, or auto: two of each target on each board.",
        ),
    ] = AUTO,
    keep_boards: Annotated[
        bool, typer.Option("--keep-boards", help="Add no board: entries join those that INTO has.")
    ] = False,
    own_parts: Annotated[
        bool, typer.Option("--parts", help="They are parts of a run of your own: take cells that are there in part.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Seconds that crafting each of these may take; else a minute with auto, an hour with a number.",
        ),
    ] = None,
    data: opt.DataFolder = None,
    device: opt.Device = "auto",
    offline: opt.Offline = False,
) -> None:
    """Join databases; what does not hold when refereed again, or contradicts INTO, stays out, with exit code 1."""
    from advbench.audit.merging import Checking
    from advbench.run.hardware import choose_device, make_repeatable

    console = terminal()
    make_repeatable()
    sample, again = sample_of(check), recrafting_of(reproduce, opt.seconds(timeout))
    if sample == 0 and again.count and reproduce != AUTO:
        raise AdvbenchError(
            f"--check none --reproduce {reproduce}: only cells that were refereed are crafted again; "
            "say with --check how many"
        )
    where = choose_device(device)
    checking = Checking(context.obj.checked(), opt.folders(data, offline), where, sample, again, own_parts)
    into, origin = located(into), [located(path) for path in origin]
    for path in origin:  # before anything is written
        if into.exists() and path.exists() and into.samefile(path):
            raise AdvbenchError(f"{path}: a database can't be merged into itself")
        open_incoming(path).close()
    if keep_boards and not into.exists():
        raise AdvbenchError(
            f"{into}: no such database; without --keep-boards it is made, with the boards of the others"
        )
    refused = 0
    with Store.open(into) as store:
        for path in origin:
            with open_incoming(path) as incoming:
                refused += _merge_one(console, store, incoming, path, checking, boards=not keep_boards)
        for line in parts.said(store):
            say(console, line)
    if refused:
        raise typer.Exit(1)


def sample_of(text: str) -> int | None:
    """How many cells to referee; None for all."""
    return None if text == "all" else _count("--check", text, "all")


def recrafting_of(text: str, timeout: float | None) -> Recrafting:
    """How many cells to craft again, and how long each may take: who says a number has more time."""
    from advbench.audit.recrafting import UNASKED_PATIENCE, Recrafting
    from advbench.audit.reproduction import PATIENCE

    if text == AUTO:
        return Recrafting(patience=timeout or UNASKED_PATIENCE)
    return Recrafting(_count("--reproduce", text, AUTO), timeout or PATIENCE)


def _count(option: str, text: str, other: str) -> int:
    if text == "none":
        return 0
    if not (text.isascii() and text.isdigit()) or not 0 < len(text) < 10:
        raise AdvbenchError(f"{option} {text}: give {other}, none, or how many cells")
    return int(text)


def _merge_one(console: Console, into: Store, origin: Store, path: Path, checking: Checking, *, boards: bool) -> int:
    """Merge one database, tell what became of each cell, and return how many cells were kept out."""
    from advbench.audit.merging import merge as merge_cells

    cut = [one for one in parts.held(origin) if one.parts > 1]
    counts: Counter[str] = Counter()
    refereed = 0
    taken = set()
    withheld: Counter[str] = Counter()
    for arrival in merge_cells(into, origin, path.name, checking, boards=boards):
        counts[arrival.status] += 1
        refereed += arrival.refereed and arrival.status == "taken"
        if arrival.status == "taken":
            taken.add(arrival.cell)
            withheld.update(filter(None, [arrival.withheld]))
        if not cut or arrival.status != "taken" or arrival.reasons:  # of many parts, each has a little of every cell
            _tell(console, arrival)
    words = [f"{counts['taken']} cells taken ({refereed} of them refereed again)", f"{counts['there']} there already"]
    words += [f"{counts[name]} {name}" for name in ("unfinished", "conflict", "rejected") if counts[name]]
    say(console, f"{path}{parts.named(cut)}: {', '.join(words)}.")
    for why, count in sorted(withheld.items()):
        say(console, f"{count} of them came without perturbations and pictures: {printable(why)}.")
    studies = origin.rows("SELECT DISTINCT name, level FROM studies ORDER BY name, level")
    if studies:
        names = ", ".join(f"{one['name']} ({one['level']})" for one in studies)
        say(
            console,
            f"Findings of {printable(names)} stay behind: not believed, but computed again, from the cells that "
            "came; `advbench study` does so.",
        )
    if apart := sum(one.cell in taken for one in into.read(_Unplaced, "SELECT cell FROM unplaced")):
        say(
            console,
            f"{apart} of them stand on no board here: no board judges their examples. `advbench show` sets them beside "
            "the numbers of boards with the same target and ball.",
        )
    return counts["conflict"] + counts["rejected"]


def _tell(console: Console, arrival: Arrival) -> None:
    if arrival.status in ("there", "unfinished"):
        return
    outcomes = f": {arrival.outcomes:,} outcomes" if arrival.status == "taken" else ""
    style = "red" if arrival.refused or arrival.status == "differs" else ""
    say(console, f"{arrival.status:11} {arrival.cell[:12]} {arrival.label}{outcomes}", style)
    for reason in arrival.reasons[:_SHOWN]:
        say(console, f"· {reason}")
    if len(arrival.reasons) > _SHOWN:
        say(console, f"· and {len(arrival.reasons) - _SHOWN} more")
