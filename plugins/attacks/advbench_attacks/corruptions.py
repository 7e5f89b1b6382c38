"""Corruptions as Qin et al. (2020, arXiv:1907.02957, table 2) judge them: every kind at the ball's severity, unasked.

The paper has one error rate for each kind, which is a cell with that `kind`; all kinds in one cell are the worst case
over them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Corruption, Problem, at_least, one_of


@dataclass(frozen=True)
class Corruptions(Attack):
    name = "corruptions"
    reference = "https://arxiv.org/abs/1907.02957"
    threats = frozenset({"corruption"})
    needs = Access.LABELS
    measures = True
    beyond_gradients = True

    kind: str = one_of("all", *Corruption.kinds)
    tries: int = at_least(1, default=1)  # renderings of each kind, each with chance of its own

    def passes(self, classes: int) -> int:
        return self.tries * len(self._numbers)

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        for number in self._numbers * self.tries:
            p = problem.project(self._rendering(problem, number))
            problem.labels(p)  # of those that fool, the problem keeps the one of the highest loss
        return p

    @property
    def _numbers(self) -> list[int]:
        return [number for number, kind in enumerate(Corruption.kinds) if self.kind in ("all", kind)]

    def _rendering(self, problem: Problem, number: int) -> Tensor:
        seed = problem.draws.integers(Corruption.seeds).to(problem.images.dtype)
        return torch.stack((torch.full_like(seed, number), torch.full_like(seed, problem.eps), seed), 1)
