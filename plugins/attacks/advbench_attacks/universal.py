"""Universal perturbations from the mean of FGSM steps (Michels et al., 2019, section 3.4, arXiv:1906.03612).

The paper leaves open how large an FGSM step and a batch are, and names no bound on the perturbation. Here the step is a
share of the radius, and the sum stays in the ball: with a radius that is never reached, the size of what comes out is
the paper's norm. What left fewest images right is kept, which below the threshold is the last. Its ten perturbations
from ten parts of the test set are `parts=10` with `part` from 0 to 9 and the suite's `fit: judge`. In the l2 ball the
paper's step is `rule=sign`, the gradient's sign brought to unit length; `steepest` takes the gradient itself at unit
length. In l-infinity both are the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, AdvbenchError, Attack, Problem, at_least, between, one_of
from advbench_attacks.common.climb import alike


@dataclass(frozen=True)
class Universal(Attack):
    name = "universal"
    reference = "https://arxiv.org/abs/1906.03612"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS
    scope = "set"
    trial = {"steps": 20}

    steps: int = at_least(1, default=100)
    step: float = at_least(0, default=0.1)  # of one image, in radii of the ball
    rule: str = one_of("steepest", "sign")  # of that step
    batch: int = at_least(1, default=100)
    accuracy: float = between(0, 1, default=0.5)  # it stops below this share of images that are still right
    part: int = at_least(0, default=0)
    parts: int = at_least(1, default=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.part >= self.parts:
            raise AdvbenchError(f"{self.name}: parts are counted from 0: part must be below parts = {self.parts}")

    def passes(self, classes: int) -> int:
        return 2 * self.steps

    def perturb(self, problem: Problem) -> Tensor:
        v = best = problem.start()
        own = torch.arange(len(problem.images), device=v.device).tensor_split(self.parts)[self.part]
        fewest = len(own) + 1
        for turn in range(self.steps + 1):
            still = own[~problem.reached(v, of=own)]
            if len(still) < fewest:
                best, fewest = v, len(still)
            below = fewest == 0 or fewest < self.accuracy * len(own)
            if below or problem.done or turn == self.steps:
                break
            drawn = problem.draws.uniform(1).squeeze(1)[still].argsort(stable=True)[: self.batch]
            steps = problem.ascent(v, of=still[drawn])
            if self.rule == "sign":
                steps = alike(steps)
            v = problem.project(v + self.step * problem.eps * steps.mean(0, keepdim=True))
        return best
