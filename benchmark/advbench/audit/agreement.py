"""How far a target's answers may differ from the stored ones on another machine, and whether they do.

The bounds are relative to the spread of clean suspicions and to proved radii, so that no choice of units makes room for
a forged number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from advbench.rates.uncertainty import paired
from advbench.run.ready import Ready
from advbench.store.rows import CertificateRow, CleanRow, OutcomeRow
from advbench.target.referee import Verdict

SIZE = 1e-4
"""Sizes are recomputed in float64 from the same numbers; only another order of sums may show, relative to the size."""
CONFIDENCE = 5e-3
"""Another machine's convolutions move logits, and what a detector makes of them, a little."""
ROUNDING = 1e-6
"""Relative to the number: what float32 itself may move of one that hardly differs between images."""
UNLIKELY = 1e-4
"""The p-value of a sign test below which answers of a target that nobody can repeat are taken for forged."""
_MIDDLE = torch.tensor([0.1, 0.9], dtype=torch.float64)


@dataclass(frozen=True)
class Agreement:
    """How closely a target's stored answers must agree with the answers that it gives here."""

    spread: float
    """How far the suspicions of clean images lie apart, a few outliers aside: the unit in which they are compared."""

    @classmethod
    def of(cls, ready: Ready) -> Self:
        suspicion = ready.clean.suspicion
        numbers = suspicion.double()[suspicion.isfinite()] if suspicion is not None else torch.empty(0)
        low, high = numbers.quantile(_MIDDLE).tolist() if len(numbers) else (0.0, 0.0)
        return cls(high - low)

    def alike(self, name: str, fresh: float | None, stored: float | None) -> bool:
        if fresh is not None and not math.isfinite(fresh):  # SQLite keeps no NaN: it comes back as NULL
            return stored is None or stored == fresh
        if fresh is None or stored is None:
            return fresh is stored
        allowed = CONFIDENCE * max(1.0, abs(fresh))
        if name == "suspicion":
            allowed = max(CONFIDENCE * self.spread, ROUNDING * abs(fresh))
        return abs(fresh - stored) <= allowed

    def other_answers(self, fresh: list[CleanRow], stored: Mapping[int, CleanRow], exact: bool) -> Iterator[str]:
        """Answers that differ from those stored; where they can't be repeated, only labels and how many are right."""
        if not exact:
            kept = [stored[row.example] for row in fresh]
            yield from lopsided("right", _right(fresh), _right(kept))
        columns = ("label", "predicted", "confidence", "suspicion") if exact else ("label",)
        for row in fresh:
            stored_row = stored[row.example]
            for name in columns:
                here, there = getattr(row, name), getattr(stored_row, name)
                whole = name in ("label", "predicted")
                if here != there if whole else not self.alike(name, here, there):
                    yield f"example {row.example}: {name} {here}, stored {there}"
                    break

    def difference(self, verdict: Verdict, goal_label: int, stored: OutcomeRow, exact: bool) -> str:
        """In words, where a fresh verdict and the stored one part; empty when they agree.

        Of a randomised target whose draws can't be repeated, only what does not depend on them can be held against it.
        """
        if goal_label != stored.goal_label:
            return f"the goal is {goal_label}, stored {stored.goal_label}"
        if verdict.violation != stored.violation:
            return f"violation {verdict.violation!r}, stored {stored.violation!r}"
        if abs(verdict.size - stored.size) > SIZE * max(1.0, verdict.size):
            return f"size {verdict.size:.6g}, stored {stored.size:.6g}"
        if not self.alike("excess", verdict.excess, stored.excess):
            return f"excess {verdict.excess}, stored {stored.excess}"
        if stored.tolerance is not None and not math.isclose(verdict.tolerance, stored.tolerance, rel_tol=SIZE):
            return f"tolerance {verdict.tolerance}, stored {stored.tolerance}"
        if not exact:
            return ""
        if verdict.predicted != stored.predicted:
            return f"predicted {verdict.predicted}, stored {stored.predicted}"
        if int(verdict.reached) != stored.reached:
            return f"reached {verdict.reached}, stored {bool(stored.reached)}"
        if not self.alike("confidence", verdict.confidence, stored.confidence):
            return f"confidence {verdict.confidence:.4f}, stored {stored.confidence:.4f}"
        if not self.alike("suspicion", verdict.suspicion, stored.suspicion):
            return f"suspicion {verdict.suspicion}, stored {stored.suspicion}"
        return ""


def _right(answers: Sequence[CleanRow]) -> list[bool]:
    return [row.predicted == row.label for row in answers]


def lopsided(what: str, fresh: Sequence[bool], stored: Sequence[bool]) -> Iterator[str]:
    """In words, where many more of the same were so the one time than the other: chance has no preference."""
    if paired(fresh, stored) < UNLIKELY:
        counts = f"{sum(fresh)} of {len(fresh)} when asked again, {sum(stored)} as stored"
        yield f"{what}: {counts}, which no chance explains"


def other_proofs(fresh: list[CertificateRow], stored: list[CertificateRow]) -> Iterator[str]:
    """Exactly what is proved here is stored: no other family, no larger radius, and nothing less."""
    proved = {(row.example, row.family): row for row in fresh}
    for row in stored:
        again = proved.pop((row.example, row.family), None)
        if again is None or again.predicted != row.predicted or not _as_far(again.radius, row.radius):
            yield f"example {row.example}: a radius of {row.radius:.4g} in {row.family} is not proved again"
    for example, family in proved:
        yield f"example {example}: what is proved of it in {family} is not stored"


def _as_far(fresh: float, stored: float) -> bool:
    """A radius that is a little larger than what is proved may be that of a whole board; a smaller one claims less."""
    if not math.isfinite(fresh):
        return stored == fresh
    below, above = CONFIDENCE * max(1.0, fresh), SIZE + CONFIDENCE * fresh
    return -below <= stored - fresh <= above
