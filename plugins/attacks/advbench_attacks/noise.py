"""Random perturbations, the first that fools: the floor of every board. A single one is no search but a measurement."""

from dataclasses import dataclass

from torch import Tensor

from advbench import Access, Attack, Geometry, Problem, at_least


@dataclass(frozen=True)
class Noise(Attack):
    name = "noise"
    geometry = Geometry.START
    needs = Access.LABELS

    tries: int = at_least(1, default=5)

    def passes(self, classes: int) -> int:
        return self.tries

    @property
    def measures(self) -> bool:  # type: ignore[override]  # a matter of how many there are
        return self.tries == 1

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        for _ in range(self.tries):
            p = problem.start(random=True)
            problem.labels(p)  # the problem keeps the first that reaches the goal
            if problem.done:
                break
        return p
