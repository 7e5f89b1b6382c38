"""Boards, and the targets on them in their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench.rates import shared_ranks
from advbench.store import Store
from advbench_leaderboard.facts.cells import Cell, Incoming, Verdicts
from advbench_leaderboard.facts.entrants import Dataset, Target, nameless
from advbench_leaderboard.facts.rate import Rate, rate_of
from advbench_leaderboard.facts.skips import Skip
from advbench_leaderboard.text import in_order


@dataclass(frozen=True)
class Remark:
    """A note on a target: stored by the harness, or computed from the facts (`advbench.notes`)."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """A target on a board. `rank` is None when `unranked` says why."""

    target: Target
    rank: int | None
    tied: bool
    unranked: str | None
    robust: Rate | None
    clean: Rate
    verdicts: Mapping[str, Verdicts]
    """By entrant."""
    incoming: Incoming | None
    undetected: Verdicts | None
    """Of the attack that gets past the detector most often."""
    false_positives: Rate | None
    certified: Rate | None
    forwards: float
    """Per example, over all cells that count here."""
    backwards: float
    seconds: float
    notes: tuple[Remark, ...]
    verified: bool | None
    """Whether all its cells here were refereed again and found the same; None where nobody has said."""

    @property
    def worst(self) -> Verdicts | None:
        """The attack that leaves least."""
        return min(self.verdicts.values(), key=lambda v: (v.accuracy.value, v.entrant), default=None)


@dataclass(frozen=True)
class Board:
    """A data set and a threat with its radius."""

    key: str
    name: str
    dataset: Dataset
    ball: str
    """The threat with its radius, as in the board's name."""
    threat: str
    family: str
    params: Mapping[str, Any]
    eps: float
    examples: str
    count: int
    protocol: int
    required: tuple[str, ...]
    entrants: tuple[str, ...]
    """The required ones in the board's order, then the others."""
    entries: tuple[Entry, ...]
    """Ranked ones first, the best on top; unranked ones by name."""
    failed: tuple[Cell, ...]
    """Cells whose latest attempt failed or has not ended."""
    skipped: tuple[Skip, ...]
    updated: str | None
    """When the newest of its cells ended."""

    @property
    def ranked(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.rank is not None)

    @property
    def detects(self) -> bool:
        return any(entry.false_positives for entry in self.entries)


@dataclass(frozen=True)
class Gathered:
    """What boards are made of."""

    targets: Mapping[str, Target]
    datasets: Mapping[str, Dataset]
    cells: Mapping[str, Cell]
    verdicts: Mapping[str, Mapping[str, Mapping[str, Verdicts]]]
    incoming: Mapping[tuple[str, str], Incoming]
    skips: tuple[Skip, ...]
    notes: Mapping[tuple[str, str], tuple[Remark, ...]]
    """By board and target."""
    certified: Mapping[tuple[str, str], Rate]
    verified: Mapping[str, bool]
    """By cell."""


def boards(store: Store, found: Gathered) -> tuple[Board, ...]:
    clean, robust = _by_board(store.rates("clean_accuracy")), _by_board(store.rates("robust_accuracy"))
    here: dict[str, list[tuple[Cell, bool]]] = {}
    for row in store.rows("SELECT board, cell, latest AND status <> 'done' AS open FROM board_cells ORDER BY board"):
        here.setdefault(row["board"], []).append((found.cells[row["cell"]], bool(row["open"])))
    made = []
    for row in sorted(store.boards(), key=lambda row: in_order(f"{row['dataset']} {row['name']}")):
        key = row["key"]
        placed = here.get(key, [])
        ranks = _ranks(store.robust_examples(key), found.targets)
        failed = sorted(
            (cell for cell, is_open in placed if is_open),
            key=lambda cell: (found.targets[cell.source].label, cell.entrant, cell.key),
        )
        verdicts = found.verdicts.get(key, {})
        others = {entrant for by_entrant in verdicts.values() for entrant in by_entrant} - set(row["required"])
        entries = [
            _entry(answer, robust[key][answer["target"]], found, ranks, Counter(ranks.values()))
            for answer in clean.get(key, {}).values()
        ]
        made.append(
            Board(
                key=key,
                name=row["name"],
                dataset=found.datasets.get(row["data_fingerprint"]) or nameless(row),
                ball=row["name"].removeprefix(f"{row['dataset']}/"),
                threat=row["threat"],
                family=row["family"],
                params=row["params"] or {},
                eps=row["eps"],
                examples=row["examples"],
                count=row["count"],
                protocol=row["protocol"],
                required=tuple(row["required"]),
                entrants=(*row["required"], *sorted(others)),
                entries=tuple(sorted(entries, key=_place)),
                failed=tuple(failed),
                skipped=tuple(skip for skip in found.skips if skip.concerns(row["dataset"], row["name"])),
                updated=max((cell.at for cell, _ in placed if cell.at), default=None),
            )
        )
    return tuple(made)


def _entry(
    answer: Mapping[str, Any],
    worst_case: Mapping[str, Any],
    found: Gathered,
    ranks: Mapping[str, int],
    crowd: Mapping[int, int],
) -> Entry:
    board, key = answer["board"], answer["target"]
    verdicts = found.verdicts.get(board, {}).get(key, {})
    clean = rate_of(answer, "right", "n")
    assert clean is not None  # a target is listed for its clean answers
    counted = [found.cells[verdict.cell] for verdict in verdicts.values()]
    through = [verdict for verdict in verdicts.values() if verdict.undetected]
    checked = [found.verified.get(cell.key) for cell in counted]
    rank = ranks.get(key)
    return Entry(
        target=found.targets[key],
        rank=rank,
        tied=rank is not None and crowd[rank] > 1,
        unranked=worst_case["unranked"],
        robust=rate_of(worst_case, "right", "n"),
        clean=clean,
        verdicts=verdicts,
        incoming=found.incoming.get((board, key)),
        undetected=min(
            through, key=lambda v: (-(v.undetected.value if v.undetected else 0.0), v.entrant), default=None
        ),
        false_positives=rate_of(answer, "alarms", "n"),
        certified=found.certified.get((board, key)),
        forwards=sum(cell.forwards / cell.count for cell in counted),
        backwards=sum(cell.backwards / cell.count for cell in counted),
        seconds=sum(cell.seconds for cell in counted),
        notes=found.notes.get((board, key), ()),
        verified=False if False in checked else True if checked and all(checked) else None,
    )


def _place(entry: Entry) -> tuple[bool, int, str, str]:
    right = entry.robust.k if entry.robust else 0
    return (entry.rank is None, -right, entry.target.label, entry.target.key)


def _ranks(right: Mapping[str, Mapping[int, bool]], targets: Mapping[str, Target]) -> dict[str, int]:
    ordered = sorted(right, key=lambda key: (targets[key].label, key))
    return dict(shared_ranks({key: [right[key][example] for example in sorted(right[key])] for key in ordered}))


def _by_board(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["board"], {})[row["target"]] = row
    return found
