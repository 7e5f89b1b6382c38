"""Auto-PGD: momentum, and a step that halves when it no longer pays (Croce and Hein, 2020, arXiv:2003.01690).

Chosen where the paper leaves it open: a checkpoint looks at the points up to its own number, before the next step is
made (algorithm 1 makes one step more, which it then gives up). A point is compared with the one it was reached from,
which after a return is the best one. `steps` counts gradients; the last point is asked about without one. With
`loss=dlr-targeted` the class ranked second on the clean image is tried alone, since it fools most, the others
side by side in packs of a fixed size: an example that one of them fools leaves them all. In a cell that aims at a
class, all losses go for that class and `targets` has no meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from advbench import Access, Attack, Geometry, Loss, Probe, Problem, at_least, one_of
from advbench_attacks.common.climb import steepest
from advbench_attacks.common.losses import LOSSES, aimed_dlr

α = 0.75
"""How much of a step is new, the rest being momentum."""
ρ = 0.75
"""The share of steps between two checkpoints that must have raised the loss."""
PACK = 4
"""How many targets share a batch; a constant, since what an example meets must not depend on its company."""


@dataclass(frozen=True)
class APGD(Attack):
    name = "apgd"
    reference = "https://arxiv.org/abs/2003.01690"
    geometry = Geometry.START | Geometry.ASCENT
    needs = Access.GRADIENTS
    trial = {"steps": 10, "targets": 2}

    loss: str = one_of("ce", "dlr", "dlr-targeted")
    steps: int = at_least(1, default=100)
    restarts: int = at_least(1, default=1)
    targets: int = at_least(1, default=9)  # of dlr-targeted: how many classes are aimed at

    def passes(self, classes: int) -> int:
        each = self.restarts * (self.steps + 1)
        return 1 + each * min(self.targets, classes - 1) if self.loss == "dlr-targeted" else each

    def perturb(self, problem: Problem) -> Tensor:
        aimed = self.loss == "dlr-targeted" and not problem.goal.targeted
        loss = aimed_dlr if aimed else LOSSES[self.loss.removesuffix("-targeted")]
        packs = list(self._packs(problem)) if aimed else [None]
        nearest = Nearest(problem)
        for _ in range(self.restarts):
            for aims in packs:
                if problem.done:
                    return nearest.p
                search(problem, loss, self.steps, aims, nearest)
        return nearest.p

    def _packs(self, problem: Problem) -> Iterator[Tensor]:
        """The classes to aim at (N, K), K of them at a time, the likeliest of the clean image first."""
        logits = problem.logits(problem.start())
        others = logits.scatter(1, problem.goal.labels.view(-1, 1), -torch.inf)
        ranked = others.argsort(dim=1, descending=True, stable=True)[:, : min(self.targets, problem.classes - 1)]
        yield ranked[:, :1]
        for first in range(1, ranked.shape[1], PACK):
            yield ranked[:, first : first + PACK]


@dataclass(frozen=True)
class Walk:
    """The state of the search, a row for each candidate: the first target of all examples, then the second, …"""

    of: Tensor
    aim: Tensor | None
    p: Tensor
    before: Tensor
    value: Tensor
    best: Tensor
    best_value: Tensor
    best_logits: Tensor
    uphill: Tensor
    """The unit step at the best point."""
    η: Tensor
    rises: Tensor
    """How many steps have raised the loss since the last checkpoint."""
    checked_value: Tensor
    """The best value at the last checkpoint."""
    halved: Tensor
    """Whether the step was halved there."""

    @classmethod
    def begin(cls, p: Tensor, of: Tensor, aim: Tensor | None, η: float, classes: int) -> Walk:
        lowest = torch.full_like(of, -torch.inf, dtype=p.dtype)
        return cls(
            of=of,
            aim=aim,
            p=p,
            before=p,
            value=-lowest,  # the start is no rise
            best=p,
            best_value=lowest,
            best_logits=p.new_full((len(p), classes), torch.nan),
            uphill=torch.zeros_like(p),
            η=torch.full_like(lowest, η),
            rises=torch.zeros_like(of),
            checked_value=lowest,
            halved=torch.zeros_like(of, dtype=torch.bool),
        )

    def without(self, rows: Tensor) -> Walk:
        gone = torch.zeros_like(self.halved).index_fill_(0, rows, True)
        # sorted, since how many there are is known: to ask where they are would be a wait on a GPU
        return self[gone.byte().argsort(stable=True)[: len(gone) - len(rows)]]

    def __getitem__(self, rows: Tensor) -> Walk:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        kept: dict[str, Any] = {name: value if value is None else value[rows] for name, value in values.items()}
        return Walk(**kept)


class Nearest:
    """For every example the point that came nearest to the goal."""

    def __init__(self, problem: Problem) -> None:
        self.p = problem.start()
        self._margin = torch.full_like(problem.goal.labels, -torch.inf, dtype=self.p.dtype)

    def take(self, problem: Problem, walk: Walk, lanes: int) -> None:
        """Candidates of the same example stand at the same place of every lane, since they leave together."""
        margins = problem.goal[walk.of].margin(walk.best_logits).masked_fill_(walk.best_value == -torch.inf, -torch.inf)
        margin, lane = margins.view(lanes, -1).max(0)
        of = walk.of[: len(margin)]
        best = walk.best.view(lanes, len(margin), *walk.best.shape[1:])[lane, torch.arange(len(of), device=of.device)]
        nearer = margin > self._margin[of]
        self.p[of] = torch.where(wide(nearer, best), best, self.p[of])
        self._margin[of] = torch.where(nearer, margin, self._margin[of])


def search(problem: Problem, loss: Loss, steps: int, aims: Tensor | None, nearest: Nearest) -> None:
    """One climb from a random start for each class in `aims` (N, K), or for the goal itself."""
    lanes = 1 if aims is None else aims.shape[1]
    p = torch.cat([problem.start(random=True)[problem.active] for _ in range(lanes)])
    active = problem.active
    of = active.repeat(lanes)
    aim = None if aims is None else aims[active].T.flatten()
    walk = Walk.begin(p, of, aim, 2 * problem.eps, problem.classes)
    windows = checkpoints(steps)
    for k in range(steps):
        everyone = lanes == 1 and len(walk.of) == len(problem.images)
        whose = None if everyone else walk.of
        probe = problem.probe(walk.p, loss, whose, walk.aim)
        if len(problem.active) < len(active):
            kept = torch.searchsorted(active, problem.active)  # in each lane: who is active was so before
            kept = (kept + len(active) * torch.arange(lanes, device=kept.device).unsqueeze(1)).flatten()
            nearest.take(problem, walk.without(kept), lanes)
            value = None if probe.loss is None else probe.loss[kept]
            walk, probe = walk[kept], Probe(probe.gradient[kept], probe.logits[kept], value)
            active, whose = problem.active, walk.of
            if problem.done:
                return
        uphill = steepest(problem, probe.gradient, whose)
        walk = weighed(problem, walk, loss, probe, uphill)
        if k in windows:
            walk, uphill = checked(walk, uphill, windows[k])
        walk = moved(problem, walk, uphill, whose, first=k == 0)
    last = Probe(walk.uphill, problem.logits(walk.p, walk.of))
    nearest.take(problem, weighed(problem, walk, loss, last, walk.uphill), lanes)


def weighed(problem: Problem, walk: Walk, loss: Loss, probe: Probe, uphill: Tensor) -> Walk:
    """The walk with what is known of its latest points."""
    value = probe.loss
    if value is None:
        value = loss(replace(problem.goal[walk.of], aim=walk.aim), probe.logits)
    better = value > walk.best_value
    return replace(
        walk,
        value=value,
        rises=walk.rises + (value > walk.value),
        best=torch.where(wide(better, walk.p), walk.p, walk.best),
        best_value=torch.where(better, value, walk.best_value),
        best_logits=torch.where(better.unsqueeze(1), probe.logits, walk.best_logits),
        uphill=torch.where(wide(better, walk.p), uphill, walk.uphill),
    )


def checked(walk: Walk, uphill: Tensor, window: int) -> tuple[Walk, Tensor]:
    """At a checkpoint: back to the best point with half the step, where the loss has risen too seldom or not at all."""
    seldom = walk.rises < ρ * window
    stuck = ~walk.halved & (walk.best_value == walk.checked_value)
    halved = seldom | stuck
    walk = replace(
        walk,
        p=torch.where(wide(halved, walk.p), walk.best, walk.p),
        value=torch.where(halved, walk.best_value, walk.value),
        η=torch.where(halved, walk.η / 2, walk.η),
        rises=torch.zeros_like(walk.rises),
        checked_value=walk.best_value,
        halved=halved,
    )
    return walk, torch.where(wide(halved, uphill), walk.uphill, uphill)


def moved(problem: Problem, walk: Walk, uphill: Tensor, whose: Tensor | None, *, first: bool) -> Walk:
    """One step further: towards the projected gradient step, with momentum from the second one on."""
    z = problem.project(torch.addcmul(walk.p, wide(walk.η, walk.p), uphill), whose)
    if not first:
        z = problem.project(walk.p.lerp(z, α).add_(walk.p - walk.before, alpha=1 - α), whose)
    return replace(walk, p=z, before=walk.p)


def checkpoints(steps: int) -> dict[int, int]:
    """The steps at which the step's length is looked at, with how many have passed since the last of them.

    After 22 % of all steps, then at intervals that shrink by 3 % of all steps each time, down to 6 %.
    """
    shares, interval = [22], 22  # in percent: sums of hundredths would round
    while shares[-1] < 100:
        interval = max(interval - 3, 6)
        shares.append(shares[-1] + interval)
    found = sorted({k for k in (math.ceil(share * steps / 100) for share in shares) if k < steps})
    return {k: k - before for before, k in zip([0, *found], found, strict=False)}


def wide(values: Tensor, like: Tensor) -> Tensor:
    """A number a row, shaped so that it meets the rows of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
