"""Evolved patterns that a network is sure of (Nguyen et al., 2015, arXiv:1412.1897; Billovits et al., 2016, 4.2).

A compositional pattern-producing network paints a pixel from its place: that is why the images are regular. The paper
evolves its structure by NEAT, and a map of elites for all classes at once. Here the nodes are given, two of every
function, evolution decides which are connected and how strongly, and every example has a population of its own.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Problem, at_least, between
from advbench_attacks.rubbish import log_confidence

FUNCTIONS = (torch.sin, lambda v: (-v.square()).exp(), lambda v: 2 * _sigmoid(2 * v) - 1, torch.abs) * 2
INPUTS = 4
CONNECTED = 0.7
"""Share of the connections that there are at the beginning."""
REACH = 3.0
"""Spread of a fresh weight: what makes a few stripes or rings."""
REWIRED, NUDGED = 0.05, 0.25
"""Shares of the connections that a child breaks or makes, and that it changes."""
TOGETHER = 128
"""Images that are painted at once: what all nodes say of them stays in a cache, and large ones in memory."""


@dataclass(frozen=True)
class CPPN(Attack):
    name = "cppn"
    reference = "https://arxiv.org/abs/1412.1897"
    threats = frozenset({"box"})
    needs = Access.LOGITS
    beyond_gradients = True
    trial = {"generations": 8, "population": 6}

    generations: int = at_least(0, default=200)
    population: int = at_least(1, default=10)
    confidence: float = between(0, 1, default=0.99)

    def passes(self, classes: int) -> int:
        return self.population * (self.generations + 1)

    def perturb(self, problem: Problem) -> Tensor:
        everyone = problem.active
        genes = self._fresh(problem)
        fitness = genes.new_full(genes.shape[:2], -math.inf)
        fitness[everyone] = self._fitness(problem, genes[everyone], everyone)
        for _ in range(self.generations):
            evolving = problem.active
            evolving = evolving[~(fitness[evolving].amax(1).exp() >= self.confidence)]
            if len(evolving) == 0:
                break
            children = self._children(problem, genes)[evolving]
            both = torch.cat((genes[evolving], children), 1)
            marks = torch.cat((fitness[evolving], self._fitness(problem, children, evolving)), 1)
            # a child as good as its parent takes its place: drifting finds what standing still does not
            order = marks.flip(1).argsort(dim=1, descending=True, stable=True)[:, : self.population]
            order = 2 * self.population - 1 - order
            fitness[evolving] = marks.gather(1, order)
            genes[evolving] = both.gather(1, order.unsqueeze(2).expand(-1, -1, genes.shape[2]))
        best = genes[torch.arange(len(genes), device=genes.device), fitness.argmax(1)]
        return problem.project(_painted(best, problem.images))

    def _fitness(self, problem: Problem, genes: Tensor, examples: Tensor) -> Tensor:
        of = examples.repeat_interleave(self.population)
        painted = [_painted(some, problem.images) for some in torch.split(genes.flatten(0, 1), TOGETHER)]
        images = problem.project(torch.cat(painted), of=of)
        marks = log_confidence(problem.goal[of], problem.logits(images, of=of))
        return marks.nan_to_num(nan=-math.inf).view(len(examples), self.population).to(genes.dtype)

    def _fresh(self, problem: Problem) -> Tensor:
        """Random weights (N, population, connections), 0 where two nodes are not connected."""
        shape, draws = (self.population, _connections(problem.images)), problem.draws
        return draws.normal(*shape) * REACH * (draws.uniform(*shape) < CONNECTED)

    def _children(self, problem: Problem, genes: Tensor) -> Tensor:
        """One of every parent: weights nudged, some by little, some by much, and a few connections made or broken."""
        shape, draws = genes.shape[1:], problem.draws
        # by `exp`: a power rounds otherwise in a vector than beside it, and would depend on the company
        strength = REACH * draws.uniform(shape[0], 1, low=-1.5 * math.log(10), high=0.0).exp()
        nudged = genes + strength * draws.normal(*shape) * (draws.uniform(*shape) < NUDGED) * (genes != 0)
        other = torch.where(genes == 0, REACH * draws.normal(*shape), 0)
        return torch.where(draws.uniform(*shape) < REWIRED, other, nudged)


def _connections(images: Tensor) -> int:
    hidden = sum(INPUTS + node for node in range(len(FUNCTIONS)))
    return hidden + images.shape[1] * (INPUTS + len(FUNCTIONS))


def _painted(genes: Tensor, images: Tensor) -> Tensor:
    """An image (K, C, H, W) of every network; node after node, so that no sum depends on how many there are."""
    channels, height, width = images.shape[1:]
    column = torch.linspace(-1, 1, width, device=genes.device).expand(height, width)
    row = torch.linspace(-1, 1, height, device=genes.device).unsqueeze(1).expand(height, width)
    values = [column, row, (column.square() + row.square()).sqrt(), torch.ones_like(row)]
    place = 0

    def summed() -> Tensor:
        nonlocal place
        total = genes.new_zeros(len(genes), height, width)
        for value in values:
            total = total + genes[:, place, None, None] * value
            place += 1
        return total

    for function in FUNCTIONS:
        values.append(function(summed()))
    painted = torch.stack([summed() for _ in range(channels)], 1)
    return _sigmoid(painted).to(images.dtype)


def _sigmoid(v: Tensor) -> Tensor:
    """From functions that round alike wherever a number stands in memory."""
    return 1 / (1 + (-v).exp())
