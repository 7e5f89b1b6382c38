"""What an attack with `scope = "set"` sees: all the examples at once, and one perturbation for them."""

from __future__ import annotations

from torch import Tensor

from advbench.goal import Goal
from advbench.problem.asked import Seen
from advbench.problem.problem import Loss, Probe, Problem


class SharedProblem(Problem):
    """One perturbation for all of the examples: no example becomes done, and no example's success is kept.

    `p` is one row for everybody who is asked, or a row for each of them; images are clipped to [0, 1]. Answers and
    gradients have a row for every example asked: all, or those that `of` names.
    """

    _remembers = False

    def start(self, *, random: bool = False) -> Tensor:
        """One row that changes nothing, or a random one in the ball."""
        return self.threat.start(self._x, self.draws) if random else self.threat.identity(self._x)

    def project(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        """The nearest perturbations inside the ball, whatever the images."""
        return self.threat.project(self._x, p)

    def ascent(self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None) -> Tensor:
        return super().ascent(self._rowwise(p, of), loss, of)

    def labels(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        return super().labels(self._rowwise(p, of), of)

    def logits(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        return super().logits(self._rowwise(p, of), of)

    def probe(
        self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None, aim: Tensor | None = None
    ) -> Probe:
        return super().probe(self._rowwise(p, of), loss, of, aim)

    def jacobian(self, p: Tensor, classes: Tensor, of: Tensor | None = None) -> Probe:
        return super().jacobian(self._rowwise(p, of), classes, of)

    def suspicion(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        return super().suspicion(self._rowwise(p, of), of)

    def suspicion_gradient(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        return super().suspicion_gradient(self._rowwise(p, of), of)

    def finish(self, p: Tensor) -> Tensor:
        """What the attack returned: it alone knows which of those that it tried serves all best."""
        return p

    def _rowwise(self, p: Tensor, of: Tensor | None) -> Tensor:
        count = len(self._x) if of is None else len(of)
        return p.expand(count, *p.shape[1:]) if len(p) == 1 else p

    def _remember(self, seen: Seen) -> None:
        """What one perturbation does to one example is no success of its own."""
