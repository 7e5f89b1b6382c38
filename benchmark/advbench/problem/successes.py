"""What a problem remembers: the best success of each example, and what makes one success better than another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor

from advbench.access import Access
from advbench.goal import Goal
from advbench.problem.asked import Seen
from advbench.problem.batches import BatchSize, run_in_batches
from advbench.problem.precision import Precision, asking
from advbench.threats import Threat
from advbench.threats.membership import measure

MARGIN = 1e-4
"""A success counts when its logits lead by more than this, so that it survives the referee's fresh pass.

Logits here have the size of other networks' logits: where a target's are far from it, `Target.scale` sees to it.
"""

UNDETECTED = 4e6
"""What it is worth for a success not to be detected: more than any size or loss."""

Stop = Literal["first", "end"]


class Answers(Protocol):
    """The part of a target that a `Problem` uses: its answers and how they are to be read."""

    @property
    def classes(self) -> int: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def scale(self) -> float: ...
    @property
    def draws(self) -> int: ...
    def abstains(self, logits: Tensor) -> Tensor | None: ...
    def logits(self, images: Tensor) -> Tensor: ...
    def suspicion(self, images: Tensor) -> Tensor: ...


class Successes(ABC):
    """The half of a `Problem` that judges what its passes have seen."""

    goal: Goal
    threat: Threat
    _x: Tensor
    _goal: Goal
    _target: Answers
    _access: Access
    _stop: Stop
    _minimizes: bool
    _batch: BatchSize
    _precision: Precision
    """Of what the attack asks; successes are asked about in float32."""
    _best: Tensor
    _score: Tensor
    _logits: Tensor
    _won: Tensor
    _active: Tensor
    _changed: bool
    _remembers: bool = True
    """Whether successes are kept."""
    _shared: bool = False
    """Whether the attack has what `_logits` is."""
    _asked: int = 0
    margin: float = MARGIN
    """By how much a success has to lead; an attack that is asked for surer ones raises it before its first pass."""

    @property
    def found(self) -> Tensor:
        """Which examples have a success that is remembered."""
        return self._score > -torch.inf

    @property
    def asked(self) -> int:
        """How often the target was asked, be it about one image or many."""
        return self._asked

    @property
    def best(self) -> Tensor:
        """The best success of each example so far; where there is none, the perturbation that changes nothing."""
        return self._best.clone()

    @property
    def _minds_detector(self) -> bool:
        """Whether the attack minds a detector, and there is one."""
        return Access.SUSPICION in self._access and self._target.threshold is not None

    @property
    def _unsure(self) -> bool:
        """Whether what looks like a success has yet to be confirmed in float32; draws are asked again in it anyway."""
        return self._precision != "float32" and self._remembers and self._target.draws == 1

    def _ask(self, images: Tensor, *, exactly: bool = False) -> Tensor:
        """Logits of a size at which margins and losses mean something; see `Target.scale`."""
        self._asked += 1
        if exactly or self._precision == "float32":
            logits = self._target.logits(images)
        else:
            with asking(self._precision, images.device):
                logits = self._target.logits(images).to(images.dtype)
        return logits if self._target.scale == 1 else logits * self._target.scale

    def _suspect(self, images: Tensor, *, exactly: bool = False) -> Tensor:
        self._asked += 1
        if exactly or self._precision == "float32":
            return self._target.suspicion(images)
        with asking(self._precision, images.device):
            return self._target.suspicion(images).to(images.dtype)

    def _remember(self, seen: Seen) -> None:
        """Keep the successes among these rows that are better than what their examples have."""
        hits = self._reaches(seen.goal, seen.logits, seen.margin).nonzero().squeeze(1)
        if len(hits) == 0:
            return
        who, q, images, logits = seen.who[hits], seen.q[hits], seen.images[hits], seen.logits[hits]
        if self._target.draws > 1:
            kept = self._mostly_reach(who, images).nonzero().squeeze(1)
            if len(kept) == 0:
                return
            who, q, images, logits = who[kept], q[kept], images[kept], logits[kept]
        if self._minimizes and not self._minds_detector:  # what is no smaller needs no closer look
            smaller = (-self.threat.size(self._x[who], q) > self._score[who]).nonzero().squeeze(1)
            if len(smaller) == 0:
                return
            who, q, images, logits = who[smaller], q[smaller], images[smaller], logits[smaller]
        member = measure(self.threat, self._x[who], q, images)
        score = self._worth(who, logits, images, member.size).to(self._score.dtype)
        better = member.inside & (score > self._score[who])
        if seen.repeated:  # several candidates of one example: the best, the first of equals
            order = torch.arange(len(who), device=who.device)
            highest = torch.full_like(self._score, -torch.inf)
            highest.scatter_reduce_(0, who, torch.where(better, score, -torch.inf), "amax")
            better &= score == highest[who]
            first = torch.full_like(self._score, len(who), dtype=torch.int64)
            first.scatter_reduce_(0, who, torch.where(better, order, len(who)), "amin")
            better &= order == first[who]
        kept = better.nonzero().squeeze(1)
        who = who[kept]
        self._best[who] = q[kept].to(self._best.dtype)
        self._score[who] = score[kept]
        if not self._unsure:
            self._let_go(who)

    def _let_go(self, who: Tensor) -> None:
        """These examples have a new success; where the first is enough, they are done."""
        if self._stop == "first" and not self._minimizes:
            if self._minds_detector:  # an example that is still detected goes on
                who = who[self._score[who] >= UNDETECTED / 2]
            self._won[who] = True
            self._active[who] = False
            self._changed = True

    def _worth(self, who: Tensor, logits: Tensor, images: Tensor, size: Tensor) -> Tensor:
        """What makes one success better than another: smaller, or with a higher loss.

        Before a detector: undetected first. Where all go on to the end, the less suspect one: it is the better one
        whatever the threshold, so that undetected rates may be read off at any false-positive rate.
        """
        worth = (-size if self._minimizes else self._goal[who].cross_entropy(logits)).to(self._score.dtype)
        if self._stop == "first" and not (self._minimizes or self._minds_detector):  # infinite logits have no loss
            worth = worth.nan_to_num(torch.finfo(worth.dtype).min, torch.inf, -torch.inf)
        if self._minds_detector:
            threshold = self._target.threshold
            assert threshold is not None
            suspicion = run_in_batches(partial(self._suspect, exactly=True), images, self._batch).to(worth.dtype)
            self._spend(who)
            if self._stop == "end" and not self._minimizes:
                return -suspicion.nan_to_num(nan=1e300)
            undetected = suspicion <= threshold
            worth = worth.clamp(-UNDETECTED / 4, UNDETECTED / 4) + undetected.to(worth.dtype) * UNDETECTED
        return worth

    def _reaches(self, goal: Goal, logits: Tensor, margin: Tensor | None = None) -> Tensor:
        """Which rows reach the goal by more than rounding; an abstention counts as having left the true label."""
        reached = (goal.margin(logits) if margin is None else margin) > self.margin
        refused = self._target.abstains(logits if self._target.scale == 1 else logits / self._target.scale)
        if refused is None:
            return reached
        return reached & ~refused if goal.targeted else reached | refused

    def _mostly_reach(self, who: Tensor, images: Tensor) -> Tensor:
        """Who reaches the goal in most of as many draws as the referee makes: others owe it to luck."""
        goal, won = self._goal[who], torch.zeros_like(who)
        for _ in range(self._target.draws):
            won += self._reaches(goal, run_in_batches(partial(self._ask, exactly=True), images, self._batch))
            self._spend(who)
        return 2 * won > self._target.draws

    @abstractmethod
    def _spend(self, examples: Tensor, *, backwards: int = 0) -> None:
        """Count a pass for each of these examples against its budget."""
