"""Which revision of the core's areas an outcome was made with.

A key takes in the sources of plugins, and of the core nothing but these numbers. Whoever changes an area so that a
stored outcome would come out otherwise raises its number: cells that used it are then crafted again, and no others. A
test holds stored outcomes of every attack in every ball against what comes out (`tests/battery.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

REVISIONS = {
    "problem": 1,  # what attacks are told, and which success is kept
    "draws": 1,
    "referee": 1,  # how images are made from perturbations, measured and judged
    "target": 1,  # how defenses are set up and thresholds found
    "studies": 1,  # what analyses are given, how rates are counted, and intervals worked out
    "box": 1,
    "corruption": 1,
    "l2": 1,
    "linf": 1,
    "rotate-shift": 1,
    "wasserstein": 1,
}
CELL = ("problem", "draws", "referee")
"""Beside the cell's own ball; its target's areas are in the target's key."""
TARGET = ("draws", "referee", "target")
ANALYSIS = ("draws", "referee", "studies")


def in_key(areas: Iterable[str], numbers: Mapping[str, int] | None = None) -> dict[str, dict[str, int]]:
    """What a key takes in: the areas beyond their first revision, or nothing at all. A stranger's ball has none."""
    numbers = REVISIONS if numbers is None else numbers
    raised = {area: number for area in areas if (number := numbers.get(area, 1)) > 1}
    return {"revisions": raised} if raised else {}


def earlier(areas: Iterable[str]) -> Iterator[dict[str, int]]:
    """Every state in which the areas may have been before this one."""
    raised = [area for area in areas if REVISIONS.get(area, 1) > 1]
    for numbers in product(*(range(1, REVISIONS[area] + 1) for area in raised)):
        if numbers != tuple(REVISIONS[area] for area in raised):
            yield {**REVISIONS, **dict(zip(raised, numbers, strict=True))}
