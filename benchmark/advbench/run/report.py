"""What a run tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass, field


class Reporter:
    """Hears everything and says nothing; the command line has one that draws."""

    def preparing(self, target: str, done: int, total: int) -> None:
        """A target is being made ready."""

    def training(self, target: str, fraction: float, text: str) -> None:
        """A target is being trained: how far it is, from 0 to 1, and what is happening."""

    def trained(self, target: str) -> None:
        """A training of which was told is over, well or not."""

    def planned(self, cells: int, examples: int) -> None:
        """Everything is ready: so many cells over so many examples in all."""

    def cell(self, label: str) -> None:
        """A cell begins."""

    def shard(self, examples: int, *, cached: bool) -> None:
        """So many examples of the current cell are in the database."""

    def ended(self, label: str, status: str, reason: str = "") -> None:
        """A cell is `done`, `kept` from an earlier run, or `failed`."""

    def analysing(self, label: str, fraction: float, text: str) -> None:
        """An analysis of a study is under way: how far it is, from 0 to 1, and what is happening."""

    def say(self, text: str) -> None:
        """A message that deserves a line of its own."""


@dataclass
class Summary:
    """How a run ended."""

    run: str
    done: int = 0
    kept: int = 0
    skipped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0
    boards: tuple[str, ...] = ()
    """Keys of the boards that were asked for."""
    cells: list[str] = field(default_factory=list)
    """Keys of the cells that are whole, crafted now or before."""
    targets: dict[str, str] = field(default_factory=dict)
    """Labels, by key, of the targets that could be made ready."""
