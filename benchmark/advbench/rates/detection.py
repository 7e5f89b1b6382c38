"""How a detector would do at every threshold, from the suspicions that are kept of each example."""

from __future__ import annotations

from dataclasses import dataclass

from advbench.rates.uncertainty import DetectorPoint, detector_curve
from advbench.store.database import Store

_CLEAN = """
SELECT c.suspicion, 0 AS fooled FROM boards b
CROSS JOIN example_sets e ON e.fingerprint = b.examples
CROSS JOIN targets t ON t.key = ?
CROSS JOIN clean c ON c.target = t.id AND c.example = e.example
WHERE b.key = ?
"""

_ATTACKED = "SELECT suspicion, fooled FROM judged_outcomes WHERE board = ? AND cell = ? AND target = ?"


@dataclass(frozen=True)
class _Suspicion:
    suspicion: float | None
    fooled: bool | None


def curve(store: Store, board: str, cell: str, target: str) -> tuple[DetectorPoint, ...]:
    """The detection curve of one cell on one target, by keys; empty where the target doesn't detect or was not judged.

    Only a cell with `stop: end`, of an attack that does not look at the threshold, means the same at all of them: an
    example that stopped at its first undetected success would have gone on under a stricter detector.
    """
    clean = [row.suspicion for row in store.read(_Suspicion, _CLEAN, target, board)]
    attacked = store.read(_Suspicion, _ATTACKED, board, cell, target)
    if not attacked or all(suspicion is None for suspicion in clean):
        return ()
    return detector_curve(clean, [row.suspicion for row in attacked if row.fooled], len(attacked))
