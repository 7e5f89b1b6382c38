"""One target: what it is, every attack on it, how far it holds, what its detector sees, which classes it mixes up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from advbench.rates.rates import DetectorPoint, undetected_at
from advbench_leaderboard.facts.answers import Answers
from advbench_leaderboard.facts.boards import Board, Entry, Superseded
from advbench_leaderboard.facts.cells import Cell
from advbench_leaderboard.facts.curves import Curve
from advbench_leaderboard.facts.entrants import Target
from advbench_leaderboard.figures.curves import radii, radius_curves
from advbench_leaderboard.figures.detector import FALSE_POSITIVES, Bin, bins, detector_curves, histogram
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
class Detector:
    """Clean against fooled, on one board, under the attack that gets past most often."""

    board: Board
    cell: Cell
    n_clean: int
    n_fooled: int
    bins: list[Bin]
    histogram: Markup
    curve: Markup
    points: list[tuple[float, DetectorPoint]]
    """By the false positives that are allowed."""


@dataclass(frozen=True)
class Matrix:
    """Source to target class."""

    board: Board
    cells: tuple[Cell, ...]
    answers: Answers
    pairs: list[tuple[int, int]]
    """The largest, where there are too many classes for a matrix."""


def pages(site: Site) -> Iterator[Page]:
    for target in site.targets.values():
        yield Page(site.target_file(target.key), "target.html.j2", partial(_context, site, target))


def _context(site: Site, target: Target) -> dict[str, object]:
    entries = site.entries_of(target.key)
    elsewhere = [(board, entry, one) for board, entry in entries for one in entry.elsewhere]
    elsewhere.sort(key=lambda row: not row[2].contradicts)
    told = {one.cell for _, _, one in elsewhere}
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
            if cell.source == target.key and cell.key in site.unplaced and cell.key not in told
        ],
        "has": _columns([entry for _, entry in entries]),
        "lines": _lines(site, entries),
        "detectors": [d for board, entry in entries if (d := detector(site, board, entry))],
        "matrices": [m for board, entry in entries for m in matrices(site, board, entry)],
        "outgoing": site.transfer_out.get(target.key, []),
        "said": [site.words_of("model", target.model), *_defenses(site, target)],
    }


def _superseded(site: Site, target: Target) -> list[tuple[Superseded, list[Board]]]:
    """What stands in its place, and on which boards."""
    found: dict[str, tuple[Superseded, list[Board]]] = {}
    for board, one in site.superseded(target.key):
        found.setdefault(one.standing.key, (one, []))[1].append(board)
    return list(found.values())


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


def _defenses(site: Site, target: Target) -> list[object]:
    return [site.words_of("defense", one) for one in target.defenses.split("+") if one != "none"]


def _lines(site: Site, entries: list[tuple[Board, Entry]]) -> list[Line]:
    found: dict[str, Line] = {}
    for board, entry in entries:
        for curve in site.curves(board):
            if curve.target == entry.target.key and board.family not in found:
                figure = radius_curves((curve,), board.eps, board.ball)
                found[board.family] = Line(board, curve, figure, radii((curve,), board.eps))
    return list(found.values())


def detector(site: Site, board: Board, entry: Entry) -> Detector | None:
    target = entry.target
    if entry.undetected is None or target.threshold is None:
        return None
    answers = site.answers(board, [entry.undetected.cell], target.key)
    curve, found = answers.curve, bins(answers.clean, answers.fooled, target.threshold)
    if not curve or not found:
        return None
    cell = site.cells[entry.undetected.cell]
    return Detector(
        board=board,
        cell=cell,
        n_clean=len(answers.clean),
        n_fooled=len(answers.fooled),
        bins=found,
        histogram=histogram(f"Suspicion of clean and fooled images, {board.title}", found, target.threshold),
        curve=detector_curves(f"Undetected against false alarms, {board.title}", curve, target.threshold),
        points=[(allowed, undetected_at(curve, allowed)) for allowed in FALSE_POSITIVES],
    )


def matrices(site: Site, board: Board, entry: Entry) -> Iterator[Matrix]:
    """Of the attack that leaves least, and of the targeted one that reaches its goals most often, if there is one."""
    groups: dict[tuple[str, bool], list[str]] = {}
    reached: dict[tuple[str, bool], float] = {}
    for verdicts in entry.verdicts.values():
        cell = site.cells[verdicts.cell]
        group = (cell.attack, cell.goal != "untargeted")
        groups.setdefault(group, []).append(verdicts.cell)
        reached[group] = reached.get(group, 0.0) + verdicts.fooled.value
    for targeted in (True, False):
        known = [group for group in groups if group[1] == targeted]
        if not known:
            continue
        best = min(known, key=lambda group: (-reached[group] / len(groups[group]), group))
        answers = site.answers(board, groups[best], entry.target.key)
        if not answers.turned:
            continue
        many = len(answers.classes) > MOST_CLASSES
        pairs = sorted(answers.turned, key=lambda pair: (-answers.turned[pair], pair))[:PAIRS] if many else []
        yield Matrix(board, tuple(site.cells[key] for key in groups[best]), answers, pairs)
