"""Which rows of a question go to the target and in which batches: the same ones come again, pass after pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from advbench.goal import Goal
from advbench.problem.batches import BatchSize, Retry


def version(values: Tensor) -> float:
    """How often a tensor was written into, to see whether it still is what it was; a tensor of inference mode does not
    say, and is never the same again."""
    return math.nan if values.is_inference() else values._version


@dataclass
class Batch:
    """Rows of one pass, filled up to its size by repeating the last of them, and all that is the same next time."""

    first: int
    real: int
    rows: Tensor
    """Places in the question."""
    who: Tensor
    """Whose they are."""
    x: Tensor
    straight: bool
    """Whether the rows are neighbours in the question and none is repeated, so that nothing has to be gathered."""
    everyone: bool
    """Whether they are examples in their own order, without a gap."""
    _own: Goal
    _lent: Goal = field(init=False)
    _version: float = field(init=False)

    def __post_init__(self) -> None:
        self._lend()

    @property
    def goal(self) -> Goal:
        """Its goal, to be lent to a loss: one that writes into it changes no verdict."""
        if version(self._lent.labels) != self._version:
            self._lend()
        return self._lent

    @property
    def examples(self) -> Tensor:
        return self.who[: self.real]

    def of(self, values: Tensor) -> Tensor:
        """The batch's rows of a tensor that has one for every row of the question."""
        if not self.straight:
            return values[self.rows]
        return values if self.real == len(values) else values[self.first : self.first + self.real]

    def judged(self) -> Goal:
        """The goal of the real rows."""
        return self.goal if self.real == len(self.who) else self.goal.first(self.real)

    def _lend(self) -> None:
        with torch.inference_mode(False):  # it is kept, and may be asked about outside of that mode
            self._lent = Goal(self._own.labels.clone(), self._own.targeted)
        self._version = version(self._lent.labels)


@dataclass
class Asked:
    """The rows of one question that are put to the target, and whose they are."""

    of: Tensor | None
    version: float
    rows: Tensor
    examples: Tensor
    whole: bool
    """Whether these are all rows of the question."""
    everyone: bool
    """Whether the rows are all examples in their own order."""
    unique: bool
    """Whether it is known that no two rows are of the same example."""
    batches: dict[tuple[int, int], Batch] = field(default_factory=dict)

    def in_batches(self, batch: BatchSize, x: Tensor, goal: Goal) -> Iterator[tuple[Batch, Retry]]:
        """Every batch; its pass is run inside `with retry:`, and comes again in halves when memory does not suffice."""
        first = 0
        while first < len(self.rows):
            size = batch.padded(len(self.rows) - first)
            if (first, size) not in self.batches:
                with torch.inference_mode(False):  # as in `Batch._lend`
                    self.batches[first, size] = self._batch(first, size, x, goal)
            part = self.batches[first, size]
            retry = Retry(batch)
            yield part, retry
            if not retry.needed:
                first += part.real

    def _batch(self, first: int, size: int, x: Tensor, goal: Goal) -> Batch:
        rows, who = (places[first : first + size] for places in (self.rows, self.examples))
        real = len(rows)
        if real < size:
            rows, who = (torch.cat([places, places[-1:].expand(size - real)]) for places in (rows, who))
        all_of_them = self.everyone and real == size == len(x)
        return Batch(
            first=first,
            real=real,
            rows=rows,
            who=who,
            x=x if all_of_them else x[who],
            straight=self.whole and real == size,
            everyone=self.everyone,
            _own=goal if all_of_them else goal[who],
        )


@dataclass(frozen=True)
class Seen:
    """What one pass has seen of some rows."""

    who: Tensor
    q: Tensor
    images: Tensor
    logits: Tensor
    goal: Goal
    repeated: bool
    """Whether there may be several candidates of one example."""
    margin: Tensor | None = None
    """How far the goal is reached, where the loss has said so already."""
    loss: Tensor | None = None
    """The cross-entropy, where it was the loss."""
    place: slice | None = None
    """Where the rows stand among all examples, when these are in their own order."""
    projected: bool = False
    """Whether they come as the ball's own projection has left them."""
    paid: Tensor | None = None
    """Which of them are within the budget, where some may not be."""

    def __getitem__(self, rows: Tensor) -> Seen:
        who, q, images, logits = (part[rows] for part in (self.who, self.q, self.images, self.logits))
        return Seen(who, q, images, logits, self.goal[rows], self.repeated)
