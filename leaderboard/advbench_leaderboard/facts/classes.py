"""Which classes an attack turns into which others, or brings to the class it was sent to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from advbench.store import Store
from advbench_leaderboard.facts.boards import Board, Entry
from advbench_leaderboard.facts.cells import Cell
from advbench_leaderboard.facts.rate import Rate


@dataclass(frozen=True)
class Turns:
    """How examples that are right on the clean image change their class under one attack. A pair of classes is the true
    one, and the one answered or, where the attack is targeted, aimed at."""

    cells: tuple[Cell, ...]
    """Cells of one attack that differ only in their goal."""
    targeted: bool
    sent: Mapping[tuple[int, int], int]
    """By pair, where the attack is targeted: how many were sent that way."""
    images: Mapping[int, int]
    """By class, where it is not: how many there are, which may become any other class."""
    turned: Mapping[tuple[int, int], int]
    """By pair: how many the attack fooled."""

    @property
    def classes(self) -> list[int]:
        known = {label for pair in (*self.sent, *self.turned) for label in pair}
        return sorted({*known, *self.images})

    def tried(self, source: int, answer: int) -> int:
        return self.sent.get((source, answer), 0) if self.targeted else self.images.get(source, 0)

    def rate(self, source: int, answer: int) -> Rate | None:
        n = self.tried(source, answer)
        return Rate(self.turned.get((source, answer), 0), n) if n and source != answer else None


@dataclass(frozen=True)
class _Pair:
    label: int
    answer: int
    n: int
    fooled: int


def turns(store: Store, board: Board, entry: Entry, cells: Mapping[str, Cell]) -> Iterator[Turns]:
    """Under the targeted attack that reaches its goals most often, if there is one; under the one that fools most."""
    groups: dict[tuple[str, bool], list[Cell]] = {}
    reached: dict[tuple[str, bool], float] = {}
    for verdicts in entry.verdicts.values():
        cell = cells[verdicts.cell]
        group = (cell.attack, cell.goal != "untargeted")
        groups.setdefault(group, []).append(cell)
        reached[group] = reached.get(group, 0.0) + verdicts.fooled.value
    for targeted in (True, False):
        known = [group for group in groups if group[1] == targeted]
        if known:
            best = min(known, key=lambda group: (-reached[group] / len(groups[group]), group))
            if (some := _turns(store, board, entry, groups[best], targeted)).turned:
                yield some


def _turns(store: Store, board: Board, entry: Entry, cells: Sequence[Cell], targeted: bool) -> Turns:
    pairs = store.read(
        _Pair,
        f"""
        SELECT c.label, {"o.goal_label" if targeted else "o.predicted"} AS answer, count(*) AS n,
          count(*) FILTER (WHERE o.fooled) AS fooled
        FROM json_each(?) these
        CROSS JOIN judged_outcomes o ON o.cell_id = these.value
        CROSS JOIN clean c ON c.target = o.target_id AND c.example = o.example
        WHERE o.board = ? AND o.target_id = ? AND c.predicted = c.label GROUP BY c.label, answer
        """,
        json.dumps([cell.number for cell in cells]),
        board.key,
        entry.target.number,
    )
    sent: dict[tuple[int, int], int] = {}
    images: Counter[int] = Counter()
    for pair in pairs:
        if targeted:
            sent[pair.label, pair.answer] = pair.n
        else:
            images[pair.label] += pair.n
    turned = {(pair.label, pair.answer): pair.fooled for pair in pairs if pair.fooled}
    return Turns(tuple(cells), targeted, sent, images, turned)
