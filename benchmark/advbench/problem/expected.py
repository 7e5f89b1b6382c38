"""A problem whose target answers by chance: answers are means over draws (Athalye et al., 2018, arXiv:1802.00420)."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.access import Access
from advbench.errors import PluginError
from advbench.problem.asked import Seen
from advbench.problem.problem import Problem


class Expected(Problem):
    """A problem with several draws of the target to a point; each is a pass, and counted.

    Losses and gradients are those of the mean logits. A success is what fools in every draw: a lucky one
    would mark its example done, and then not survive the referee.
    """

    _problem: Problem
    _draws: int
    _several: Tensor
    """The logits of the latest batch, draw by draw."""

    @classmethod
    def of(cls, problem: Problem, draws: int) -> Expected:
        """A view: whatever is found, spent or done here is so in `problem`."""
        if not isinstance(problem, Problem):
            raise PluginError(
                "means over draws are taken of the problem itself, not of gradients that something else leads"
            )
        problem.look_at_every_pass()
        view = cls.__new__(cls)
        view.__dict__ = problem.__dict__
        view._problem, view._draws = problem, draws
        return view

    def _require(self, wanted: Access) -> None:
        self._problem._require(wanted)

    @property
    def _times(self) -> int:  # type: ignore[override]  # a view shares all that the problem holds
        return self._draws

    def _ask(self, images: Tensor, *, exactly: bool = False) -> Tensor:
        several = torch.stack([super(Expected, self)._ask(images, exactly=exactly) for _ in range(self._draws)])
        self._several = several.detach()
        return several.mean(0)

    def _remember(self, seen: Seen) -> None:
        margin = torch.stack([seen.goal.margin(draw[: len(seen.who)]) for draw in self._several]).amin(0)
        super()._remember(seen[(margin > self.margin).nonzero().squeeze(1)])

    def _rows(self, of: Tensor | None) -> tuple[Tensor, Tensor]:
        rows, examples = super()._rows(of)
        if self._limit is None:
            return rows, examples
        # how many candidates of the same example stand before each, all of which are paid for draw by draw
        order = examples.argsort(stable=True)
        place = torch.arange(len(order), device=order.device)
        before = torch.empty_like(order)
        before[order] = place - torch.searchsorted(examples[order], examples[order])
        paid = self.forwards[examples] + (before + 1) * self._draws <= self._limit
        return rows[paid], examples[paid]

    def _spend(self, examples: Tensor, *, backwards: int = 0) -> None:
        super()._spend(examples.repeat(self._draws), backwards=backwards)
