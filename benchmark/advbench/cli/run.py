"""`advbench run`: evaluate what a suite asks for and a database lacks."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from advbench.cli import options as opt
from advbench.cli.progress import Display
from advbench.cli.tables import board_tables
from advbench.cli.text import duration, plain
from advbench.data import DataFolders
from advbench.engine import Engine, InProcess, Isolated
from advbench.errors import AdvbenchError
from advbench.hardware import choose_device
from advbench.run import Settings
from advbench.run import run as run_suite
from advbench.store import Store
from advbench.suite import load_suite


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    context: typer.Context,
    suite: opt.SuiteArgument = "quick",
    examples: opt.Examples = None,
    seed: opt.Seed = None,
    device: opt.Device = "auto",
    attack: opt.Attacks = None,
    model: opt.Models = None,
    defense: opt.Defenses = None,
    threat: opt.Threats = None,
    goal: opt.Goals = None,
    dataset: opt.Datasets = None,
    db: opt.Database = opt.DATABASE,
    data: opt.DataFolder = None,
    batch_size: Annotated[str, typer.Option(help="Examples a pass: auto, or a number.")] = "auto",
    isolate: Annotated[bool, typer.Option("--isolate", help="Craft every cell in a process of its own.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    strict: opt.Strict = False,
) -> None:
    """Run a suite: what the database has is kept, what it lacks is crafted, judged and stored."""
    console = Console()
    registry = context.obj.checked(strict)
    wanted = load_suite(
        suite,
        registry,
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
    engine: Engine = Isolated() if isolate else InProcess()
    folders = DataFolders.default(data or ())
    with Store.open(db) as store, _interruptible(console) as interrupted:
        settings = Settings(
            device=choose_device(device),
            folders=DataFolders(folders.folders, download=not offline),
            batch=batch_of(batch_size),
            engine=engine,
            command=shlex.join(["advbench", *sys.argv[1:]]),
            interrupted=interrupted,
        )
        with Display(console) as display:
            summary = run_suite(wanted, store, registry, settings, display)
        boards = [board.name for board in wanted.boards]
        for table in board_tables(store, boards):
            console.print(table)
    for label, reason in summary.failed:
        console.print(Text(f"failed: {plain(label)}: {plain(reason)}", style="red"))
    counts = f"{summary.done} cells crafted, {summary.kept} kept, {summary.skipped} skipped"
    console.print(
        Text(
            f"{counts}, {len(summary.failed)} failed; {duration(summary.seconds)}. `advbench plan` says why pairs are skipped."
        )
    )
    for page in registry.finished(db):
        console.print(Text(f"Leaderboard: {page}"))
    if summary.interrupted:
        console.print(Text(f"Stopped; nothing is lost. Go on with: {settings.command}"))
        raise typer.Exit(130)
    if summary.failed:
        raise typer.Exit(1)


def batch_of(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) == 0:
        raise AdvbenchError(f"--batch-size {text}: give auto or a positive number")
    return int(text)


class _Flag:
    """Whether somebody pressed Ctrl-C."""

    def __init__(self) -> None:
        self.raised = False

    def __call__(self) -> bool:
        return self.raised


@contextmanager
def _interruptible(console: Console) -> Iterator[_Flag]:
    """The first Ctrl-C ends the run after the current shard, the second at once."""
    flag = _Flag()

    def raise_flag(number: int, frame: object) -> None:
        if flag.raised:
            raise KeyboardInterrupt
        flag.raised = True
        console.print(Text("Stopping after the current shard; Ctrl-C again stops at once."))

    before = signal.signal(signal.SIGINT, raise_flag)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
