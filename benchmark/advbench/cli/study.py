"""`advbench study`: a paper's experiments, from weights to a page beside the published numbers."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from advbench.cli import options as opt
from advbench.cli.run import interruptible
from advbench.errors import AdvbenchError, printable
from advbench.store import Store
from advbench.terminal.text import duration, say, terminal

if TYPE_CHECKING:
    from advbench.plugins.registry import Registry
    from advbench.run.session import Settings
    from advbench.studies.performance import Performance
    from advbench.suite.plan import Plan

ALL = "all"


def study(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A study, or all; without a name they are listed.")
    ] = "",
    level: Annotated[
        str, typer.Option("--level", metavar="LEVEL", help="smoke (minutes), hour, or paper (the sizes of the paper).")
    ] = "hour",
    db: opt.Database = opt.DATABASE,
    data: opt.DataFolder = None,
    device: opt.Device = "auto",
    jobs: opt.Jobs = "auto",
    train: opt.Train = False,
    offline: opt.Offline = False,
) -> None:
    """Reproduce a paper: run what the database lacks, and set its tables, figures and claims beside the published."""
    from advbench.cli.progress import Display
    from advbench.engines.choice import choose_engine
    from advbench.plugins.foreign import spare_others
    from advbench.run.hardware import choose_device, make_repeatable
    from advbench.run.session import Settings
    from advbench.studies.performance import Performance, outline, perform_study
    from advbench.study import LEVELS

    console = terminal()
    registry = context.obj.checked()
    if not name:
        _list(console, registry)
        return
    if level not in LEVELS:
        raise AdvbenchError(f"--level {level}: give {', '.join(LEVELS[:-1])} or {LEVELS[-1]}")
    studies = list(registry.studies.values()) if name == ALL else [registry.study(name)]
    if not studies:
        raise AdvbenchError("no study is installed")
    make_repeatable()
    where, folders = choose_device(device), opt.folders(data, offline)
    choose_engine(jobs, where, 1)  # refused before anything is begun
    command = shlex.join(["advbench", *sys.argv[1:]])
    ended: list[Performance] = []
    with interruptible(console) as interrupted:

        def settings_for(plan: Plan | None) -> Settings:
            """As many processes as the plan is worth; what is no plan is performed in this one."""
            engine = choose_engine(jobs if plan else "1", where, plan.tasks if plan else 1)
            return Settings(
                device=where, folders=folders, engine=engine, command=command, train=train, interrupted=interrupted
            )

        with Store.open(db) as store:
            for one in studies:
                say(console, f"Study {one.label} at level {level}.")
                ended.append(Performance(one.label, level))
                with spare_others(one.label) as failure, Display(console) as display:
                    perform_study(outline(one, level, registry), store, registry, settings_for, display, ended[-1])
                if failure.happened:
                    ended[-1].failed.append((one.label, failure.reason))
                if ended[-1].interrupted:
                    break
                _tell(console, store, ended[-1])
    for page in registry.finished(db):
        say(console, f"Pages: {page}")
    if ended[-1].interrupted:
        say(console, f"Stopped; nothing is lost. Go on with: {command}")
        raise typer.Exit(130)
    if any(one.failed for one in ended):
        raise typer.Exit(1)


def _list(console: Console, registry: Registry) -> None:
    from rich.table import Table

    if not registry.studies:
        say(console, "No study is installed.")
        return
    table = Table("study", "what", box=None, pad_edge=False)
    for label, one in registry.studies.items():
        table.add_row(printable(label), printable(one.summary))
    console.print(table)
    say(console, "Perform one with: advbench study NAME --level smoke")


def _tell(console: Console, store: Store, ended: Performance) -> None:
    """How many numbers lie within their interval, and how the claims fare."""
    from advbench.rates.studies import standing

    for label, reason in ended.failed:
        say(console, f"failed: {label}: {reason}", "red")
    for one in standing(store):
        if (one.name, one.level) == (ended.study, ended.level):
            say(console, one.words)
    say(console, f"{ended.done} analyses performed, {ended.kept} kept; {duration(ended.seconds)}.")
