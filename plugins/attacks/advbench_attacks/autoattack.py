"""AutoAttack: four attacks, each on what the earlier ones left (Croce and Hein, 2020, arXiv:2003.01690).

`version=standard` is APGD with cross-entropy, APGD with the targeted logits ratio, targeted FAB and Square.
`version=rand` is APGD with cross-entropy and with the logits ratio, for targets that answer by chance: all answers are
means over `draws` draws, and where nothing fooled in every draw the point with the larger mean margin comes back.

The authors' code stops Square in the middle of its schedule of 10,000 queries: squares stay larger for longer than when
they shrink in proportion to the 5,000 that are asked. So it is here; either schedule finds images that the other does
not.

Chosen where the paper is silent: with `stop: end` every part runs on every example; in a cell that aims at a class all
parts aim at it, with one run each; with fewer classes than `targets` there are as many targets as other classes, and
the logits ratio with fewer than four is that of `losses` (the authors' code needs four to run).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Expected, Problem, at_least, one_of
from advbench_attacks.apgd import APGD
from advbench_attacks.fab import FAB
from advbench_attacks.square import Square

SCHEDULE = 10_000
"""Queries over which Square's squares would shrink to the end, of which it asks the first 5,000."""


@dataclass(frozen=True)
class AutoAttack(Attack):
    name = "autoattack"
    reference = "https://arxiv.org/abs/2003.01690"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS
    trial = {"steps": 10, "queries": 50}

    version: str = one_of("standard", "rand")
    steps: int = at_least(1, default=100)  # of APGD and FAB
    targets: int = at_least(1, default=9)  # classes that APGD and FAB aim at
    queries: int = at_least(1, default=5000)  # of Square
    draws: int = at_least(1, default=20)  # of version=rand

    @property
    def beyond_gradients(self) -> bool:  # type: ignore[override]  # Square makes the difference
        return self.version == "standard"

    def parts(self) -> tuple[Attack, ...]:
        """The attacks that are run one after the other on what the earlier ones left."""
        if self.version == "rand":
            return APGD(loss="ce", steps=self.steps), APGD(loss="dlr", steps=self.steps)
        return (
            APGD(loss="ce", steps=self.steps),
            APGD(loss="dlr-targeted", steps=self.steps, targets=self.targets),
            FAB(targets=self.targets, steps=self.steps),
            Square(queries=self.queries, schedule=SCHEDULE),
        )

    def passes(self, classes: int) -> int | None:
        spent = sum(part.passes(classes) or 0 for part in self.parts())
        return self.draws * (spent + 2) if self.version == "rand" else spent  # two to compare what the parts returned

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        if self.version == "rand":
            problem = Expected.of(problem, self.draws)
        for place, part in enumerate(self.parts()):
            if problem.done:
                break
            q = part.perturb(problem)
            p = nearer(problem, p, q) if place and self.version == "rand" else q
        return p


def nearer(problem: Problem, p: Tensor, q: Tensor) -> Tensor:
    """Of two perturbations of every example, the one with the larger margin."""
    before, after = (problem.goal.margin(problem.logits(one)) for one in (p, q))
    return torch.where((after > before).view(-1, *[1] * (p.ndim - 1)), q, p)
