"""`advbench reproduce`: one number of a database again, from nothing but what the database says."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from advbench.cli import options as opt
from advbench.errors import TimeUpError
from advbench.store import Store
from advbench.terminal.text import duration, percent, say, terminal

if TYPE_CHECKING:
    from advbench.audit.reproduction import Number, Reproduced


def reproduce(
    context: typer.Context,
    cell: Annotated[
        list[str],
        typer.Argument(metavar="CELL...", help="Beginnings of cells' keys; `advbench show --cells` lists them."),
    ],
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="TARGET", help="Judge on this target too; may be repeated."),
    ] = None,
    db: opt.Database = opt.DATABASE,
    data: opt.DataFolder = None,
    device: opt.Device = "auto",
    train: opt.Train = False,
    timeout: opt.Timeout = None,
    offline: opt.Offline = False,
) -> None:
    """Craft cells again, from scratch, and hold their numbers against the stored ones.

    Exit code 1 when one differs, or was not crafted again in time.
    """
    from advbench.audit.reproduction import PATIENCE
    from advbench.audit.reproduction import reproduce as reproduce_cell
    from advbench.cli.progress import Display
    from advbench.run.hardware import choose_device
    from advbench.run.session import Settings

    limit = opt.seconds(timeout) or PATIENCE
    console = terminal()
    command = shlex.join(["advbench", *sys.argv[1:]])
    folders = opt.folders(data, offline)
    settings = Settings(device=choose_device(device), folders=folders, command=command, train=train)
    registry = context.obj.checked()
    same = True
    with Store.open(db, readonly=True) as store:
        for one in [store.cell(prefix) for prefix in cell]:
            try:
                with Display(console) as display:
                    reproduced = reproduce_cell(
                        store, registry, one, settings, on=on or (), reporter=display, timeout=limit
                    )
            except TimeUpError as error:
                say(console, f"{one.key[:12]} {error}", "red")
                same = False
                continue
            say(console, f"{one.key[:12]} {reproduced.label}: {_effort(reproduced)}")
            same &= reproduced.same
            for number in reproduced.numbers:
                say(console, _comparison(number), "" if number.same else "red")
            for text in reproduced.contradictions:
                say(console, f"· {text}", "red")
            if reproduced.other_versions:
                say(console, f"· made under other versions: {reproduced.other_versions}")
    if not same:
        raise typer.Exit(1)


def _effort(reproduced: Reproduced) -> str:
    return f"{reproduced.examples} examples crafted again in {duration(reproduced.seconds)}"


def _comparison(number: Number) -> str:
    shares = [percent(count / number.n) if number.n else "–" for count in (number.stored, number.again)]
    verdicts = f"{number.differing} verdicts differ" if number.differing else "every verdict is the same"
    return (
        f"{number.board}, {number.target}: fooled {shares[0]} % ({number.stored} of {number.n}) as stored, "
        f"{shares[1]} % ({number.again}) again; {verdicts}"
    )
