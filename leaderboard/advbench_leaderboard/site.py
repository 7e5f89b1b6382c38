"""Everything that pages may read, gathered once from one moment of a database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from advbench.rates import earlier, evidence, notes
from advbench.rates.evidence import Evidence
from advbench.store import Store
from advbench.store.marks import Mark
from advbench.store.study_rows import AnalysisRow, FindingRow, Found, analysis, findings, found
from advbench_leaderboard.facts import (
    cells,
    checks,
    classes,
    curves,
    detectors,
    differences,
    entrants,
    exhibits,
    ranking,
    runs,
    skips,
    studies,
    transfers,
)
from advbench_leaderboard.facts.boards import Board, Entry, Remark, Superseded
from advbench_leaderboard.facts.cells import Cell, Placed, Unplaced, Verdicts
from advbench_leaderboard.facts.checks import Import
from advbench_leaderboard.facts.classes import Turns
from advbench_leaderboard.facts.curves import Curve
from advbench_leaderboard.facts.detectors import Allowance, Detector
from advbench_leaderboard.facts.differences import Difference
from advbench_leaderboard.facts.entrants import Attack, Dataset, Description, Target
from advbench_leaderboard.facts.exhibits import Exhibit
from advbench_leaderboard.facts.ranking import Gathered
from advbench_leaderboard.facts.runs import Plugin, Run
from advbench_leaderboard.facts.skips import Skip
from advbench_leaderboard.facts.studies import Study
from advbench_leaderboard.facts.transfers import Outgoing, Transfer
from advbench_leaderboard.text import slug


@dataclass(frozen=True)
class Site:
    """Small things are fields; what grows with the examples is read when a page asks for it.

    It can be read only while `opened` holds the database's snapshot. Pages link each other by `*_file`, which are paths
    from the site's root; `folders` says which of these there are pages for.
    """

    store: Store
    database: str
    """The file's name."""
    boards: tuple[Board, ...]
    targets: Mapping[str, Target]
    attacks: Mapping[str, Attack]
    datasets: Mapping[str, Dataset]
    cells: Mapping[str, Cell]
    runs: tuple[Run, ...]
    """The newest first."""
    skips: tuple[Skip, ...]
    plugins: tuple[Plugin, ...]
    """Run by run."""
    descriptions: Mapping[tuple[str, str], Description]
    """Of plugins, by kind and label or name."""
    marks: Mapping[str, Mark]
    """By cell key: what `advbench verify` found last."""
    imports: Mapping[str, Import]
    """By cell key: from which database it came, where it came from another one."""
    unplaced: Mapping[str, Unplaced]
    """By cell key: what is done and stands on no board."""
    studies: tuple[Study, ...] = ()
    """By name, of one study the highest level first."""
    folders: frozenset[str] = field(default=frozenset())
    download: str | None = None
    """Where the database itself lies in the site, if it does."""
    left_out: tuple[str, ...] = ()
    """Rows that can't be read, with the reason; nothing here is made from them."""

    # --- where things are, from the site's root

    def board_file(self, key: str) -> str:
        return f"boards/{slug(self.board(key).name, key)}.html"

    def compare_file(self, key: str) -> str:
        return f"compare/{slug(self.board(key).name, key)}.html"

    def badge_file(self, board: str, target: str) -> str:
        return f"badges/{slug(self.targets[target].label, f'{board} {target}')}.svg"

    def target_file(self, key: str) -> str:
        return f"targets/{slug(self.targets[key].label, key)}.html"

    def attack_file(self, label: str) -> str:
        return f"attacks/{slug(label, label)}.html"

    def cell_file(self, key: str) -> str:
        return f"cells/{slug(key[:12], key)}.html"

    def transfer_file(self, board: str, entrant: str) -> str:
        return f"transfer/{slug(f'{self.board(board).name} {entrant}', f'{board} {entrant}')}.html"

    def study_file(self, study: Study) -> str:
        name = f"{study.name} {study.level}"
        return f"studies/{slug(name, name)}.html"

    # --- looked up

    @cached_property
    def _board_by_key(self) -> dict[str, Board]:
        return {board.key: board for board in self.boards}

    def board(self, key: str) -> Board:
        return self._board_by_key[key]

    @cached_property
    def _placed(self) -> list[Placed]:
        return cells.placed(self.store)

    @cached_property
    def _boards_by_cell(self) -> dict[str, list[str]]:
        by_cell = defaultdict(list)
        for one in self._placed:
            by_cell[one.cell].append(one.board)
        return by_cell

    @cached_property
    def _of_earlier_targets(self) -> frozenset[str]:
        """Cells whose target none of their boards lists any more."""
        placed = self._placed
        return frozenset({one.cell for one in placed} - {one.cell for one in placed if one.stands})

    def boards_of(self, cell: str) -> list[Board]:
        """The boards that a cell belongs to: one, or all of its family where it minimizes."""
        return [self.board(key) for key in self._boards_by_cell.get(cell, [])]

    def entries_of(self, target: str) -> list[tuple[Board, Entry]]:
        """A target on every board that it stands on."""
        return [(board, entry) for board in self.boards for entry in board.entries if entry.target.key == target]

    def superseded(self, target: str) -> list[tuple[Board, Superseded]]:
        """The boards on which the same network stands as another target, and that one."""
        return [(board, one) for board in self.boards for one in board.superseded if one.target.key == target]

    def cells_of(self, entry: Entry) -> list[Cell]:
        """What an entry was counted from."""
        return [self.cells[verdicts.cell] for verdicts in entry.verdicts.values()]

    def standing(self, cell: Cell) -> str:
        """What has become of it, in words; never that it was replaced where it was not."""
        if cell.status != "done":
            return cell.status
        if not cell.current:
            return "done, replaced by a newer cell"
        if self.is_of_earlier_target(cell):
            return "done, on an earlier target"
        return "done, on no board" if cell.key in self.unplaced else "done"

    def is_of_earlier_target(self, cell: Cell) -> bool:
        return cell.key in self._of_earlier_targets

    def neighbours(self, cell: Cell) -> list[Board]:
        """Boards of its ball that judge other examples."""
        return [
            board
            for board in self.boards
            if board.dataset.fingerprint == cell.data_fingerprint
            and board.protocol == cell.protocol
            and board.family == cell.family
            and (board.eps == cell.eps or (cell.eps is None and cell.minimizes))
            and board.examples != cell.examples
        ]

    def verdicts_on(self, cell: str) -> list[tuple[Board, Verdicts]]:
        """A cell on its own source, on every board that it counts on."""
        return self._verdicts_by_cell.get(cell, [])

    @cached_property
    def _verdicts_by_cell(self) -> dict[str, list[tuple[Board, Verdicts]]]:
        by_cell = defaultdict(list)
        for board in self.boards:
            for entry in board.entries:
                for verdicts in entry.verdicts.values():
                    by_cell[verdicts.cell].append((board, verdicts))
        return by_cell

    def description_of(self, kind: str, label: str) -> Description:
        """What a plugin says of itself; empty where a database of old does not know."""
        known = self.descriptions
        return known.get((kind, label)) or known.get((kind, label.partition("(")[0])) or Description()

    @cached_property
    def outcome_count(self) -> int:
        return cells.outcome_count(self.store)

    def class_name(self, fingerprint: str, label: int | None) -> str:
        """A class as its data set calls it, or its number."""
        dataset = self.datasets.get(fingerprint)
        if label is None:
            return "–"
        known = dataset is not None and 0 <= label < len(dataset.classes)
        return dataset.classes[label] if dataset is not None and known else str(label)

    # --- read when asked for

    @cached_property
    def _curves(self) -> dict[tuple[str, ...], tuple[Curve, ...]]:
        return {}

    def curves(self, board: Board) -> tuple[Curve, ...]:
        """Accuracy against radius, from minimal-norm attacks; in the board's order."""
        listed = sorted(entry.target.key for entry in board.entries)
        family = (board.dataset.fingerprint, board.examples, board.family, str(board.protocol), *listed)
        if family not in self._curves:
            self._curves[family] = curves.curves(self.store, board)
        order = {entry.target.key: place for place, entry in enumerate(board.entries)}
        return tuple(sorted(self._curves[family], key=lambda curve: order.get(curve.target, len(order))))

    def transfer(self, board: str) -> list[Transfer]:
        """Others' examples on each target of the board, attack by attack."""
        return transfers.on_board(self.store, board)

    def transfer_of(self, cells: Sequence[str]) -> dict[str, list[Outgoing]]:
        """By cell, of so many at once: how its examples do on other targets."""
        return transfers.of_cells(self.store, cells)

    @cached_property
    def transfer_out(self) -> dict[str, list[Outgoing]]:
        """By source: on each board and other target its attack that fools most often."""
        return transfers.worst(self.store)

    @cached_property
    def _turns(self) -> dict[tuple[str, str], tuple[Turns, ...]]:
        return {}

    def turns(self, board: Board, entry: Entry) -> tuple[Turns, ...]:
        """Which classes become which, under the attacks that tell most of it."""
        place = (board.key, entry.target.key)
        if place not in self._turns:
            self._turns[place] = tuple(classes.turns(self.store, board, entry, self.cells))
        return self._turns[place]

    @cached_property
    def _allowances(self) -> dict[tuple[str, str], tuple[Allowance, ...]]:
        return {}

    def detector(self, board: Board, entry: Entry) -> Detector | None:
        """Under the attack that gets past it most often. It holds a number an example, and so is not kept."""
        seen, target = None, entry.target
        if entry.undetected is not None and target.threshold is not None:
            seen = detectors.detector(self.store, board, self.cells[entry.undetected.cell], target)
        self._allowances[board.key, target.key] = seen.allowances if seen else ()
        return seen

    def allowances(self, board: Board, entry: Entry) -> tuple[Allowance, ...]:
        """What gets past the detector, by the false alarms that are allowed; empty where there is none."""
        place = (board.key, entry.target.key)
        if place not in self._allowances:
            self.detector(board, entry)
        return self._allowances[place]

    @cached_property
    def _differences(self) -> dict[str, dict[tuple[str, str], Difference]]:
        return {}

    def differences(self, board: Board) -> Mapping[tuple[str, str], Difference]:
        """Of every ordered pair of ranked targets, by their keys."""
        if board.key not in self._differences:
            right = {entry.target.key: board.right[entry.target.key] for entry in board.ranked}
            self._differences[board.key] = differences.differences(right, board.count)
        return self._differences[board.key]

    def exhibits(self, cells: Sequence[int]) -> dict[int, list[Exhibit]]:
        """By a cell's number, of so many at once: its first examples as pictures; see `advbench.exhibits`."""
        return exhibits.exhibits(self.store, cells)

    def analysis(self, key: str) -> AnalysisRow | None:
        return analysis(self.store, key)

    def found(self, key: str) -> Found:
        """All that an analysis found: numbers, points, pictures."""
        return found(self.store, key)

    def findings(self, key: str) -> Mapping[str, FindingRow]:
        """Its numbers alone, by name."""
        return findings(self.store, key)


@contextmanager
def opened(database: Path, folders: frozenset[str] = frozenset(), download: str | None = None) -> Iterator[Site]:
    """The site of a database, while the block holds one moment of it."""
    with Store.open(database, readonly=True) as store, store.tallied(whole=False) as left_out:
        yield gather(store, database.name, folders, download, tuple(left_out))


def gather(
    store: Store,
    database: str,
    folders: frozenset[str] = frozenset(),
    download: str | None = None,
    left_out: tuple[str, ...] = (),
) -> Site:
    targets, all_cells, datasets = entrants.targets(store), cells.cells(store), entrants.datasets(store)
    all_skips, marks = skips.skips(store), checks.verifications(store)
    all_studies, unread = studies.studies(store)
    apart, imports, all_runs = evidence.gather(store), checks.imported(store), runs.runs(store)
    facts = Gathered(
        targets=targets,
        datasets=datasets,
        cells=all_cells,
        verdicts=cells.verdicts(store),
        incoming=cells.incoming(store),
        skips=all_skips,
        notes=_notes(store, apart),
        elsewhere=_by_place(apart),
        certified=checks.certified(store),
        verified={cell: mark.sound for cell, mark in marks.items()},
        imports=imports,
        earlier=earlier.earlier_targets(store),
        cores=runs.cores(store, all_runs),
        draws=store.draws(),
    )
    return Site(
        store=store,
        database=database,
        boards=ranking.boards(store, facts),
        targets=targets,
        attacks=entrants.attacks(store),
        datasets=datasets,
        cells=all_cells,
        runs=all_runs,
        skips=all_skips,
        plugins=runs.plugins(store),
        descriptions=entrants.descriptions(store),
        marks=marks,
        imports=imports,
        unplaced=cells.unplaced(store),
        studies=all_studies,
        folders=folders,
        download=download,
        left_out=(*left_out, *unread),
    )


def _by_place(apart: Sequence[Evidence]) -> dict[tuple[str, str], tuple[Evidence, ...]]:
    places: dict[tuple[str, str], list[Evidence]] = defaultdict(list)
    for one in apart:
        places[one.board, one.target].append(one)
    return {place: tuple(some) for place, some in places.items()}


def _notes(store: Store, apart: Sequence[Evidence]) -> dict[tuple[str, str], tuple[Remark, ...]]:
    remarks: dict[tuple[str, str], list[Remark]] = defaultdict(list)
    for note in notes.notes(store, apart):
        remarks[note.board, note.target].append(Remark(note.kind, note.reason, note.cell))
    return {place: tuple(some) for place, some in remarks.items()}
