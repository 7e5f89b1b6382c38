"""Projected Sinkhorn (Wong, Schmidt and Kolter, 2019, arXiv:1902.07906), made feasible.

A step in pixels (their sign, or the paper's conjugate step: the best entropic plan of a small budget), then an entropic
projection onto the ball around the image. Its result is not quite in the ball: rounds are few, and pixels exceed 1,
which the authors clip, so that mass gets lost. Here the entropic plan itself is projected, exactly, and the next step
starts from there. The authors let the radius grow until an image is fooled; here it is the ball's from the start.
Chosen here: for the conjugate step gradients are scaled to a largest entry of 1.
"""

from dataclasses import dataclass

from torch import Tensor

from advbench import Access, Attack, Problem, Wasserstein, at_least, one_of
from advbench_attacks.common.climb import Rows, climb
from advbench_attacks.common.entropic import Window, furthest_by_sinkhorn, nearest_by_sinkhorn
from advbench_attacks.common.losses import LOSSES
from advbench_attacks.frank_wolfe import of_unit_height


@dataclass(frozen=True)
class Sinkhorn(Attack):
    name = "sinkhorn"
    reference = "https://arxiv.org/abs/1902.07906"
    threats = frozenset({"wasserstein"})
    needs = Access.GRADIENTS
    trial = {"steps": 6, "rounds": 20}

    steps: int = at_least(1, default=40)
    direction: str = one_of("sign", "conjugate")
    step: float = at_least(0, default=0.1)  # what each pixel moves, or the conjugate step's budget
    sharpness: float = at_least(0, default=1000.0)  # λ: one over the weight of the entropy
    rounds: int = at_least(1, default=50)  # of Sinkhorn at most, in each projection
    loss: str = one_of("ce", "margin", "dlr")

    def passes(self, classes: int) -> int:
        return self.steps

    def perturb(self, problem: Problem) -> Tensor:
        ball = problem.threat
        assert isinstance(ball, Wasserstein)
        window = Window(ball.kernel, ball.prices(problem.images).double())

        def move(turn: int, of: Tensor | None, rows: Rows) -> Rows:
            (p,) = rows
            x = problem.images if of is None else problem.images[of]
            pull = ball.on_pixels(problem.gradient(p, LOSSES[self.loss], of)).nan_to_num(0, 0, 0)
            mass = x.double().flatten(1).sum(1).clamp_min(1e-12).view(-1, 1, 1, 1)
            image = ball.apply(x, p)
            if self.direction == "sign":
                wanted = (image + self.step * pull.sign()) / mass
            else:
                budget = (image / mass, of_unit_height(pull), window, self.step, self.sharpness, self.rounds)
                wanted = ball.apply(x, furthest_by_sinkhorn(*budget))
            near = nearest_by_sinkhorn(x / mass, wanted, window, problem.eps, self.sharpness, self.rounds)
            return (problem.project((near * mass.unsqueeze(1)).to(p.dtype), of),)

        return climb(problem, problem.start(), self.steps, move)
