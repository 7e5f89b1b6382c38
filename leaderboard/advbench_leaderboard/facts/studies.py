"""Studies as they stand: what their papers published beside what was found here, and what became of the claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from advbench.errors import MalformedError, one_line
from advbench.rates.studies import Compared, Fate, compared
from advbench.store import Store
from advbench.store.faults import READING_FAILED
from advbench.store.study_rows import ClaimRow, Performed, performed
from advbench_leaderboard.text import in_order

LEVELS = ("smoke", "hour", "paper")
"""From the smallest to the paper's own sizes."""
FATES: tuple[Fate, ...] = ("within", "outside", "beside", "absent")
OUTCOMES = ("holds", "fails", "undecided")


@dataclass(frozen=True)
class Study:
    """A study at one level, as it was performed there last."""

    performed: Performed
    numbers: tuple[Compared, ...]

    @property
    def name(self) -> str:
        return self.performed.row.name

    @property
    def level(self) -> str:
        return self.performed.row.level

    @property
    def at(self) -> str:
        return self.performed.at

    @property
    def title(self) -> str:
        """The paper's title; the study's name where it has none."""
        return str(self.performed.row.paper.get("title") or self.name)

    @property
    def paper(self) -> Mapping[str, Any]:
        return self.performed.row.paper

    @property
    def page(self) -> Mapping[str, Any]:
        return self.performed.row.page

    @property
    def claims(self) -> Sequence[ClaimRow]:
        return self.performed.claims

    @cached_property
    def keys(self) -> dict[str, str]:
        """Of the analyses that were performed, by label."""
        return {one.label: one.analysis for one in self.performed.analyses if one.analysis}

    @cached_property
    def reasons(self) -> dict[str, str]:
        """Why the others were not, by label."""
        return {one.label: one.reason or "no reason is stored" for one in self.performed.analyses if not one.analysis}

    @cached_property
    def by_place(self) -> dict[str, list[Compared]]:
        """Numbers by table and figure."""
        places: dict[str, list[Compared]] = {}
        for one in sorted(self.numbers, key=lambda one: (in_order(one.published.place), one.published.position)):
            places.setdefault(one.published.place, []).append(one)
        return places

    def count(self, fate: Fate) -> int:
        return self._fates[fate]

    @cached_property
    def _fates(self) -> dict[Fate, int]:
        fates = [one.fate for one in self.numbers]
        return {fate: fates.count(fate) for fate in FATES}

    def judged(self, outcome: str) -> int:
        """How many claims end so, by the attacks of the paper."""
        return sum(one.verdict == outcome for one in self.claims)

    def strongest(self, outcome: str) -> int:
        """How many claims end so under the strongest attack; claims about no attack are not among them."""
        return sum(one.strongest == outcome for one in self.claims)


def studies(store: Store) -> tuple[tuple[Study, ...], list[str]]:
    """Every study at every level, by name, the highest level first; and what could not be read.

    A database may say anything of studies: that costs their pages alone.
    """
    try:
        found = tuple(Study(one, tuple(compared(store, one))) for one in performed(store))
    except (*READING_FAILED, MalformedError) as error:
        return (), [f"studies: none of them can be read ({one_line(error)})"]
    return tuple(sorted(found, key=lambda one: (one.name, -_rank(one.level), one.level))), []


def highest(found: Sequence[Study]) -> Iterator[tuple[Study, tuple[Study, ...]]]:
    """Each study at its highest level, with the other levels that it was performed at."""
    by_name: dict[str, list[Study]] = {}
    for one in found:
        by_name.setdefault(one.name, []).append(one)
    for levels in by_name.values():
        yield levels[0], tuple(levels[1:])


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else -1
