"""Reconstructive attacks: towards the goal, then away from suspicion (Qin et al., 2020, arXiv:1907.02957, 5.3).

Every step is c·β along the sign of the loss's gradient, then c·(1 - β) against the sign of the suspicion's gradient,
which for the paper's detector is the distance to the reconstruction. `stages=1` is the weighted sum of both that the
paper tried as well and found weaker. β = 1 is the plain attack, and costs as little.

The paper leaves open what follows; chosen here: c and the steps are those of its plain attacks (appendix C: 0.05 for
FGSM; 0.01 for BIM and PGD, with 1,000 steps on MNIST, 500 on Fashion-MNIST and 200, the default, on SVHN), R-FGSM takes
one such step, R-PGD starts at random, ball and box are kept after every stage, the suspicion is an l2 distance and not
its square. When targeted, the paper redraws from the target's capsule from the first step on; here the suspicion is
the detector's own, of the winning class, and so the same as soon as the target wins.
"""

from dataclasses import dataclass

from torch import Tensor

from advbench import Access, Attack, Problem, at_least, between, one_of


@dataclass(frozen=True)
class Reconstructive(Attack):
    """What the three attacks share: the step, and who may be attacked."""

    reference = "https://arxiv.org/abs/1907.02957"
    threats = frozenset({"linf", "l2", "rotate-shift"})
    needs = Access.GRADIENTS | Access.SUSPICION

    beta: float = between(0, 1, default=0.5)  # the share of the step that goes towards the goal
    stages: int = one_of(2, 1)  # one step after the other, or one along the weighted sum

    def stepped(self, problem: Problem, p: Tensor, c: float) -> Tensor:
        """The perturbation after one iteration: equations 1 and 2 of the paper."""
        if self.beta == 1:
            return problem.project(p + c * problem.ascent(p))
        if self.stages == 1:
            gradient = self.beta * problem.gradient(p) - (1 - self.beta) * problem.suspicion_gradient(p)
            return problem.project(p + c * problem.threat.steepest(problem.images, gradient))
        p = problem.project(p + c * self.beta * problem.ascent(p))
        suspicious = problem.threat.steepest(problem.images, problem.suspicion_gradient(p))
        return problem.project(p - c * (1 - self.beta) * suspicious)

    def walked(self, problem: Problem, p: Tensor, c: float, steps: int) -> Tensor:
        for _ in range(steps):
            p = self.stepped(problem, p, c)
            if problem.done:
                break
        return p

    def _per_step(self) -> int:
        return 1 if self.beta == 1 else 2


@dataclass(frozen=True)
class RFGSM(Reconstructive):
    """One reconstructive step from the image (Qin et al., 2020, arXiv:1907.02957)."""

    name = "r-fgsm"
    trial = {"beta": 0.99, "step": 0.3}

    step: float = at_least(0, default=0.05)  # the paper's c, in units of the ball

    def passes(self, classes: int) -> int:
        return self._per_step() + 1

    def perturb(self, problem: Problem) -> Tensor:
        return self.stepped(problem, problem.start(), self.step)


@dataclass(frozen=True)
class RBIM(Reconstructive):
    """Reconstructive steps from the image (Qin et al., 2020, arXiv:1907.02957)."""

    name = "r-bim"
    trial = {"beta": 0.9, "steps": 10, "step": 0.06}

    steps: int = at_least(1, default=200)
    step: float = at_least(0, default=0.01)  # the paper's c, in units of the ball

    def passes(self, classes: int) -> int:
        return self.steps * self._per_step() + 1

    def perturb(self, problem: Problem) -> Tensor:
        return self.walked(problem, problem.start(), self.step, self.steps)


@dataclass(frozen=True)
class RPGD(RBIM):
    """Reconstructive steps from a random place in the ball (Qin et al., 2020, arXiv:1907.02957)."""

    name = "r-pgd"

    def perturb(self, problem: Problem) -> Tensor:
        return self.walked(problem, problem.start(random=True), self.step, self.steps)
