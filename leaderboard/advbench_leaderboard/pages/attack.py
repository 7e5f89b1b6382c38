"""One attack: where it wins, what it costs, what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from advbench_leaderboard.facts.boards import Board, Entry
from advbench_leaderboard.facts.cells import Verdicts
from advbench_leaderboard.facts.entrants import Attack
from advbench_leaderboard.figures.cost import Point, costs
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

FOLDER = "attacks"


@dataclass(frozen=True)
class Row:
    """The attack on one target of one board."""

    board: Board
    entry: Entry
    verdicts: Verdicts
    forwards: float
    backwards: float
    seconds: float

    @property
    def worst(self) -> bool:
        """Whether no other attack of the board leaves less."""
        worst = self.entry.worst
        return worst is not None and self.verdicts.accuracy.value <= worst.accuracy.value

    @property
    def point(self) -> Point:
        words = f"{self.entry.target.label} on {self.board.title}: {100 * self.verdicts.fooled.value:.1f} %"
        return Point(self.forwards + self.backwards, self.verdicts.fooled.value, words)


@dataclass(frozen=True)
class Mean:
    """An attack's mean over the targets of a board."""

    board: Board
    entrant: str
    attack: str
    passes: float
    fooled: float


def pages(site: Site) -> Iterator[Page]:
    rows = _rows(site)
    means = _means(site)
    for attack in site.attacks.values():
        made = partial(_context, site, attack, rows.get(attack.label, []), means)
        yield Page(site.attack_file(attack.label), "attack.html.j2", made)


def _context(site: Site, attack: Attack, rows: Sequence[Row], means: Mapping[str, Sequence[Mean]]) -> dict[str, object]:
    on = list(dict.fromkeys(row.board.key for row in rows))
    others = [mean for key in on for mean in means[key] if mean.attack != attack.label]
    series = [(site.board(key), [row.point for row in rows if row.board.key == key]) for key in on]
    rings = [Point(m.passes, m.fooled, f"{m.entrant} on {m.board.title}, mean") for m in others]
    return {
        "attack": attack,
        "description": site.description_of("attack", attack.label),
        "rows": rows,
        "wins": sum(row.worst for row in rows),
        "series": series,
        "others": others,
        "sized": any(row.verdicts.mean_size is not None for row in rows),
        "unplaced": [
            (cell, site.unplaced[cell.key])
            for cell in site.cells.values()
            if cell.attack == attack.label and cell.key in site.unplaced
        ],
        "figure": costs(attack.label, [(b.title, points) for b, points in series], rings) if rows else None,
        "unfinished": sum(c.attack == attack.label and c.latest and c.status != "done" for c in site.cells.values()),
    }


def _rows(site: Site) -> Mapping[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for board in site.boards:
        for entry in board.entries:
            for verdicts in entry.verdicts.values():
                cell = site.cells[verdicts.cell]
                n = cell.count or 1
                row = Row(board, entry, verdicts, cell.forwards / n, cell.backwards / n, cell.seconds)
                rows.setdefault(cell.attack, []).append(row)
    return rows


def _means(site: Site) -> Mapping[str, list[Mean]]:
    made: dict[str, list[Mean]] = {}
    for board in site.boards:
        made[board.key] = []
        for entrant in board.entrants:
            verdicts = [v for entry in board.entries if (v := entry.verdicts.get(entrant))]
            if not verdicts:
                continue
            cells = [site.cells[v.cell] for v in verdicts]
            passes = sum((c.forwards + c.backwards) / (c.count or 1) for c in cells) / len(cells)
            fooled = sum(v.fooled.value for v in verdicts) / len(verdicts)
            made[board.key].append(Mean(board, entrant, cells[0].attack, passes, fooled))
    return made
