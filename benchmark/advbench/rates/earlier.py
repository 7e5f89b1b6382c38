"""Targets that a board lists no more, since the same network has been asked again; what differs, in words.

The view `earlier` says which they are. A network is asked again under another key when the source of a part of it has
changed, its version where there is no source, a revision of the core, or the images that a threshold is set on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from advbench.store import Store
from advbench.store.rows import TargetRow


@dataclass(frozen=True)
class Earlier:
    """A target below the ranking of one board."""

    board: str
    target: str
    label: str
    standing: str
    """The key of the target of its lineage that counts there."""
    differs: str
    asked: str
    """When it was asked last."""
    clean: tuple[int, int]
    """Right, of so many."""
    robust: tuple[int, int] | None
    unranked: str | None


@dataclass(frozen=True)
class _Row:
    board: str
    target: str
    target_label: str
    standing: str
    at: str
    clean_right: int
    clean_n: int
    right: int | None
    n: int | None
    unranked: str | None


def earlier_targets(store: Store) -> list[Earlier]:
    """The last asked first, board by board; quickest within `store.tallied()`."""
    rows = store.read(
        _Row,
        """
        SELECT w.board, w.target, w.target_label, w.standing, e.at, w.clean_right, w.clean_n, w.right, w.n, w.unranked
        FROM earlier w JOIN cell_events e ON e.id = w.event ORDER BY w.board_name, w.board, e.id DESC
        """,
    )
    if not rows:
        return []
    targets = {target.key: target for target in store.targets()}
    return [
        Earlier(
            board=row.board,
            target=row.target,
            label=row.target_label,
            standing=row.standing,
            differs=differs(targets[row.target], targets[row.standing]),
            asked=row.at,
            clean=(row.clean_right, row.clean_n),
            robust=None if row.n is None or row.right is None else (row.right, row.n),
            unranked=row.unranked,
        )
        for row in rows
    ]


def differs(old: TargetRow, new: TargetRow) -> str:
    """What an earlier target was made with and the later one of its lineage was not."""
    differences = other_parts(old, new)
    if not differences and old.draws != new.draws:
        differences = [f"{old.draws} draws instead of {new.draws}"]
    return "; ".join(differences) or "another revision of the core, or other held-out images"


def other_parts(old: TargetRow, new: TargetRow) -> list[str]:
    """Model, defenses and data set that come from elsewhere, or from another source."""
    after = dict(_parts(new))
    words = (other_source(name, was, after[name]) for name, was in _parts(old) if name in after)
    return list(dict.fromkeys(filter(None, words)))


def other_source(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How one origin of a part differs from another, as far as a key takes it in; empty where it does not."""
    versions = f"{was.get('version') or '?'} instead of {now.get('version') or '?'}"
    if was.get("distribution") != now.get("distribution"):
        return f"{name} of {was.get('distribution') or 'nobody'} instead of {now.get('distribution') or 'nobody'}"
    if was.get("digest") != now.get("digest"):
        return f"another source of {name}" + (f" ({versions})" if was.get("version") != now.get("version") else "")
    if not was.get("digest") and was.get("version") != now.get("version"):
        return f"{name} {versions}"
    return ""


def _parts(row: TargetRow) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The parts of a target by name, each with who shipped it."""
    origins = row.origins or {}
    yield _name(row.model), _origin(origins.get("model"))
    behind = origins.get("defenses")
    defenses = [_name(part) for part in row.defenses.split("+")]
    if isinstance(behind, list) and len(behind) == len(defenses):
        yield from zip(defenses, map(_origin, behind), strict=True)
    yield _name(row.dataset), _origin(origins.get("dataset"))


def _name(label: str) -> str:
    return label.partition("(")[0]


def _origin(stored: Any) -> Mapping[str, Any]:
    """An origin as a mapping, whatever the one who wrote the row put there."""
    return stored if isinstance(stored, dict) else {}
