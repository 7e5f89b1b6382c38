"""One target: what it is, every attack on it, how far it holds, what its detector sees, which classes it mixes up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from advbench_leaderboard.facts.boards import Board, Entry, Superseded
from advbench_leaderboard.facts.cells import Cell
from advbench_leaderboard.facts.classes import Turns
from advbench_leaderboard.facts.curves import Curve
from advbench_leaderboard.facts.detectors import Allowance
from advbench_leaderboard.facts.entrants import Description, Target
from advbench_leaderboard.figures.curves import radii, radius_curves
from advbench_leaderboard.figures.detector import Bin, bins, detector_curves, histogram
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

FOLDER = "targets"
MOST_CLASSES = 20
"""A matrix with more would be no picture; its largest pairs are listed instead."""
PAIRS = 40


@dataclass(frozen=True)
class Line:
    """Accuracy against radius in one family of balls."""

    board: Board
    curve: Curve
    figure: Markup
    radii: list[float]


@dataclass(frozen=True)
class Detection:
    """Clean against fooled, on one board, under the attack that gets past most often."""

    board: Board
    cell: Cell
    n_clean: int
    n_fooled: int
    bins: list[Bin]
    histogram: Markup
    curve: Markup
    allowances: tuple[Allowance, ...]


@dataclass(frozen=True)
class Matrix:
    """Source to target class."""

    board: Board
    turns: Turns
    pairs: list[tuple[int, int]]
    """The largest, where there are too many classes for a matrix."""


def pages(site: Site) -> Iterator[Page]:
    for target in site.targets.values():
        yield Page(site.target_file(target.key), "target.html.j2", partial(_context, site, target))


def _context(site: Site, target: Target) -> dict[str, object]:
    entries = site.entries_of(target.key)
    elsewhere = [(board, entry, one) for board, entry in entries for one in entry.elsewhere]
    elsewhere.sort(key=lambda row: not row[2].contradicts)
    listed = {one.cell for _, _, one in elsewhere}
    return {
        "target": target,
        "entries": entries,
        "superseded": _superseded(site, target),
        "earlier_cells": [
            cell for cell in site.cells.values() if cell.source == target.key and site.is_of_earlier_target(cell)
        ],
        "notes": list(dict.fromkeys(note for _, entry in entries for note in entry.notes)),
        "attacks": [(board, site.cells[v.cell], v) for board, entry in entries for v in entry.verdicts.values()],
        "failed": [
            cell for cell in site.cells.values() if cell.source == target.key and cell.latest and cell.status != "done"
        ],
        "elsewhere": elsewhere,
        "unplaced": [
            (cell, site.unplaced[cell.key])
            for cell in site.cells.values()
            if cell.source == target.key and cell.key in site.unplaced and cell.key not in listed
        ],
        "has": _columns([entry for _, entry in entries]),
        "lines": _lines(site, entries),
        "detectors": [d for board, entry in entries if (d := _detection(site, board, entry))],
        "matrices": [_matrix(board, turns) for board, entry in entries for turns in site.turns(board, entry)],
        "outgoing": site.transfer_out.get(target.key, []),
        "descriptions": [site.description_of("model", target.model), *_defenses(site, target)],
    }


def _superseded(site: Site, target: Target) -> list[tuple[Superseded, list[Board]]]:
    """The targets that stand in its place, each with the boards on which it does."""
    standing: dict[str, tuple[Superseded, list[Board]]] = {}
    for board, one in site.superseded(target.key):
        standing.setdefault(one.standing.key, (one, []))[1].append(board)
    return list(standing.values())


def _columns(entries: list[Entry]) -> dict[str, bool]:
    """What any of its boards knows: a column of anything else would be empty."""
    return {
        "ranked": any(entry.robust for entry in entries),
        "worst": any(entry.worst for entry in entries),
        "incoming": any(entry.incoming for entry in entries),
        "undetected": any(entry.undetected for entry in entries),
        "alarms": any(entry.false_positives for entry in entries),
        "certified": any(entry.certified for entry in entries),
        "size": any(v.mean_size is not None for entry in entries for v in entry.verdicts.values()),
    }


def _defenses(site: Site, target: Target) -> list[Description]:
    return [site.description_of("defense", one) for one in target.defenses.split("+") if one != "none"]


def _lines(site: Site, entries: list[tuple[Board, Entry]]) -> list[Line]:
    lines: dict[str, Line] = {}
    for board, entry in entries:
        for curve in site.curves(board):
            if curve.target == entry.target.key and board.family not in lines:
                figure = radius_curves((curve,), board.eps, board.ball)
                lines[board.family] = Line(board, curve, figure, radii((curve,), board.eps))
    return list(lines.values())


def _detection(site: Site, board: Board, entry: Entry) -> Detection | None:
    detector, threshold = site.detector(board, entry), entry.target.threshold
    if detector is None:
        return None
    shares = bins(detector.clean, detector.fooled, threshold)
    return Detection(
        board=board,
        cell=detector.cell,
        n_clean=len(detector.clean),
        n_fooled=len(detector.fooled),
        bins=shares,
        histogram=histogram(f"Suspicion of clean and fooled images, {board.title}", shares, threshold),
        curve=detector_curves(f"Undetected against false alarms, {board.title}", detector.curve, threshold),
        allowances=detector.allowances,
    )


def _matrix(board: Board, turns: Turns) -> Matrix:
    if len(turns.classes) <= MOST_CLASSES:
        return Matrix(board, turns, [])
    return Matrix(board, turns, sorted(turns.turned, key=lambda pair: (-turns.turned[pair], pair))[:PAIRS])
