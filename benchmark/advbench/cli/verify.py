"""`advbench verify`: referee what is stored once more, from scratch."""

from __future__ import annotations

from typing import Annotated

import typer

from advbench.cli import options as opt
from advbench.cli.text import say, terminal
from advbench.errors import AdvbenchError
from advbench.hardware import choose_device, make_repeatable
from advbench.store import Store
from advbench.verification import verify as verify_cells

_SHOWN = 5


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)


def verify(
    context: typer.Context,
    cell: Annotated[
        list[str] | None, typer.Argument(metavar="[CELL]...", help="Beginnings of cells' keys; all cells by default.")
    ] = None,
    db: opt.Database = opt.DATABASE,
    data: opt.DataFolder = None,
    device: opt.Device = "auto",
    offline: opt.Offline = False,
) -> None:
    """Recompute every stored verdict and clean answer; exit code 1 when one differs or can't be checked."""
    console = terminal()
    make_repeatable()
    folders, where = opt.folders(data, offline), choose_device(device)
    outcomes = bad = 0
    with Store.open(db, readonly=True) as store:
        cells = [store.cell(prefix) for prefix in cell] if cell else store.rows("SELECT * FROM cells ORDER BY id")
        if not cells:
            raise AdvbenchError(f"{db} has no cells to verify yet; `advbench run` makes some")
        for result in verify_cells(store, context.obj.registry, cells, folders=folders, device=where):
            outcomes += result.outcomes
            bad += not result.sound
            verdict = "verified" if result.sound else "differs" if result.differences else "not checked"
            name = f"{result.cell[:12]} {result.label}" if result.cell else result.label
            say(console, f"{verdict:11} {name}: {result.outcomes} {result.noun}", "" if result.sound else "red")
            for text in [*result.differences[:_SHOWN], result.unchecked]:
                if text:
                    say(console, f"· {text}")
            if len(result.differences) > _SHOWN:
                say(console, f"· and {len(result.differences) - _SHOWN} more")
    summary = f"{outcomes:,} verdicts and clean answers of {len(cells)} cells refereed again"
    say(console, f"{summary}; {bad} could not be verified." if bad else f"{summary}; all verified.")
    if bad:
        raise typer.Exit(1)
