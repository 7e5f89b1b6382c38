"""`advbench speed`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from advbench.cli import options as opt
from advbench.errors import AdvbenchError, printable
from advbench.plugins.foreign import spare_others
from advbench.terminal.text import terminal

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from advbench_peers.race import Row

Rounds = Annotated[int, typer.Option(help="How many times everybody runs, after one round that is not counted.")]
Alone = Annotated[bool, typer.Option("--alone", help="Against the floor only, not against other libraries.")]
Stop = Annotated[str, typer.Option(help="`first`: examples leave when fooled; `end`: nobody leaves, as in peers.")]


def speed(
    context: typer.Context,
    attack: opt.Attacks = None,
    model: opt.Models = None,
    defense: opt.Defenses = None,
    threat: opt.Threats = None,
    dataset: opt.Datasets = None,
    examples: opt.Examples = 200,
    rounds: Rounds = 3,
    seed: opt.Seed = 0,
    stop: Stop = "first",
    alone: Alone = False,
    data: opt.DataFolder = None,
    device: opt.Device = "auto",
) -> None:
    """Time attacks against the passes that they need, and against other libraries where these are installed.

    On a CPU one thread is used and this process's own seconds are read. Everybody runs in turns in one process on the
    same frozen network and images; only the ratios mean something. What is not installed is left out.
    """
    import torch
    from rich.markup import escape
    from rich.table import Table

    from advbench.plugins import data_intake
    from advbench.plugins.compatibility import why_not
    from advbench.run.boards import judged_examples
    from advbench.run.hardware import choose_device, make_repeatable
    from advbench.run.missing_weights import missing_weights, refuse_long_training
    from advbench.run.ready import Workshop
    from advbench.target.identity import TargetPlan
    from advbench_peers.peers import peers_of
    from advbench_peers.race import OURS, Race

    if stop not in ("first", "end"):
        raise AdvbenchError(f"--stop is first or end, not {stop!r}")
    if rounds < 1:
        raise AdvbenchError("--rounds must be at least 1")
    registry = context.obj.checked()
    place = choose_device(device)
    torch.set_num_threads(1)
    make_repeatable()
    suite = opt.Asked(
        attack=attack or ["pgd"],
        model=model or ["small-cnn"],
        defense=defense or ["none"],
        threat=threat or ["linf(eps=0.1)"],
        goal=["untargeted"],
        dataset=dataset or ["mnist-5k"],
        examples=examples,
        seed=seed,
    ).load(registry)
    workshop = Workshop(registry, place, suite.false_positive_rate)
    console = terminal()
    folders = opt.folders(data, offline=True)
    table = Table(title=f"Times as long as ours, medians of {rounds} rounds; {printable(_where(place))}; stop: {stop}")
    for column in ("attack", "by", "ball", "target"):
        table.add_column(column)
    for column in ("ratio", "seconds", "accuracy", "median size", "outside", "forward", "backward", "of floor"):
        table.add_column(column, justify="right")
    failed = False  # on our side; a peer that fails is told and no failure of ours
    for board in suite.boards:
        loaded = data_intake.load(board.dataset, folders)
        judged = judged_examples(loaded, board.examples, board.dataset, board.drawn)
        targets = [TargetPlan(board.dataset, one, defenses) for one in suite.models for defenses in suite.defenses]
        refuse_long_training(missing_weights(targets, {board.dataset: loaded}), place, ask="run first")
        for one in suite.models:
            for defenses in suite.defenses:
                target = TargetPlan(board.dataset, one, defenses)
                with spare_others(target.label) as failure:
                    ready, _ = workshop.ready(target, loaded, judged)
                if failure.happened:
                    console.print(f"failed: {escape(printable(f'{target.label}: {failure.reason}'))}")
                    failed = True
                    continue
                for entrant in board.attacks:
                    reason = why_not(entrant, board.threat, "untargeted", one, defenses)
                    if entrant.scope == "set":
                        reason = f"{entrant.name} fits one perturbation for all: its floor is another"
                    if reason:
                        console.print(f"left out: {escape(printable(reason))}")
                        continue
                    known = [] if alone else peers_of(entrant, board.threat.name)
                    for peer in known:
                        if not peer.here:
                            console.print(f"left out: {escape(peer.name)}, not installed ({escape(peer.install)})")
                    ball = board.threat.at(float("inf")) if entrant.minimizes else board.threat
                    race = Race(entrant, ball, ready, place, "first" if stop == "first" else "end", seed or 0)
                    rows = race.run([peer for peer in known if peer.here], rounds)
                    failed |= any(row.failed for row in rows if row.name == OURS)
                    for row in rows:
                        where = f"{board.threat.name}/{board.threat.radius}"
                        _add(table, entrant.label, row, "unbounded" if entrant.minimizes else where, target.label)
                    table.add_section()
    console.print(table)
    sys.stdout.flush()
    if failed:
        raise typer.Exit(1)


def _add(table: Table, attack: str, row: Row, ball: str, target: str) -> None:
    from rich.markup import escape

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    name = f"{row.name} failed: {row.failed}" if row.failed else row.name
    table.add_row(
        *(escape(printable(text)) for text in (attack, name, ball, target)),
        number(row.ratio, ".2f"),
        number(row.seconds, ".2f"),
        number(row.accuracy, ".1%").replace("%", " %"),
        number(row.norm, ".4f"),
        number(row.outside, "d"),
        number(row.forwards, ".1f"),
        number(row.backwards, ".1f"),
        number(row.floor, ".2f"),
    )


def _where(device: torch.device) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "one CPU thread"
