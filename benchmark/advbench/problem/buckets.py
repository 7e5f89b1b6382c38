"""Bookkeeping that never waits for the device: masks in fixed shapes, and who is done leaves every few passes.

On a GPU with a small network a pass costs what it takes to launch its kernels, and every question that needs a value on
the host (who has succeeded?) empties the queue. So nothing is asked for `EVERY` passes: all rows stay, successes are
kept by `where`, and at the end of such a bucket the host asks once who is left. Verdicts are those of the other path;
under a budget, sizes may be a little larger, since who would have left is asked on.
What differs: who has succeeded is asked on until the bucket ends, and `forwards` counts that; rows named by `of` are
all asked, since an attack leaves out those of examples that are done by itself, and finding them would be a wait.

A success counts when it lies in the ball. Where it comes from somewhere else than `Problem.project`, that is measured
at once; what the ball has projected is believed until the bucket's end, and measured there. What a ball of the core
has clamped lies between its bounds whatever it was: there the end of a bucket looks for NaN alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.problem.asked import Seen, version
from advbench.problem.confirming import Confirming
from advbench.threats.membership import inside

EVERY = 8
"""Passes between two questions who is left."""


@dataclass(frozen=True)
class Projected:
    """What the ball has projected last, and around whose images; inside, as long as nobody writes into it."""

    p: Tensor
    around: Tensor | None
    clamped: bool
    """Whether by the core's clamp, between bounds that nothing can leave."""
    _state: tuple[float, ...]

    @classmethod
    def of(cls, p: Tensor, around: Tensor | None, *, clamped: bool) -> Projected:
        return cls(p, around, clamped, _state(p, around))

    def holds(self, p: Tensor, around: Tensor | None) -> bool:
        """Whether it is asked about as it came out; a write through `.data` into the same memory is not seen."""
        return p is self.p and around is self.around and _state(p, around) == self._state


def _state(p: Tensor, around: Tensor | None) -> tuple[float, ...]:
    return version(p), p.data_ptr(), -1 if around is None else version(around)


class Buckets(Confirming):
    """The half of a `Problem` that keeps successes where the host must not wait."""

    _never: Tensor
    """The value of no success."""
    _projected: Projected | None = None
    _unmeasured: bool = False
    """Whether a success was kept on the word of the projection."""
    _clamped: bool = False
    """Whether one was kept that the core has clamped."""
    _turns: int = 0
    _looks: int = 0

    @property
    def found(self) -> Tensor:
        self._settle()
        return super().found if self._waits or not self._first else super().found | self._won

    @property
    def best(self) -> Tensor:
        self._settle()
        best = super().best
        if self._waits:
            return best
        return torch.where(_wide(self.found, best), best, self.threat.identity(self._x))

    @property
    def _first(self) -> bool:
        """Whether an example is done with its first success."""
        return self._stop == "first" and not self._minimizes

    def staying(self, wanted: Tensor) -> Tensor | None:
        """The rows that are wanted; None while the host must not wait, for all of them until it may."""
        if not self._waits:
            self._looks += 1
            if self._looks % EVERY:
                return None
        return wanted.nonzero().squeeze(1)

    def look_at_every_pass(self) -> None:
        """From here on the host waits: somebody asks again about successes, which have to be found for it."""
        if not self._waits:
            found = self.found
            self._waits = True
            if self._limit is not None:
                self._active &= self.forwards < self._limit
            if self._first:
                self._active &= ~self._won
                self._score = torch.where(found, self._score.clamp_min(torch.finfo(self._score.dtype).min), -torch.inf)
            self._regroup(self._active.nonzero().squeeze(1))

    def _keep(self, seen: Seen) -> None:
        """Keep the successes among these rows that are better than what their examples have, without looking."""
        hit = self._reaches(seen.goal, seen.logits, seen.margin)
        if seen.paid is not None:
            hit = hit & seen.paid
        x = self._x[seen.who] if seen.place is None else self._x[seen.place]
        size = self.threat.size(x, seen.q) if self._minimizes or not seen.projected else None
        if not seen.projected:
            assert size is not None
            hit = hit.logical_and_(inside(self.threat, x, seen.q, seen.images, size))
        elif self._projected is not None and self._projected.clamped:
            self._clamped = True
        else:
            self._unmeasured = True
        if seen.repeated:
            self._keep_one_of_several(seen, hit, size)
        elif self._first:
            self._keep_the_first(seen, hit)
        else:
            self._keep_the_better(seen, torch.where(hit, self._value(seen, size), self._never))

    def _value(self, seen: Seen, size: Tensor | None) -> Tensor:
        """What makes one success better than another."""
        if self._minimizes:
            assert size is not None
            return -size
        return seen.goal.cross_entropy(seen.logits) if seen.loss is None else seen.loss

    def _keep_the_first(self, seen: Seen, hit: Tensor) -> None:
        who = seen.who if seen.place is None else seen.place
        best, won = self._best[who], self._won[who]
        fresh = _wide(torch.gt(hit, won), seen.q)  # of truths: hit and not yet won
        if seen.place is None:
            self._best[who] = torch.where(fresh, seen.q.to(best.dtype), best)
            self._won[who] = won | hit
        else:
            torch.where(fresh, seen.q.to(best.dtype), best, out=best)
            won.logical_or_(hit)

    def _keep_the_better(self, seen: Seen, value: Tensor) -> None:
        who = seen.who if seen.place is None else seen.place
        best, score = self._best[who], self._score[who]
        better = _wide(value > score, seen.q)
        if seen.place is None:
            self._best[who] = torch.where(better, seen.q.to(best.dtype), best)
            self._score[who] = torch.fmax(score, value)  # a loss that is no number is never better
        else:
            torch.where(better, seen.q.to(best.dtype), best, out=best)
            torch.fmax(score, value, out=score)

    def _keep_one_of_several(self, seen: Seen, hit: Tensor, size: Tensor | None) -> None:
        """Of several candidates of one example the best, the first of equals."""
        value = torch.where(hit, self._value(seen, size), self._never).to(self._score.dtype)
        # as on the other path: with the first success a loss that is no number counts, but least, and else never
        value = value.nan_to_num(torch.finfo(value.dtype).min if self._first else -torch.inf, torch.inf, -torch.inf)
        highest = torch.full_like(self._score, -torch.inf).scatter_reduce_(0, seen.who, value, "amax")
        order = torch.arange(len(value), device=value.device)
        equal = hit & (value == highest[seen.who])
        row = torch.full_like(self._score, len(value), dtype=torch.int64)
        row.scatter_reduce_(0, seen.who, torch.where(equal, order, len(value)), "amin")
        better = row < len(value)
        better &= ~self._won if self._first else highest > self._score
        chosen = seen.q[row.clamp_max_(len(value) - 1)]
        torch.where(_wide(better, chosen), chosen.to(self._best.dtype), self._best, out=self._best)
        if self._first:
            self._won |= better
        else:
            self._score = torch.where(better, highest, self._score)

    def _settle(self) -> None:
        """Measure what was kept on the projection's word, confirm what lower precision has seen; nothing waits."""
        if self._waits:
            return
        lawful = None
        if self._unmeasured or self._clamped:
            lawful = self._lawful()
            self._unmeasured = self._clamped = False
            if self._first:
                self._won &= lawful
            else:
                self._score.masked_fill_(~lawful, -torch.inf)
        self._confirm(lawful)

    def _lawful(self) -> Tensor:
        """Whether what is kept of each example lies inside."""
        if not self._unmeasured:
            return torch.eq(self._best, self._best).flatten(1).all(1)
        images = self.threat.apply(self._x, self._best)
        return inside(self.threat, self._x, self._best, images, self.threat.size(self._x, self._best))

    def _end_of_pass(self) -> None:
        """At the end of a bucket ask who is left: the one wait."""
        self._turns += 1
        if self._minimizes and self._sure is not None:
            # at the boundary bf16 errs most: of a whole bucket hardly anything would be left
            self._settle()
        if self._turns % EVERY or not (self._first or self._budget is not None):
            return
        self._settle()
        self._active &= ~self._won
        if self._limit is not None:
            self._active &= self.forwards < self._limit
        left = self._active.nonzero().squeeze(1)
        if len(left) < len(self._index):
            self._regroup(left)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))
