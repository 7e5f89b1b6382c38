"""`advbench verify`: referee what is stored once more, from scratch."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from advbench.cli import options as opt
from advbench.cli.text import plain
from advbench.data import DataFolders
from advbench.hardware import choose_device, make_repeatable
from advbench.store import Store
from advbench.verification import verify as verify_cells

_SHOWN = 5


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)


def verify(
    context: typer.Context,
    cell: Annotated[list[str] | None, typer.Argument(help="Beginnings of cells' keys; all cells by default.")] = None,
    db: opt.Database = opt.DATABASE,
    data: opt.DataFolder = None,
    device: opt.Device = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
) -> None:
    """Recompute every verdict from the stored perturbations; exit code 1 when one differs or can't be checked."""
    console = Console()
    make_repeatable()
    folders = DataFolders(DataFolders.default(data or ()).folders, download=not offline)
    outcomes = bad = 0
    with Store.open(db, readonly=True) as store:
        cells = [store.cell(prefix) for prefix in cell] if cell else store.rows("SELECT * FROM cells ORDER BY id")
        for result in verify_cells(store, context.obj.registry, cells, folders=folders, device=choose_device(device)):
            outcomes += result.outcomes
            bad += bool(result.differences or result.unchecked)
            verdict = "differs" if result.differences else "not checked" if result.unchecked else "verified"
            line = f"{verdict:11} {result.cell[:12]} {plain(result.label)}: {result.outcomes} outcomes"
            console.print(Text(line, style="" if verdict == "verified" else "red"))
            for text in [*result.differences[:_SHOWN], result.unchecked]:
                if text:
                    console.print(Text(f"  {plain(text)}"))
            if len(result.differences) > _SHOWN:
                console.print(Text(f"  and {len(result.differences) - _SHOWN} more"))
    console.print(Text(f"{outcomes:,} outcomes of {len(cells)} cells refereed again; {bad} cells not verified."))
    if bad:
        raise typer.Exit(1)
