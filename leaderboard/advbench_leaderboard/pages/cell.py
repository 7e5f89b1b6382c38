"""One cell: a gallery of what the attack made of the first examples, and how the cell came out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from advbench_leaderboard import png
from advbench_leaderboard.facts.cells import Cell
from advbench_leaderboard.facts.exhibits import Exhibit
from advbench_leaderboard.facts.transfers import Outgoing
from advbench_leaderboard.figures.arrows import Move, arrows, moves
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

FOLDER = "cells"
BATCH = 200
"""Cells whose pictures are read at once."""
TABLE = 12
"""Moves in the table behind the arrows: the largest."""
COUNT = 8
ROOM = 400_000
"""Bytes of a cell's pictures, as `advbench.exhibits` keeps them: as many as fit, but one at least."""
LARGEST = 1 << 22
"""Bytes of one picture; a stranger's data set may claim any shape."""


@dataclass(frozen=True)
class Picture:
    words: str
    address: Markup
    alt: str


@dataclass(frozen=True)
class Shown:
    """An exhibit as the page shows it."""

    exhibit: Exhibit
    verdict: str
    label: str
    clean: str
    answer: str
    goal: str | None
    pictures: tuple[Picture, ...]
    moves: tuple[Move, ...]
    arrows: Markup | None


def pages(site: Site) -> Iterator[Page]:
    cells = list(site.cells.values())
    for start in range(0, len(cells), BATCH):
        batch = cells[start : start + BATCH]
        exhibits = site.exhibits([cell.number for cell in batch])
        outgoing = site.transfer_of([cell.key for cell in batch])
        for cell in batch:
            made = partial(_context, site, cell, exhibits.get(cell.number, []), outgoing.get(cell.key, []))
            yield Page(site.cell_file(cell.key), "cell.html.j2", made)


def _context(site: Site, cell: Cell, shown: list[Exhibit], outgoing: list[Outgoing]) -> dict[str, object]:
    verdicts = [one for _, one in site.verdicts_on(cell.key)]
    shown = shown[: _room(site, cell)]
    dataset = site.datasets.get(cell.data_fingerprint)
    return {
        "cell": cell,
        "unplaced": site.unplaced.get(cell.key),
        "neighbours": site.neighbours(cell),
        # what nothing here knows would be an empty column
        "has": {
            "first_right": any(one.first_right for one in verdicts),
            "undetected": any(one.undetected for one in verdicts),
            "size": any(one.mean_size is not None for one in verdicts),
            "clean_confidence": any(one.clean_confidence is not None for one in shown),
            "confidence": any(one.confidence is not None for one in shown),
        },
        "target": site.targets[cell.source],
        "verdicts": site.verdicts_on(cell.key),
        "boards": site.boards_of(cell.key),
        "shown": [_shown(site, cell, one) for one in shown],
        "withheld": dataset if dataset and not dataset.publishable else None,
        "outgoing": outgoing,
    }


def _room(site: Site, cell: Cell) -> int:
    """How many pictures are shown; none of what can't be one is worked at for long."""
    dataset = site.datasets.get(cell.data_fingerprint)
    size = math.prod(dataset.shape) if dataset else 1
    return max(1, min(COUNT, ROOM // (3 * size)))


def _shown(site: Site, cell: Cell, one: Exhibit) -> Shown:
    names = {
        label: site.class_name(cell.data_fingerprint, label)
        for label in (one.label, one.clean, one.predicted, one.goal_label)
    }
    dataset = site.datasets.get(cell.data_fingerprint)
    try:
        pictures, largest = _drawn(one, dataset.shape if dataset else (), names)
    except ValueError:
        pictures, largest = [], []  # the page says so
    drawn = None
    if largest and dataset:
        words = f"Where the mass of example {one.example} went"
        drawn = arrows(words, largest, dataset.shape[1], dataset.shape[2])
    return Shown(
        exhibit=one,
        verdict=verdict(one, site.targets[cell.source].threshold),
        label=names[one.label],
        clean=names[one.clean],
        answer=names[one.predicted],
        goal=None if cell.goal == "untargeted" or one.goal_label is None else names[one.goal_label],
        pictures=tuple(pictures),
        moves=tuple(largest[:TABLE]),
        arrows=drawn,
    )


def verdict(one: Exhibit, threshold: float | None) -> str:
    """In one or two words; a perturbation that breaks the rules fools nobody."""
    if one.reached is None:
        return "not judged"
    if one.violation is not None:
        return "violation"
    if not one.reached:
        return "not fooled"
    if threshold is None:
        return "fooled"
    alarm = one.suspicion is not None and one.suspicion > threshold
    return "fooled, alarm raised" if alarm else "fooled, undetected"


def _drawn(one: Exhibit, sides: tuple[int, ...], names: Mapping[int | None, str]) -> tuple[list[Picture], list[Move]]:
    if len(sides) != 3:
        raise ValueError(f"no image has the shape {sides}")
    shape = (sides[0], sides[1], sides[2])
    size = shape[0] * shape[1] * shape[2]
    if size > LARGEST:
        raise ValueError(f"a picture of {size} bytes is too large for a page")
    largest = moves(one.moved, shape[1], shape[2]) if one.moved else []
    original, perturbed = png.inflated(one.original, size), png.inflated(one.perturbed, size)
    changed, factor = png.difference(original, perturbed)
    made = [
        ("Original", original, f"Example {one.example} as the data set has it, of class {names[one.label]}"),
        ("Perturbed", perturbed, f"Example {one.example} perturbed, taken for {names[one.predicted]}"),
        (
            f"Difference × {factor:g}" if original != perturbed else "No difference",
            changed,
            f"What changed in example {one.example}, {factor:g} times magnified",
        ),
    ]
    if one.redrawn:
        redrawn = png.inflated(one.redrawn, size)
        made.append(("Reconstruction", redrawn, f"The model’s reconstruction of the perturbed example {one.example}"))
    return [Picture(words, png.address(pixels, shape), alt) for words, pixels, alt in made], largest
