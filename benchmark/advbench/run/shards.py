"""A cell cut into shards, each with the labels that its goal asks for."""

from __future__ import annotations

from advbench.crafting.cell import Shard
from advbench.data import Examples
from advbench.draws import Draws
from advbench.goal import choose_labels
from advbench.run.ready import Ready
from advbench.suite.plan import CellPlan

TOGETHER = 128
"""Examples in a shard that is crafted on a randomised target, whatever a suite says."""


def shard_of(source: Ready, wanted: int) -> int:
    """How many examples make a shard.

    What a randomised target draws for an example depends on who else is asked about, so there nobody chooses.
    """
    return wanted if source.target.draws == 1 else TOGETHER


def cut(cell: CellPlan, source: Ready, examples: Examples, *, size: int, seed: int) -> list[Shard]:
    """All shards of the cell; the source's answers say which labels are least likely and what is already reached."""
    clean = source.clean
    classes = cell.source.dataset.classes
    rows = source.examples.places(examples.ids)
    shards = []
    for number, first in enumerate(range(0, len(examples), size)):
        part = examples[first : first + size]
        place = rows[first : first + len(part)]
        draws = Draws(seed, f"goal/{cell.goal}", part.ids)
        labels, applies = choose_labels(cell.goal, part.labels, clean.least_likely[place], classes, draws)
        apt = applies.nonzero().squeeze(1)
        shards.append(
            Shard(
                number=number,
                first=first,
                span=len(part),
                examples=part[apt],
                goal_labels=labels[apt],
                predicted=clean.predicted[place][apt],
                lead=clean.lead[place][apt],
                places=source.places[place][apt],
            )
        )
    return shards
