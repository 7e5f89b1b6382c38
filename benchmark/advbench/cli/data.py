"""`advbench data`: data sets, where they were looked for and what was found."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from advbench.cli import options as opt
from advbench.cli.text import plain
from advbench.data import DataFolders
from advbench.errors import AdvbenchError


def register(app: typer.Typer) -> None:
    app.command("data")(data)


def data(
    context: typer.Context,
    name: Annotated[list[str] | None, typer.Argument(help="Load these data sets and describe them.")] = None,
    data: opt.DataFolder = None,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
) -> None:
    """List data sets and where they are; with names, load them, count and fingerprint them."""
    console = Console()
    registry = context.obj.registry
    folders = DataFolders(DataFolders.default(data or ()).folders, download=not offline)
    console.print(Text("Looked in: " + ", ".join(str(folder) for folder in folders.folders)))
    table = Table()
    for heading in ("data set", "classes", "shape", "found", "train / calibrate / judge", "fingerprint"):
        table.add_column(heading, overflow="fold")
    wanted = [registry.dataset(text) for text in name] if name else list(registry.datasets.values())
    for dataset in wanted:
        try:
            found = dataset.find(folders)
        except AdvbenchError as error:
            found = str(error)
        words = [
            dataset.label,
            str(dataset.classes),
            "×".join(str(side) for side in dataset.shape),
            found or "not on this machine",
        ]
        if name:
            loaded = dataset.load(folders)
            words[3] = loaded.source + (f" ({loaded.partial})" if loaded.partial else "")
            words += [
                f"{len(loaded.train)} / {len(loaded.calibrate)} / {len(loaded.judge)}",
                loaded.judge.fingerprint[:16],
            ]
        else:
            words += ["", ""]
        table.add_row(*(Text(plain(word)) for word in words))
    console.print(table)
