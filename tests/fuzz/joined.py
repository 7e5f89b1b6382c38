"""Whether what joined a database says the same as where it comes from."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from advbench.store import Store
from fuzz.scene import Scene

NUMBERS = "n", "fooled", "first_right", "fooled_first_right", "still_right", "undetected", "violations"


def told(scene: Scene, into: Path) -> str:
    """Which number of a merged database is another than in the database that was damaged; empty where none is."""
    if not into.is_file():
        return ""
    right, found = numbers(scene.db), _read(into)
    for place, value in found.items():
        if place not in right:
            return f"a number joined that nobody stored: {place} {value}"
        if right[place] != value:
            return f"another number joined: {place} is {value}, was {right[place]}"
    return ""


@cache
def numbers(db: Path) -> dict[Any, Any]:
    return _read(db)


def _read(db: Path) -> dict[Any, Any]:
    with Store.open(db, readonly=True) as store, store.tallied():
        found: dict[Any, Any] = {}
        for row in store.rates("rates"):
            place = ("rates", row["board"], row["source_label"], row["target_label"], row["entrant"], row["cell"])
            found[place] = tuple(row[name] for name in NUMBERS)
        for row in store.rates("robust_accuracy"):
            if row["n"]:
                found["robust", row["board"], row["target_label"]] = (row["n"], row["right"])
        for row in store.rates("clean_accuracy"):
            found["clean", row["board"], row["target_label"]] = (row["n"], row["right"], row["alarms"])
        for row in store.rates("certified"):
            found["certified", row["board"], row["target_label"]] = (row["n"], row["right"])
    return found
