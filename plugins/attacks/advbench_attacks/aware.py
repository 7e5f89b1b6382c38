"""Any gradient attack, led away from suspicion as well (selective descent: Bryniarski et al., 2021, arXiv:2106.15023).

The attack that is named sees a view of the problem. Where the goal is not reached its gradients are the loss's own.
Where it is, they are (1 - w) of the loss's gradient less w of the suspicion's, each of length one, so that what counts
is their direction. Logits are the target's own. A pass for the suspicion is asked for those rows alone, and is counted
like any other; what is remembered, who is done and when to stop remain the problem's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from advbench import Access, Attack, Geometry, Goal, Loss, PluginError, Probe, Problem, between


@dataclass(frozen=True)
class Aware(Attack):
    name = "aware"
    reference = "https://arxiv.org/abs/2106.15023"
    geometry = Geometry.ASCENT
    needs = Access.GRADIENTS | Access.SUSPICION
    builds_on = ("attack",)
    trial = {"attack": "pgd(steps=6)"}

    attack: str = "pgd(steps=100)"  # which attack, with its parameters
    weight: float = between(0, 1, default=0.5)  # of the suspicion, once the goal is reached

    def passes(self, classes: int) -> int | None:
        try:
            once = self._led().passes(classes)
        except PluginError:
            return None  # the reason is given when it is run
        return None if once is None else 2 * once

    def perturb(self, problem: Problem) -> Tensor:
        attack = self._led()
        if not attack.searches(problem.threat):
            raise PluginError(f"{self.label}: {attack.name} does not search {problem.threat.name} balls")
        if problem.goal.targeted and not attack.targeted:
            raise PluginError(f"{self.label}: {attack.name} can't aim at a class")
        return attack.perturb(cast("Problem", Wary(problem, self.weight)))

    def _led(self) -> Attack:
        """The attack that is named, refused unless its gradients can be led."""
        attack = self.others["attack"]
        if Access.GRADIENTS not in attack.needs:
            raise PluginError(f"{self.label}: {attack.name} asks for no gradients, so nothing leads it elsewhere")
        if Access.SUSPICION in attack.needs:
            raise PluginError(f"{self.label}: {attack.name} looks out for suspicion itself")
        if lacking := attack.needs.lacking(self.needs):
            raise PluginError(f"{self.label}: {attack.name} needs {lacking}")
        if attack.minimizes:
            raise PluginError(f"{self.label}: {attack.name} looks for the smallest perturbation, not inside a ball")
        if attack.scope == "set":
            raise PluginError(f"{self.label}: {attack.name} looks for one perturbation of many images")
        return attack


class Wary:
    """A view of a problem whose gradients lead away from suspicion once the goal is reached; the rest is its own."""

    def __init__(self, problem: Problem, weight: float) -> None:
        self._problem = problem
        self._weight = weight

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)

    def probe(
        self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None, aim: Tensor | None = None
    ) -> Probe:
        probe = self._problem.probe(p, loss, of, aim)
        every = torch.arange(len(p), device=p.device) if of is None else of
        reached = self._problem.goal[every].margin(probe.logits) > 0
        waiting = torch.zeros_like(reached).index_fill_(0, self._problem.active, True) if of is None else reached
        rows = (reached & waiting).nonzero().squeeze(1)
        if self._weight == 0 or len(rows) == 0:
            return probe
        suspect = self._problem.suspicion_gradient(p[rows], every[rows])
        gradient = probe.gradient.clone()
        gradient[rows] = (1 - self._weight) * _unit(gradient[rows]) - self._weight * _unit(suspect)
        return Probe(gradient, probe.logits)

    def gradient(
        self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None, aim: Tensor | None = None
    ) -> Tensor:
        return self.probe(p, loss, of, aim).gradient

    def ascent(self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None) -> Tensor:
        images = self._problem.images if of is None else self._problem.images[of]
        return self._problem.threat.steepest(images, self.gradient(p, loss, of))


def _unit(gradient: Tensor) -> Tensor:
    """Scaled to length one, by its largest entry first so that no square underflows; zero and NaN become zero."""
    flat = gradient.flatten(1).nan_to_num(0, 0, 0)
    flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    unit: Tensor = flat / flat.norm(dim=1, keepdim=True).clamp_min(1)
    return unit.view_as(gradient)
