"""Our attacks beside other libraries', as one table: `python tests/speed_table.py`; about 8 minutes with all of them.

What `advbench speed` measures (processor time of one process, everybody in turns, one thread), a row a setting: the
fastest peer's time over ours, ours over that of the passes it made, and what both reach. Names choose rows: `python
tests/speed_table.py ddn fmn`. A peer that is not installed, or that fails, is named below the table.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass

import torch

from advbench.cli import options as opt
from advbench.plugins import data_intake
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.problem.problem import Stop
from advbench.run.boards import judged_examples
from advbench.run.hardware import make_repeatable
from advbench.run.ready import Workshop
from advbench.target.identity import TargetPlan
from advbench_peers.peers import peers_of
from advbench_peers.race import BEST, OURS, Race, Row

CPU = torch.device("cpu")
ROBUST = "adversarial-training"


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    attack: str
    threat: str
    defense: str = "none"
    stop: Stop = "end"
    examples: int = 200
    rounds: int = 3


SETTINGS = (
    Setting("pgd(steps=40)", "linf(eps=0.1)", ROBUST),
    Setting("pgd(steps=40)", "linf(eps=0.3)", ROBUST, "first"),
    Setting("apgd", "linf(eps=0.3)", ROBUST, "first"),
    Setting("square(queries=1000)", "linf(eps=0.3)", ROBUST, "first", rounds=2),
    Setting("ddn(steps=100, settled=0)", "l2"),
    Setting("ddn(steps=100)", "l2"),
    Setting("fmn(steps=100, settled=0)", "linf"),
    Setting("fmn(steps=100)", "linf"),
    Setting("fmn(steps=100)", "l2"),
    Setting("autoattack", "linf(eps=0.3)", ROBUST, "first", 100, 1),
    Setting("boundary(queries=3000)", "l2", examples=50, rounds=2),
    Setting("hopskipjump(steps=10)", "l2", examples=40, rounds=2),
    Setting("brendel-bethge", "l2", ROBUST, examples=25, rounds=1),
    Setting("brendel-bethge(steps=40, targets=3, far=8)", "l2", ROBUST, examples=25, rounds=1),
    Setting("brendel-bethge(steps=40, targets=3, far=8)", "linf", ROBUST, examples=25, rounds=1),
)


def race_of(setting: Setting, registry: Registry) -> Race:
    suite = opt.Asked(
        attack=[setting.attack],
        model=["small-cnn"],
        defense=[setting.defense],
        threat=[setting.threat],
        goal=["untargeted"],
        dataset=["mnist-5k"],
        examples=setting.examples,
        seed=0,
    ).load(registry)
    board = suite.boards[0]
    loaded = data_intake.load(board.dataset, opt.folders(None, offline=True))
    judged = judged_examples(loaded, board.examples, board.dataset)
    target = TargetPlan(board.dataset, suite.models[0], suite.defenses[0])
    ready, _ = Workshop(registry, CPU, suite.false_positive_rate).ready(target, loaded, judged)
    attack = board.attacks[0]
    ball = board.threat.at(math.inf) if attack.minimizes else board.threat
    return Race(attack, ball, ready, CPU, setting.stop)


def reached(row: Row) -> str:
    """The median norm of who looks for small ones, else what is left right."""
    return f"{row.norm:.4f}" if row.norm is not None else f"{100 * (row.accuracy or 0):.1f} %"


def line(setting: Setting, rows: list[Row]) -> str:
    """A row of the table; where several peers make one goal, the time is that of all of them."""
    ours = next(row for row in rows if row.name == OURS)
    theirs = [row for row in rows if row.name not in (OURS, BEST) and row.ratio is not None]
    together = next((row for row in rows if row.name == BEST), None)
    if together is not None and setting.attack.startswith("brendel-bethge"):
        compared = [together]
    else:
        compared = sorted(theirs, key=lambda row: row.ratio or 0)
    target = "small-cnn" if setting.defense == "none" else f"small-cnn+{setting.defense}"
    cells = [
        f"`{setting.attack}`",
        f"`{target}`, {setting.threat}, {setting.examples}, `{setting.stop}`",
        "; ".join(f"{row.name} {row.ratio:.2f}" for row in compared) or "–",
        ours.failed or f"{ours.floor:.2f}",
        "" if ours.failed else reached(ours),
        "; ".join(f"{row.name} {reached(row)}" for row in compared) or "–",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="attacks to measure; all without any")
    parser.add_argument("--rounds", type=int, help="for every row, in place of its own number")
    asked = parser.parse_args()
    unknown = set(asked.names) - {setting.attack.split("(")[0] for setting in SETTINGS}
    if unknown:
        parser.error(f"no row for {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    make_repeatable()
    registry = discover()
    notes = []
    print("| attack | target, ball, images, stop | peers' time ÷ ours | ours of floor | ours reaches | peers reach |")
    print("| --- | --- | --- | --- | --- | --- |")
    for setting in SETTINGS:
        if asked.names and setting.attack.split("(")[0] not in asked.names:
            continue
        race = race_of(setting, registry)
        known = peers_of(race.attack, race.threat.name)
        notes += [f"not installed: {peer.name} ({peer.install})" for peer in known if not peer.here]
        rows = race.run([peer for peer in known if peer.here], asked.rounds or setting.rounds)
        notes += [f"failed at {setting.attack}: {row.name}: {row.failed}" for row in rows if row.failed]
        print(line(setting, rows), flush=True)
    print(*sorted(set(notes)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
