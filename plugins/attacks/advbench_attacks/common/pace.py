"""How fast each example goes through a schedule of falling step sizes, and when it leaves.

What a search finds goes on shrinking for as long as its steps do, so an example is not done when it gains little: it
has only seen enough of steps of this size. From then on it goes through the rest of its schedule faster, and leaves at
the schedule's end. That takes two thirds of the passes, for norms within 0.1 % on networks that fall easily and 0.7 %
on those that were trained to resist; a schedule that is shorter for everybody loses more for as much
(docs/attacks/minimal-norm.md).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advbench import Problem, may_wait

WINDOW = 5
"""Steps over which a gain is looked at, and after which those that are through leave."""
FAST = 3
"""Places of the schedule that an example takes a step once it has settled."""


class Pace:
    """Where in a schedule each row stands, and the size of its smallest success."""

    def __init__(self, steps: int, settled: float, like: Tensor) -> None:
        self._steps, self._settled = steps, settled
        # whole places, of which step sizes are looked up: a cosine may round otherwise in another company
        self._place = torch.zeros(len(like), dtype=torch.int64, device=like.device)
        self._stride = torch.ones_like(self._place)
        self._through = torch.zeros_like(self._place, dtype=torch.bool)
        self.best = like.new_full((len(like), 1), torch.inf)
        self._before = self.best
        self._looks_in_windows = may_wait(like.device)

    def falling(self, first: float, last: float) -> Tensor:
        """Step sizes by place, from first to last along half a cosine; `of_rows` takes those of the rows."""
        return self.best.new_tensor([annealed(first, last, place, self._steps) for place in range(self._steps)])

    def of_rows(self, sizes: Tensor) -> Tensor:
        """The present step size (R, 1) of every row."""
        return sizes[self._place].unsqueeze(1)

    def saw(self, won: Tensor, size: Tensor) -> None:
        """Which rows (R, 1) are successes at this step, and how large."""
        self.best = torch.where(won, torch.minimum(self.best, size), self.best)

    def left(self, step: int, problem: Problem) -> Tensor | None:
        """Go on to the next step; the rows that are still needed, or None where that is all of them.

        Where the host must not wait, who is through stands still (`moved`) until the problem may look.
        """
        last = self._steps - 1
        reached = self._place + self._stride
        self._place = reached.clamp_max(last)
        if self._settled == 0 or step == last:  # all that are left are asked once more, where their last step led
            return None
        if step % WINDOW == WINDOW - 1:
            # a row without a success has not settled: infinity is not below infinity
            slow = ((self.best > self._before * (1 - self._settled)) & self.best.isfinite()).squeeze(1)
            self._stride = torch.where(slow, FAST, 1)
            self._before = self.best
            self._through = reached > last
        elif self._looks_in_windows:
            return None
        rows = problem.staying(~self._through)
        if rows is None or len(rows) == len(reached):
            return None
        self._place, self._stride, self._through, self.best, self._before = (
            state[rows] for state in (self._place, self._stride, self._through, self.best, self._before)
        )
        return rows

    def moved(self, before: Tensor, after: Tensor, rows: Tensor | None) -> Tensor:
        """Where the rows go on that are left: to `after`, but for those who are through and could not leave yet."""
        if not self._looks_in_windows and self._settled:
            kept = before if rows is None else before[rows]
            return torch.where(self._through.unsqueeze(1), kept, after if rows is None else after[rows])
        return after if rows is None else after[rows]


def annealed(first: float, last: float, step: int, steps: int) -> float:
    """The step sizes from first to last along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
