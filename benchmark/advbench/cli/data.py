"""`advbench data`: data sets, where they were looked for and what was found."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from advbench.cli import options as opt
from advbench.errors import AdvbenchError, printable
from advbench.terminal.tables import new_table
from advbench.terminal.text import say, terminal


def data(
    context: typer.Context,
    name: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Load these data sets and describe them.")
    ] = None,
    data: opt.DataFolder = None,
    offline: opt.Offline = False,
) -> None:
    """List data sets and where they are; with names, load them, count and fingerprint them."""
    from advbench.plugins import data_intake

    console = terminal()
    registry = context.obj.checked()
    folders = opt.folders(data, offline)
    wanted = [registry.dataset(text) for text in name] if name else list(registry.datasets.values())
    say(console, "Looked in: " + ", ".join(str(folder) for folder in folders.folders))
    table = new_table()
    for heading in ("data set", "classes", "shape", *(("train / calibrate / judge", "fingerprint") if name else ())):
        table.add_column(heading, overflow="fold")
    table.add_column("found", overflow="fold")
    for dataset in wanted:
        words = [dataset.label, str(dataset.classes), "×".join(str(side) for side in dataset.shape)]
        if name:
            loaded = data_intake.load(dataset, folders)
            parts = (loaded.train, loaded.calibrate, loaded.judge)
            words += [" / ".join(str(len(part)) for part in parts), loaded.judge.fingerprint[:16]]
            words += [loaded.source + (f" ({loaded.partial})" if loaded.partial else "")]
        else:
            try:
                words += [data_intake.place(dataset, folders) or "not on this machine"]
            except AdvbenchError as error:
                words += [str(error)]
        words[-1] += "" if dataset.publishable else "; not to be published"
        table.add_row(*(Text(printable(word)) for word in words))
    console.print(table)
