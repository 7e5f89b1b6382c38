"""Projected gradient descent (Madry et al., 2018, arXiv:1706.06083).

Madry et al. step along the steepest direction of the ball (`rule=steepest`). `sign` takes a step of that length which
moves all coordinates alike; in l-infinity both are the same. `sgd` and `adam` move by the gradient times a rate and by
Adam, as in figures 2 and 18 of D'Costa's report (2019); there the rates are 0.07 and 0.001, Adam's constants the usual
ones. A restart draws a new start for the examples that are not done; where a climb has ended is
asked about before the next begins, so that no point is lost.
"""

from dataclasses import dataclass

from torch import Tensor

from advbench import Access, Attack, Geometry, Problem, at_least, one_of
from advbench_attacks.common.climb import Move, Rows, alike, climb
from advbench_attacks.common.losses import LOSSES

RATES = {"sgd": 0.07, "adam": 0.001}
β1, β2, ε = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class PGD(Attack):
    name = "pgd"
    reference = "https://arxiv.org/abs/1706.06083"
    geometry = Geometry.START | Geometry.ASCENT
    needs = Access.GRADIENTS

    steps: int = at_least(1, default=40)
    travel: float = at_least(0, default=2.5)  # total path length, in radii of the ball
    step: float = at_least(0, default=0.0)  # length of one step in the ball's units instead; 0: by `travel`
    restarts: int = at_least(1, default=1)
    start: str = one_of("random", "image")
    loss: str = one_of(*LOSSES)
    rule: str = one_of("steepest", "sign", "sgd", "adam")
    rate: float = at_least(0, default=0.0)  # of sgd and adam; 0: D'Costa's 0.07 and 0.001

    def passes(self, classes: int) -> int:
        return self.restarts * (self.steps + 1) - 1

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start(random=self.start == "random")
        for restart in range(self.restarts):
            if restart:
                problem.logits(p)
                again = problem.active
                p[again] = problem.start(random=self.start == "random")[again]
            move, memories = self._rule(problem)
            p = climb(problem, p, self.steps, move, memories)
        return p

    def _rule(self, problem: Problem) -> tuple[Move, int]:
        """How one step is made, and how many things it remembers."""
        loss, η = LOSSES[self.loss], self.rate or RATES.get(self.rule, 0.0)
        α = self.step or self.travel * problem.eps / self.steps

        def steepest(turn: int, of: Tensor | None, rows: Rows) -> Rows:
            (p,) = rows
            return (problem.advance(p, problem.ascent(p, loss, of), α, of),)

        def sign(turn: int, of: Tensor | None, rows: Rows) -> Rows:
            (p,) = rows
            return (problem.advance(p, alike(problem.ascent(p, loss, of)), α, of),)

        def sgd(turn: int, of: Tensor | None, rows: Rows) -> Rows:
            (p,) = rows
            return (problem.advance(p, problem.gradient(p, loss, of).nan_to_num_(0, 0, 0), η, of),)

        def adam(turn: int, of: Tensor | None, rows: Rows) -> Rows:
            p, m, v = rows
            gradient = problem.gradient(p, loss, of).nan_to_num_(0, 0, 0)
            m = β1 * m + (1 - β1) * gradient
            v = β2 * v + (1 - β2) * gradient.square()
            m_hat, v_hat = m / (1 - β1 ** (turn + 1)), v / (1 - β2 ** (turn + 1))
            return problem.project(p + η * m_hat / (v_hat.sqrt() + ε), of), m, v

        return {"steepest": (steepest, 0), "sign": (sign, 0), "sgd": (sgd, 0), "adam": (adam, 2)}[self.rule]
