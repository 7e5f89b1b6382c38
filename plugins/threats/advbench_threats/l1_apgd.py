"""l1-APGD: climbs whose steps become sparser, from larger balls inwards (Croce and Hein, 2021, arXiv:2103.01208).

The core's `apgd` serves the ball, too, with one sparsity for all. Here every image has its own, taken from its best
perturbation so far, and a climb begins in larger balls: the first step that gets past a threshold in a network may be
longer than the radius. Chosen otherwise than in the paper, after measuring (docs/balls.md): the first ball is `widest`
times as large, not three times, and halves from stage to stage; a stage's first sparsity is that of the point where it
begins. Where the paper is silent: pixels that are at the box's edge already are not chosen for a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from advbench import Access, Attack, Goal, Loss, Problem, Threat, at_least, one_of

OUTSIDE = 0.6
"""The share of all steps that is made in larger balls."""
FIRST = 0.2
"""At most this share of an image's numbers is moved by a stage's first steps."""
FEWER = 1.5
"""Steps move as many numbers as the best perturbation has, divided by this."""
SPARSER = 0.95
"""Below this share of what it was, a sparsity is a new one, and steps are long again."""
CHECK = 0.04
"""The share of all steps between two checkpoints."""
SHORTER, SHORTEST = 1.5, 10.0
"""What the length of a step is divided by where the sparsity stays, and the most that it is divided by in all."""


@dataclass(frozen=True)
class L1APGD(Attack):
    """Auto-PGD for l1: steps that become sparser, from larger balls inwards."""

    name: ClassVar[str] = "l1-apgd"
    reference: ClassVar[str] = "https://arxiv.org/abs/2103.01208"
    threats: ClassVar[frozenset[str]] = frozenset({"l1"})
    needs: ClassVar[Access] = Access.GRADIENTS
    trial: ClassVar = {"steps": 20, "restarts": 1}

    loss: str = one_of("ce", "targeted")
    steps: int = at_least(1, default=100)
    restarts: int = at_least(1, default=5)
    widest: float = at_least(1, default=16.0)  # the radius of the first ball, in units of eps; 1: no larger balls
    targets: int = at_least(1, default=5)  # of targeted: how many of the likeliest other classes are aimed at

    def passes(self, classes: int) -> int:
        aims = min(self.targets, classes - 1) if self.loss == "targeted" else 1
        return self.restarts * aims * (self.steps + len(list(self.stages()))) + (self.loss == "targeted")

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        aims = list(self._aims(problem))
        for _ in range(self.restarts):
            for aim in aims:
                if problem.done:
                    return p
                p = self._climbed(problem, aim)
        return p

    def _aims(self, problem: Problem) -> Iterator[Tensor | None]:
        """The classes to go for, one after the other, the likeliest of the clean image first; None for the goal."""
        if self.loss == "ce" or problem.goal.targeted:
            yield None
            return
        logits = problem.logits(problem.start())
        others = logits.scatter(1, problem.goal.labels.view(-1, 1), -torch.inf)
        yield from others.argsort(dim=1, descending=True, stable=True)[:, : min(self.targets, problem.classes - 1)].T

    def _climbed(self, problem: Problem, aim: Tensor | None) -> Tensor:
        """Through ever smaller balls, from a few pixels that are drawn."""
        x, ball = problem.images, problem.threat
        # projected, normal numbers leave few pixels that change by much; all of the ball is mostly many by next to none
        p = ball.at(self.widest * ball.eps).project(x, problem.draws.normal(*x.shape[1:], dtype=x.dtype))
        for times, steps in self.stages():
            p = climb(problem, ball.at(times * ball.eps), p, aim, steps, every=max(1, round(CHECK * self.steps)))
        return p

    def stages(self) -> Iterator[tuple[float, int]]:
        """Radii in units of eps, each with its steps."""
        larger = [self.widest]
        while larger[-1] > 1:
            larger.append(larger[-1] / 2)
        each = int(OUTSIDE * self.steps / max(1, len(larger) - 1))
        yield from ((times, each) for times in larger[:-1] if each)
        yield 1.0, self.steps - each * (len(larger) - 1)


@dataclass(frozen=True)
class Walk:
    """The state of a climb, a row for each example that wants another pass."""

    of: Tensor
    x: Tensor
    p: Tensor
    best: Tensor
    best_value: Tensor
    best_gradient: Tensor
    length: Tensor
    """Of a step."""
    moved: Tensor
    """By a step: how many numbers."""

    def __getitem__(self, rows: Tensor) -> Walk:
        kept: dict[str, Any] = {field.name: getattr(self, field.name)[rows] for field in fields(self)}
        return Walk(**kept)


def climb(problem: Problem, ball: Threat, start: Tensor, aim: Tensor | None, steps: int, every: int) -> Tensor:
    """The best points of a climb from `start`, all in this ball."""
    walk, ends = begun(problem, ball, start), start.clone()
    loss: Loss = Goal.cross_entropy if aim is None else lead
    for k in range(steps):
        if problem.done:
            return ends
        if len(problem.active) < len(walk.of):
            walk = walk[torch.searchsorted(walk.of, problem.active)]
        aims = None if aim is None else aim[walk.of]
        probe = problem.probe(walk.p, loss, walk.of, aims)
        goal = replace(problem.goal[walk.of], aim=aims)
        walk = weighed(walk, loss(goal, probe.logits), probe.gradient)
        gradient = probe.gradient
        if k and k % every == 0:
            walk, gradient = checked(walk, gradient, _longest(ball, walk.x))
        step = sparse(walk.x + walk.p, gradient, walk.moved)
        walk = replace(walk, p=ball.project(walk.x, walk.p + _wide(walk.length) * step))
    goal = replace(problem.goal[walk.of], aim=None if aim is None else aim[walk.of])
    walk = weighed(walk, loss(goal, problem.logits(walk.p, walk.of)), walk.best_gradient)
    ends[walk.of] = walk.best
    return ends


def begun(problem: Problem, ball: Threat, start: Tensor) -> Walk:
    of = problem.active
    x = problem.images[of]
    p = ball.project(x, start[of])
    lowest = torch.full_like(of, -torch.inf, dtype=p.dtype)
    return Walk(
        of=of,
        x=x,
        p=p,
        best=p,
        best_value=lowest,
        best_gradient=torch.zeros_like(p),
        length=torch.full_like(lowest, _longest(ball, x)),
        moved=_fewer(p).clamp_max(FIRST * x.shape[1:].numel()),
    )


def weighed(walk: Walk, value: Tensor, gradient: Tensor) -> Walk:
    """The walk with what is known of its latest points."""
    better = value > walk.best_value
    return replace(
        walk,
        best=torch.where(_wide(better), walk.p, walk.best),
        best_value=torch.where(better, value, walk.best_value),
        best_gradient=torch.where(_wide(better), gradient, walk.best_gradient),
    )


def checked(walk: Walk, gradient: Tensor, longest: float) -> tuple[Walk, Tensor]:
    """At a checkpoint: with a new sparsity on from the best point in long steps, with the same one in shorter steps."""
    moved = _fewer(walk.best)
    new = moved < SPARSER * walk.moved
    shorter = (walk.length / SHORTER).clamp_min(longest / SHORTEST)
    walk = replace(
        walk,
        p=torch.where(_wide(new), walk.best, walk.p),
        length=torch.where(new, longest, shorter),
        moved=moved,
    )
    return walk, torch.where(_wide(new), walk.best_gradient, gradient)


def sparse(image: Tensor, gradient: Tensor, moved: Tensor) -> Tensor:
    """A unit of change, divided evenly among the steepest numbers that have room, as many as each row says."""
    finite = gradient.flatten(1).nan_to_num(0, 0, 0)
    room = torch.where(finite > 0, 1 - image.flatten(1), image.flatten(1))
    useful = finite.abs() * (room > 0)
    last = useful.sort(dim=1, descending=True).values.gather(1, moved.long().view(-1, 1) - 1)
    moves = finite.sign() * ((useful >= last) & (useful > 0))
    return (moves / moves.abs().sum(1, keepdim=True).clamp_min(1)).view_as(gradient)


def lead(goal: Goal, logits: Tensor) -> Tensor:
    """Of the class that is aimed at, over the label that is to be left."""
    assert goal.aim is not None
    return (logits.gather(1, goal.aim.view(-1, 1)) - logits.gather(1, goal.labels.view(-1, 1))).squeeze(1)


def _fewer(p: Tensor) -> Tensor:
    return ((p != 0).flatten(1).sum(1).to(p.dtype) / FEWER).clamp_min(1)


def _longest(ball: Threat, x: Tensor) -> float:
    return min(ball.eps, float(x.shape[1:].numel()))


def _wide(values: Tensor) -> Tensor:
    """A number a row, shaped so that it meets rows of pixels."""
    return values.view(-1, 1, 1, 1)
