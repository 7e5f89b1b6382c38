"""What is different from the last time that another state of the database was rendered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from advbench_leaderboard.site import Site
from advbench_leaderboard.text import count_of


class Facts(TypedDict):
    """What a comparison needs of a state."""

    outcomes: int
    cells: int
    boards: dict[str, dict[str, Any]]
    """By key: its name, and by target key its label and its share of robust answers, or None."""


class Remembered(TypedDict):
    now: Facts
    before: Facts | None


def facts(site: Site) -> Facts:
    done = [cell for cell in site.cells.values() if cell.status == "done"]
    return {
        "outcomes": site.outcome_count,
        "cells": len(done),
        "boards": {
            board.key: {
                "name": board.name,
                "targets": {
                    entry.target.key: [entry.target.label, entry.robust.value if entry.robust else None]
                    for entry in board.entries
                },
            }
            for board in site.boards
        },
    }


def remembered(now: Facts, state: Mapping[str, Any]) -> Remembered:
    """The same state again keeps what it was compared with, so that its pages stay as they are."""
    last = state.get("now")
    if not _readable(last):
        return {"now": now, "before": None}
    before = state.get("before")
    if last == now:
        return {"now": now, "before": before if _readable(before) else None}
    return {"now": now, "before": last}


def sentences(states: Remembered) -> list[tuple[str | None, str]]:
    """Each change as the key of its board, or None, and a sentence."""
    now, before = states["now"], states["before"]
    if before is None:
        return []
    changes: list[tuple[str | None, str]] = []
    for noun, more in (
        ("finished cell", now["cells"] - before["cells"]),
        ("verdict", now["outcomes"] - before["outcomes"]),
    ):
        if more:
            changes.append((None, count_of(abs(more), f"{'more' if more > 0 else 'fewer'} {noun}")))
    for key, board in now["boards"].items():
        if key not in before["boards"]:
            changes.append((key, "new board"))
            continue
        old, new = before["boards"][key]["targets"], board["targets"]
        gone = {old[t][0]: t for t in old if t not in new}
        for label, value in (new[t] for t in new if t not in old):
            if label in gone:  # one network whose key has changed
                was = _percent(old[gone.pop(label)][1])
                changes.append((key, f"{label} was asked again: robust accuracy {was} → {_percent(value)}"))
            else:
                changes.append((key, f"{label} is new"))
        changes += [(key, f"{label} is gone") for label in gone]
        changes += [
            (key, f"{new[t][0]}: robust accuracy {_percent(old[t][1])} → {_percent(new[t][1])}")
            for t in new
            if t in old and new[t][1] != old[t][1]
        ]
    changes += [
        (None, f"board {old['name']} is gone") for key, old in before["boards"].items() if key not in now["boards"]
    ]
    return changes


def _percent(share: float | None) -> str:
    return "unranked" if share is None else f"{100 * share:.1f} %"


def _readable(state: Any) -> bool:
    """A state file of another version, or one that somebody edited, is no reason to fail."""
    try:
        return (
            isinstance(state["cells"], int)
            and isinstance(state["outcomes"], int)
            and all(
                isinstance(board["name"], str)
                and all(
                    isinstance(label, str) and (value is None or isinstance(value, int | float))
                    for label, value in board["targets"].values()
                )
                for board in state["boards"].values()
            )
        )
    except (TypeError, KeyError, AttributeError, ValueError):
        return False
