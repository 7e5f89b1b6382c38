"""Boards, and the targets on them in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench.protocol import PROTOCOL, suffix
from advbench.rates.evidence import Evidence
from advbench_leaderboard.facts.cells import Cell, Incoming, Verdicts
from advbench_leaderboard.facts.entrants import Dataset, Target
from advbench_leaderboard.facts.rate import Rate
from advbench_leaderboard.facts.skips import Skip


@dataclass(frozen=True)
class Remark:
    """A note on a target: stored by the harness, or computed from the facts (`advbench.rates.notes`)."""

    kind: str
    reason: str
    cell: str = ""
    """The cell that it speaks of, where it is one that does not count on the board."""


@dataclass(frozen=True)
class Entry:
    """A target on a board. `rank` is None when `unranked` says why."""

    target: Target
    rank: int | None
    tied: bool
    unranked: str | None
    robust: Rate | None
    clean: Rate
    verdicts: Mapping[str, Verdicts]
    """By entrant."""
    incoming: Incoming | None
    undetected: Verdicts | None
    """Of the attack that gets past the detector most often."""
    false_positives: Rate | None
    certified: Rate | None
    forwards: float
    """Per example, over all cells that count here."""
    backwards: float
    seconds: float
    notes: tuple[Remark, ...]
    elsewhere: tuple[Evidence, ...]
    """What is known of it in this ball and does not count here; the strongest first."""
    verified: bool | None
    """Whether all its cells here were refereed again and found the same; None where nobody has said."""
    arrived: int
    """How many of its cells came by merging."""
    crafted: int
    """How many of these were crafted again on arrival, and came out the same."""
    deciding: Verdicts | None
    """Of the attacks that count, the one that leaves least; None where the robust accuracy is."""

    @property
    def worst(self) -> Verdicts | None:
        """The attack that leaves least."""
        return min(self.verdicts.values(), key=least, default=None)

    @property
    def beside(self) -> Evidence | None:
        """The strongest on other examples."""
        return next((one for one in self.elsewhere if one.elsewhere), None)


@dataclass(frozen=True)
class Superseded:
    """A target below a board's ranking, since the same network stands in it as another target."""

    target: Target
    standing: Target
    differs: str
    """What it was made with and the other was not."""
    asked: str
    """When its newest cell here ended."""
    clean: Rate
    robust: Rate | None
    unranked: str | None


@dataclass(frozen=True)
class Board:
    """A data set and a threat with its radius."""

    key: str
    name: str
    dataset: Dataset
    ball: str
    """The threat with its radius, as in the board's name."""
    threat: str
    family: str
    shipper: str
    """Who ships the ball and is believed about sizes; empty for the core's own."""
    params: Mapping[str, Any]
    eps: float
    examples: str
    count: int
    drawn: int | None
    """The seed by which its examples were drawn; None for the first ones."""
    protocol: int
    required: tuple[str, ...]
    aim: str
    """What the required attacks want every image to be taken for, in words; empty where they leave it open."""
    entrants: tuple[str, ...]
    """Those that have come out on any target; the one that leaves least, on average, comes first."""
    entries: tuple[Entry, ...]
    """Ranked ones first, the best on top; unranked ones by name."""
    right: Mapping[str, int]
    """By target key a bit an example, in the order of their ids: set where it is right, clean and under all required
    attacks. Only of targets with a robust accuracy."""
    superseded: tuple[Superseded, ...]
    """The last asked first."""
    cores: Mapping[str, int]
    """By digest of the core that made them, empty where no run says it: how many of the cells that count here."""
    failed: tuple[Cell, ...]
    """Cells whose latest attempt failed or has not ended."""
    skipped: tuple[Skip, ...]
    updated: str | None
    """When the newest of its cells ended."""

    @property
    def title(self) -> str:
        """The name, with the aim and the earlier protocol that it leaves out."""
        return f"{self.name}{self._beside}"

    @property
    def aimed_ball(self) -> str:
        return f"{self.ball}{self._beside}"

    @property
    def _beside(self) -> str:
        aim = f", aimed at {self.aim}" if self.aim else ""
        return f"{aim}{suffix(self.protocol)}"

    @property
    def earlier(self) -> bool:
        """Whether it was judged by rules that no longer hold."""
        return self.protocol < PROTOCOL

    @property
    def ranked(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.rank is not None)

    @property
    def mixed(self) -> bool:
        """Whether its cells were made with several states of the core."""
        return len(self.cores) > 1

    @property
    def detects(self) -> bool:
        return any(entry.false_positives for entry in self.entries)


def least(verdicts: Verdicts) -> tuple[float, str]:
    """What to sort by so that the attack that leaves least comes first."""
    return verdicts.accuracy.value, verdicts.entrant
