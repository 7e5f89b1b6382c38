"""`advbench run`: evaluate what a suite asks for and a database lacks."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from advbench.cli import options as opt
from advbench.errors import AdvbenchError
from advbench.interrupts import Interrupted, Listener
from advbench.store import Store
from advbench.terminal.tables import print_boards
from advbench.terminal.text import duration, say, terminal


@opt.asking
def run(
    context: typer.Context,
    asked: opt.Asked,
    device: opt.Device = "auto",
    db: opt.Database = opt.DATABASE,
    data: opt.DataFolder = None,
    batch_size: Annotated[str, typer.Option(metavar="N", help="Examples a pass: auto, or a number.")] = "auto",
    jobs: opt.Jobs = "auto",
    per_gpu: Annotated[
        int | None,
        typer.Option("--per-gpu", metavar="K", help="Processes that share a GPU, one unless said."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="I/N", help="Only a part of it, like 3/16; `advbench merge` joins all N."),
    ] = None,
    engine_name: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="auto, processes (of this machine) or ray (a cluster).")
    ] = "auto",
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster's head, HOST:PORT; implies --engine ray.")
    ] = None,
    isolate: Annotated[bool, typer.Option("--isolate", help="Craft every cell in a process of its own.")] = False,
    train: opt.Train = False,
    offline: opt.Offline = False,
    strict: opt.Strict = False,
) -> None:
    """Run a suite: what the database has is kept, what it lacks is crafted, judged and stored."""
    from advbench.engines.choice import choose_engine, processors
    from advbench.engines.processes import load_ahead

    if jobs != "1" and processors() > 1 and engine_name != "ray" and address is None:
        load_ahead()  # before anything here needs torch, so that both load it at the same time
    from advbench.cli.progress import Display
    from advbench.plugins.muster import Muster
    from advbench.run.hardware import choose_device
    from advbench.run.part import part_of
    from advbench.run.run import gather
    from advbench.run.run import run as run_suite
    from advbench.run.session import Settings
    from advbench.suite.plan import make_plan

    share = None if part is None else part_of(part)
    console = terminal()
    registry = context.obj.checked(strict)
    laid_out = make_plan(asked.load(registry))
    if not laid_out.cells:
        first, *others = laid_out.reasons
        more = f" ({len(others)} more: see `advbench plan`)" if others else ""
        raise AdvbenchError(f"nothing to run: {first}{more}")
    where, batch, folders = choose_device(device), batch_of(batch_size), opt.folders(data, offline)
    engine = choose_engine(
        jobs,
        where,
        laid_out.tasks,
        isolate=isolate,
        per_gpu=per_gpu,
        engine=engine_name,
        address=address,
        expected=lambda: Muster.here(laid_out.plugins, registry),
    )
    with interruptible(console) as interrupted:
        settings = Settings(
            device=where,
            folders=folders,
            batch=batch,
            engine=engine,
            command=shlex.join(["advbench", *sys.argv[1:]]),
            train=train,
            share=share,
            interrupted=interrupted,
        )
        gathered = gather(laid_out, settings)
        with Store.open(db) as store:
            with Display(console) as display:
                summary = run_suite(gathered, store, registry, settings, display)
            if share is None:
                print_boards(console, store, keys=summary.boards)
    counts = f"{summary.done} cells crafted, {summary.kept} kept, {summary.skipped} skipped"
    if share is not None:
        counts = f"part {share}: its shards of {summary.done} cells crafted, of {summary.kept} kept"
    why = " `advbench plan` says why pairs are skipped." if summary.skipped else ""
    say(console, f"{counts}, {len(summary.failed)} failed; {duration(summary.seconds)}.{why}")
    sound = len(registry.broken)
    if share is None:  # what is not whole has no pages
        for page in registry.finished(db):
            say(console, f"Leaderboard: {page}")
    for broken in registry.broken[sound:]:
        say(console, f"failed after the run: {broken.origin}: {broken.error}", "red")
    if summary.interrupted:
        say(console, f"Stopped; nothing is lost. Go on with: {settings.command}")
        raise typer.Exit(130)
    if share is not None:
        say(console, f"Join it with the others, in any order: advbench merge --parts all.sqlite {db} …")
    if summary.failed or any(broken.to_blame for broken in registry.broken[sound:]):
        raise typer.Exit(1)


def batch_of(text: str) -> int | None:
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise AdvbenchError(f"--batch-size {text}: give auto or a positive number")
    return int(text)


class _Patient(Listener):
    """The first Ctrl-C ends the run after the current shard, the second at once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.pressed = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise Interrupted
        self.pressed = True
        say(self.console, "Stopping after the current shard; Ctrl-C again stops at once.")


@contextmanager
def interruptible(console: Console) -> Iterator[Callable[[], bool]]:
    """Says whether somebody pressed Ctrl-C."""
    listener = _Patient(console)
    before = signal.signal(signal.SIGINT, listener)
    try:
        yield lambda: listener.pressed
    finally:
        signal.signal(signal.SIGINT, before)
