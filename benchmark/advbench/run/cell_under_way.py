"""A cell whose tasks are being performed: what is given out next, and what has come back, taken in its order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from advbench.engines.crew import Ended, Task
from advbench.plugins.foreign import Failure, concerns_everybody, spare_others
from advbench.run.prepared_cell import PreparedCell


@dataclass(frozen=True)
class Step:
    """A task of a cell, and what becomes of its value."""

    task: Task
    take: Callable[[Any], None]


Stages = Iterator[Iterator[Step]]
"""The steps of a cell: those of one stage at the same time, the next stage when all of them have been taken."""


class CellUnderWay:
    """Gives steps out, and takes their values in the order in which they were given; the first failure ends it."""

    def __init__(self, cell: PreparedCell, stages: Stages) -> None:
        self.cell = cell
        self.failure = Failure()
        self.over = False
        self.began = time.monotonic()
        self.seconds = 0.0
        self._stages = stages
        self._steps: Iterator[Step] | None = None
        self._given = self._taken = 0
        self._open: dict[int, Step] = {}
        self._back: dict[int, Ended] = {}
        self._ahead: tuple[int, Task] | None = None

    def step(self) -> tuple[int, Task] | None:
        """The next task and its place; None while others have to come back first, and at the end."""
        piece, self._ahead = self._ahead or self._next_piece(), None
        return piece

    def _next_piece(self) -> tuple[int, Task] | None:
        while not self.over:
            step = self._guarded(self._following)
            if step is not None:
                self._open[self._given] = step
                self._given += 1
                return self._given - 1, step.task
            if self.over or self._taken < self._given:
                return None
            self._steps = self._guarded(lambda: next(self._stages, None))
            if self._steps is None:
                self._end()
        return None

    def back(self, place: int, ended: Ended) -> None:
        """A task has ended; what can be taken now is."""
        if self.over:
            return
        self._back[place] = ended
        while not self.over and self._taken in self._back:
            ended, step = self._back.pop(self._taken), self._open.pop(self._taken)
            self._taken += 1
            if ended.error is None:
                self._guarded(partial(step.take, ended.value))
            elif concerns_everybody(ended.error):
                raise ended.error
            else:
                self.failure.blame(ended.error)
                self._end()
        if self._taken == self._given and self._ahead is None:  # whether it is over is known before anybody asks
            self._ahead = self._next_piece()

    def _following(self) -> Step | None:
        return None if self._steps is None else next(self._steps, None)

    def _guarded(self, function: Callable[[], Any]) -> Any:
        """What the function returns; where it fails by the fault of a plugin, the cell has failed."""
        value = None
        with spare_others(self.cell.plan.label) as failure:
            value = function()
        if failure.happened:
            self.failure = failure
            self._end()
        return value

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self.seconds = time.monotonic() - self.began
        self._stages, self._steps = iter(()), None
        self._ahead = None
        self._open.clear()
        self._back.clear()
