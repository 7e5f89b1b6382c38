"""Studies as they stand: how many published numbers are reproduced, and which claims hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from advbench.store.database import Store
from advbench.store.study_rows import ClaimRow, FindingRow, Performed, PublishedRow, findings, performed

Fate = Literal["within", "outside", "beside", "absent"]
"""Of a published number: inside our interval or not, beside a number that has none, or without one of ours."""


@dataclass(frozen=True)
class Compared:
    """A published number with ours."""

    published: PublishedRow
    ours: FindingRow | None

    @property
    def fate(self) -> Fate:
        if self.ours is None or self.ours.value is None:
            return "absent"
        value, low, high = self.published.value, self.ours.low, self.ours.high
        if value is None or low is None or high is None:
            return "beside"
        half = self.rounding
        return "within" if low - half <= value <= high + half else "outside"

    @property
    def rounding(self) -> float:
        """Half a unit of the last figure that was published: as far as the paper's own number may be off."""
        return 0.0 if self.published.value is None else 0.5 * 10.0**-self.published.decimals

    @property
    def difference(self) -> tuple[float, float | None, float | None] | None:
        """Ours less the published one, with its interval."""
        if self.ours is None or self.ours.value is None or self.published.value is None:
            return None
        value, (low, high) = self.published.value, (self.ours.low, self.ours.high)
        return self.ours.value - value, None if low is None else low - value, None if high is None else high - value


@dataclass(frozen=True)
class Standing:
    """A study at a level: its numbers and its claims, counted."""

    name: str
    level: str
    at: str
    numbers: Sequence[Compared]
    claims: Sequence[ClaimRow]

    def count(self, fate: Fate) -> int:
        return sum(one.fate == fate for one in self.numbers)

    @property
    def verdicts(self) -> Mapping[str, int]:
        return Counter(one.verdict for one in self.claims)

    @property
    def words(self) -> str:
        ours = len(self.numbers) - self.count("absent")
        claims = ", ".join(f"{self.verdicts.get(word, 0)} {word}" for word in ("holds", "fails", "undecided"))
        return (
            f"{self.name} ({self.level}): {ours} of {len(self.numbers)} published numbers have ours beside them, "
            f"{self.count('within')} lie within our interval; claims: {claims}."
        )


def compared(store: Store, study: Performed) -> list[Compared]:
    """Every published number of a study with ours."""
    keys = {one.label: one.analysis for one in study.analyses if one.analysis}
    read: dict[str, dict[str, FindingRow]] = {label: findings(store, key) for label, key in keys.items()}
    return [
        Compared(row, None if row.absent or not row.label else read.get(row.label, {}).get(row.finding or ""))
        for row in study.published
    ]


def standing(store: Store) -> list[Standing]:
    """Every study at every level, as it was performed last."""
    return [Standing(one.row.name, one.row.level, one.at, compared(store, one), one.claims) for one in performed(store)]
