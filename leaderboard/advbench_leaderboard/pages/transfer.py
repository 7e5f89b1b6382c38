"""Transfer: source × target, a page for every board and attack whose examples were judged on other targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from advbench_leaderboard.facts.boards import Board
from advbench_leaderboard.facts.entrants import Target
from advbench_leaderboard.facts.rate import Rate
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

NAVIGATION = ("transfer.html", "Transfer")
FOLDER = "transfer"


@dataclass(frozen=True)
class Heat:
    """One attack on one board."""

    board: Board
    entrant: str
    attack: str
    sources: tuple[Target, ...]
    targets: tuple[Target, ...]
    rates: Mapping[tuple[str, str], Rate]
    """By source and target key; a source on itself is its own fooling rate."""
    cells: Mapping[str, str]
    """By source key."""

    @property
    def others(self) -> list[Rate]:
        return [rate for (source, target), rate in self.rates.items() if source != target]

    def judged_on(self, source: str) -> list[str]:
        """Other targets that its examples were judged on."""
        return [t.key for t in self.targets if t.key != source and (source, t.key) in self.rates]

    @property
    def mean(self) -> float:
        return sum(rate.value for rate in self.others) / len(self.others)

    def best(self) -> tuple[str, str]:
        """Source and target of the pair that transfers best; of equals the first by name."""
        pairs = ((a.key, b.key) for a in self.sources for b in self.targets if a.key != b.key)
        known = [pair for pair in pairs if pair in self.rates]
        return max(known, key=lambda pair: self.rates[pair].value)

    def mean_of_row(self, source: str) -> float | None:
        return _mean([self.rates[source, key] for key in self.judged_on(source)])

    def mean_of_column(self, target: str) -> float | None:
        return _mean(
            [self.rates[s.key, target] for s in self.sources if s.key != target and (s.key, target) in self.rates]
        )


def pages(site: Site) -> Iterator[Page]:
    listed = []
    for board in site.boards:
        for heat in heats(site, board):
            path = site.transfer_file(board.key, heat.entrant)
            best = heat.best()
            listed.append((board, heat.entrant, path, heat.mean, heat.rates[best], best, len(heat.others)))
            yield Page(path, "heat.html.j2", partial(dict, heat=heat, board=board))
    yield Page("transfer.html", "transfer.html.j2", partial(dict, listed=listed))


def heats(site: Site, board: Board) -> list[Heat]:
    """By attack, in the board's order; targets by name."""
    rates: dict[str, dict[tuple[str, str], Rate]] = {}
    cells: dict[str, dict[str, str]] = {}
    for one in site.transfer(board.key):
        rates.setdefault(one.entrant, {})[one.source, one.target] = one.rate
        cells.setdefault(one.entrant, {})[one.source] = one.cell
    for entry in board.entries:
        for entrant, verdicts in entry.verdicts.items():
            if entrant in rates:
                rates[entrant][entry.target.key, entry.target.key] = verdicts.fooled
                cells[entrant][entry.target.key] = verdicts.cell
    made = []
    for entrant in sorted(rates, key=lambda name: (_place(board, name), name)):
        pairs = rates[entrant]
        made.append(
            Heat(
                board=board,
                entrant=entrant,
                attack=site.cells[next(iter(cells[entrant].values()))].attack,
                sources=_by_name(site, {source for source, _ in pairs}),
                targets=_by_name(site, {target for _, target in pairs}),
                rates=pairs,
                cells=cells[entrant],
            )
        )
    return made


def _place(board: Board, entrant: str) -> int:
    return board.entrants.index(entrant) if entrant in board.entrants else len(board.entrants)


def _by_name(site: Site, keys: set[str]) -> tuple[Target, ...]:
    return tuple(site.targets[key] for key in sorted(keys, key=lambda key: (site.targets[key].label, key)))


def _mean(rates: list[Rate]) -> float | None:
    return sum(rate.value for rate in rates) / len(rates) if rates else None
