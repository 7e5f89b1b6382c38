"""What a detector makes of one attack: how suspect the clean images are, and those that fooled."""

from __future__ import annotations

from dataclasses import dataclass

from advbench.rates.uncertainty import DetectorPoint, detector_curve, undetected_at
from advbench.store import Store
from advbench_leaderboard.facts.boards import Board
from advbench_leaderboard.facts.cells import Cell
from advbench_leaderboard.facts.entrants import Target

ALLOWED = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of false alarms for which it is said what gets past the detector."""


@dataclass(frozen=True)
class Allowance:
    """What gets past the detector where so many false alarms are allowed."""

    allowed: float
    point: DetectorPoint


@dataclass(frozen=True)
class Detector:
    """A target's detector under one attack, as one board judges it."""

    cell: Cell
    clean: tuple[float | None, ...]
    """Suspicions of the clean images."""
    fooled: tuple[float | None, ...]
    """Suspicions of the attacked images that fooled."""
    curve: tuple[DetectorPoint, ...]
    """Undetected against false alarms."""

    @property
    def allowances(self) -> tuple[Allowance, ...]:
        return tuple(Allowance(allowed, undetected_at(self.curve, allowed)) for allowed in ALLOWED)


@dataclass(frozen=True)
class _Suspicions:
    clean: float | None
    attacked: float | None
    fooled: bool


def detector(store: Store, board: Board, cell: Cell, target: Target) -> Detector | None:
    """A target's detector under the attack of a cell; None where no image has a suspicion."""
    images = store.read(
        _Suspicions,
        """
        SELECT c.suspicion AS clean, o.suspicion AS attacked, o.fooled
        FROM judged_outcomes o
        CROSS JOIN clean c ON c.target = o.target_id AND c.example = o.example
        WHERE o.board = ? AND o.cell_id = ? AND o.target_id = ? ORDER BY o.example
        """,
        board.key,
        cell.number,
        target.number,
    )
    clean = tuple(image.clean for image in images)
    if all(suspicion is None for suspicion in clean):
        return None
    fooled = tuple(image.attacked for image in images if image.fooled)
    return Detector(cell, clean, fooled, detector_curve(clean, fooled, len(images)))
