"""`advbench verify`: referee what is stored once more, from scratch."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from advbench.cli import options as opt
from advbench.errors import AdvbenchError
from advbench.protocol import FIRST
from advbench.store import Store, marks
from advbench.terminal.text import say, terminal

if TYPE_CHECKING:
    import torch

    from advbench.audit.refereeing import Verified
    from advbench.studies.rechecking import Rechecked

_SHOWN = 5


def verify(
    context: typer.Context,
    cell: Annotated[
        list[str] | None, typer.Argument(metavar="[CELL]...", help="Beginnings of cells' keys; all cells by default.")
    ] = None,
    db: opt.Database = opt.DATABASE,
    data: opt.DataFolder = None,
    device: opt.Device = "auto",
    offline: opt.Offline = False,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Seconds that a target may take to answer; else an hour."),
    ] = None,
    mark: Annotated[
        bool, typer.Option("--mark/--no-mark", help="Keep in the database what was found, for pages to show.")
    ] = True,
) -> None:
    """Recompute every stored verdict, clean answer and finding; exit code 1 when one differs or can't be checked."""
    from advbench.audit.verification import PATIENCE
    from advbench.audit.verification import verify as verify_cells
    from advbench.run.hardware import choose_device, make_repeatable
    from advbench.run.session import Settings
    from advbench.studies.rechecking import recheck

    console = terminal()
    make_repeatable()
    folders, where, registry = opt.folders(data, offline), choose_device(device), context.obj.checked()
    patience = opt.seconds(timeout) or PATIENCE
    outcomes = bad = kept = 0
    # the one that writes is closed last, and takes SQLite's log file with it
    with _written_to(db) if mark else nullcontext() as written, Store.open(db, readonly=True) as store:
        cells = [store.cell(prefix) for prefix in cell] if cell else store.cells()
        if not cells and not _studies(store):
            raise AdvbenchError(f"{db} has no cells to verify yet; `advbench run` makes some")
        for result in verify_cells(store, registry, cells, folders=folders, device=where, patience=patience):
            outcomes += result.outcomes
            bad += not result.sound
            tell(console, result)
            kept += written is not None and keep_mark(written, result, where)
        settings = Settings(device=where, folders=folders)
        for again in recheck(store, registry, settings) if not cell else ():
            bad += not again.sound
            tell_analysis(console, again)
    summary = f"{outcomes:,} verdicts and clean answers of {len(cells)} cells refereed again"
    if first := sum(row.protocol == FIRST for row in cells):
        say(console, f"{first} of {len(cells)} cells were judged by protocol {FIRST}, and refereed by its rules.")
    say(console, f"{summary}; {bad} could not be verified." if bad else f"{summary}; all verified.")
    if written is not None:
        say(console, f"{kept} marks kept in {db}; `advbench render` shows them.")
    elif mark:
        say(console, f"No mark kept: {db} can't be written to.")
    if bad:
        raise typer.Exit(1)


def _studies(store: Store) -> int:
    """How many there are, whether or not they can be read."""
    return int(store.rows("SELECT count(*) AS n FROM studies")[0]["n"])


def tell(console: Console, result: Verified) -> None:
    """What was found, with the first few differences."""
    verdict = "verified" if result.sound else "differs" if result.differences else "not checked"
    name = f"{result.cell[:12]} {result.label}" if result.cell else result.label
    counted = f": {result.outcomes} {result.noun}" if result.noun else ""
    say(console, f"{verdict:11} {name}{counted}", "" if result.sound else "red")
    for text in reasons(result):
        say(console, f"· {text}")


def tell_analysis(console: Console, result: Rechecked) -> None:
    """What became of an analysis of a study, with the first few differences."""
    passed = "left out" if result.left_out and not result.count else "found again"
    verdict = passed if result.sound else "differs" if result.differences else "not checked"
    text = f"{verdict:11} {result.study}: {result.label}: {result.count:,} numbers"
    say(console, text, "" if result.sound else "red")
    more = len(result.differences) - _SHOWN
    lines = [*result.differences[:_SHOWN], f"and {more} more" if more > 0 else "", result.unchecked, result.left_out]
    for line in lines:
        if line:
            say(console, f"· {line}")


def reasons(result: Verified) -> list[str]:
    """Why it is not sound: the first few differences, and what could not be checked."""
    more = len(result.differences) - _SHOWN
    shown = [*result.differences[:_SHOWN], f"and {more} more" if more > 0 else "", result.unchecked]
    return [text for text in shown if text]


def keep_mark(store: Store, result: Verified, device: torch.device) -> bool:
    """What was found of a cell; what could not be checked, or has no facts yet, leaves no mark."""
    from advbench.run.hardware import describe_hardware, describe_versions

    if not result.facts or (result.unchecked and not result.differences):
        return False
    differences = [*result.differences, *([f"clean answers of {result.shaken}"] if result.shaken else [])]
    marks.add(
        store,
        result.cell,
        result.facts,
        sound=not differences,
        reason=differences[0] if differences else None,
        versions=describe_versions(),
        hardware=describe_hardware(device),
    )
    return True


def _written_to(db: Path) -> Store | nullcontext[None]:
    """The database for writing, where this user may; a file that is only to be read is verified all the same."""
    writable = os.access(db, os.W_OK) and os.access(db.parent, os.W_OK)
    return Store.open(db) if writable else nullcontext()
