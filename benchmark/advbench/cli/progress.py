"""The live display of a run: cells done, the current cell, examples a second, time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

from advbench.errors import printable
from advbench.run.report import Reporter
from advbench.terminal.text import duration, say

_QUIET = 15.0
"""Seconds between lines where nobody watches a terminal."""


class Display(Reporter):
    """A bar on a terminal; now and then a line anywhere else."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}", style="dim"),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._labels: dict[str, None] = {}
        self._trainings: dict[str, tuple[float, str]] = {}
        """How far each is that is under way, and what is happening in it."""
        self._cells = self._cells_done = 0
        self._examples = self._examples_done = self._crafted = 0
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def preparing(self, target: str, done: int, total: int) -> None:
        if self._task is None:
            self._task = self._progress.add_task("preparing targets", total=total, detail="")
        self._progress.update(self._task, completed=done, total=total, detail=printable(target))

    def training(self, target: str, fraction: float, text: str) -> None:
        self._trainings[printable(target)] = fraction, printable(text)
        if len(self._trainings) == 1:
            detail = f"training {printable(target)}: {fraction:.0%}, {printable(text)}"
        else:
            detail = "training " + " · ".join(f"{name}: {done:.0%}" for name, (done, _) in self._trainings.items())
        if self._task is not None:
            self._progress.update(self._task, detail=detail)
        self._now_and_then(detail)

    def trained(self, target: str) -> None:
        self._trainings.pop(printable(target), None)

    def planned(self, cells: int, examples: int) -> None:
        self._cells, self._examples = cells, examples
        self._cells_done = self._examples_done = self._crafted = 0  # a study plans one suite after the other
        self._began = time.monotonic()
        if self._task is not None:
            self._progress.update(self._task, description="cells", completed=0, total=cells, detail="")

    def cell(self, label: str) -> None:
        self._labels[label] = None
        self._show()

    def shard(self, examples: int, *, cached: bool) -> None:
        self._examples_done += examples
        self._crafted += 0 if cached else examples
        self._show()

    def ended(self, label: str, status: str, reason: str = "") -> None:
        self._cells_done += 1
        self._labels.pop(label, None)
        if status == "failed":
            say(self._console, f"failed: {label}: {reason}", "red")
        self._show()

    def say(self, text: str) -> None:
        say(self._console, text)

    def _show(self) -> None:
        seconds = time.monotonic() - self._began
        pace = self._crafted / seconds if seconds > 0 else 0.0
        left = self._examples - self._examples_done
        detail = self._under_way()
        if pace:
            detail += f" · {pace:.0f} examples/s · {duration(left / pace)} left"
        if self._task is not None:
            self._progress.update(self._task, completed=min(self._cells_done, self._cells), detail=detail)
        self._now_and_then(f"cell {min(self._cells_done + 1, self._cells)} of {self._cells}: {detail}")

    def _under_way(self) -> str:
        """The cell that began first, and how many others are being crafted beside it."""
        first = printable(next(iter(self._labels), ""))
        others = len(self._labels) - 1
        return f"{first} and {others} more" if others > 0 else first

    def _now_and_then(self, line: str) -> None:
        if not self._live and time.monotonic() - self._spoke > _QUIET:
            self._spoke = time.monotonic()
            say(self._console, line)
