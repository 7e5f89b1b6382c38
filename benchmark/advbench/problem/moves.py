"""What an attack does with perturbations: begins, projects, steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.draws import Draws
from advbench.problem.asked import version
from advbench.problem.buckets import Buckets, Projected
from advbench.threats import Threat, is_core

ENOUGH = 0.9
"""From this share of wanted rows on, working on all of them is cheaper than gathering those."""


@dataclass(frozen=True)
class Around:
    """The images of all rows of a question, whoever is done, and between which bounds the ball clamps, if it does."""

    of: Tensor | None
    version: float
    x: Tensor
    bounds: tuple[Tensor, Tensor] | None


class Moves(Buckets):
    """The half of a `Problem` that knows the ball."""

    draws: Draws
    _arounds: tuple[Around, ...] = ()
    """Of the latest questions."""

    @property
    def eps(self) -> float:
        """The radius of the ball."""
        return self.threat.eps

    def start(self, *, random: bool = False) -> Tensor:
        """The perturbation that changes nothing, or a random one in the ball."""
        return self.threat.start(self._x, self.draws) if random else self.threat.identity(self._x)

    def project(self, p: Tensor, of: Tensor | None = None) -> Tensor:
        """The nearest perturbations inside ball and box; rows of examples that have won may be returned as they are."""
        p = p.to(self._x.dtype)  # draws come in float32, whatever the images are in
        if not self._waits:
            return self._inside(p, of)
        if self._budget is None:
            asked = self._question(of, len(p))
            rows, examples = asked.rows, asked.examples
        else:  # who has spent the budget without a success is still judged on what is projected here
            rows = (~(self._won if of is None else self._won[of])).nonzero().squeeze(1)
            examples = rows if of is None else of[rows]
        if len(rows) >= ENOUGH * len(p):
            return self._inside(p, of)
        projected = p.clone()
        projected[rows] = self.threat.project(self._x[examples], p[rows])
        return projected

    def advance(self, p: Tensor, step: Tensor, length: float, of: Tensor | None = None) -> Tensor:
        """`project(p + length * step)` with less to do: one step of a climb, most often along `ascent`."""
        odd = step.dtype != self._x.dtype or step.shape != p.shape or p.requires_grad or step.requires_grad
        if odd or self._around(of).bounds is None:
            return self.project(p + length * step, of)
        # what is made here is nobody else's, and may be written into
        moved = step.mul(length).add_(p) if self._waits else torch.add(p, step, alpha=length)
        if moved.dtype != self._x.dtype:
            return self.project(moved, of)
        if self._waits and (self._budget is not None or len(self._question(of, len(p)).rows) < ENOUGH * len(p)):
            return self.project(moved, of)
        return self._inside(moved, of, out=moved)

    def _inside(self, p: Tensor, of: Tensor | None, out: Tensor | None = None) -> Tensor:
        """All rows projected; where that is a clamp, between bounds that are made once."""
        around = self._around(of)
        if around.bounds is None:
            projected = self.threat.project(around.x, p)
        else:
            projected = torch.clamp(p, *around.bounds, out=out)
        if is_core(self.threat):
            self._projected = Projected.of(projected, of, clamped=around.bounds is not None)
        return projected

    def _around(self, of: Tensor | None) -> Around:
        """Kept as long as the same question is asked."""
        for kept in self._arounds:
            if kept.of is of and (of is None or kept.version == version(of)):
                return kept
        everyone = of is None or (of is self._index and len(of) == len(self._x))
        with torch.inference_mode(False):  # it is kept, and may be used outside of that mode
            x = self._x if everyone else self._x[of]
            bounds = self.threat.bounds(x) if clamps(self.threat) else None
        around = Around(of, -1 if of is None else version(of), x, bounds)
        self._arounds = (around, *self._arounds[:1])
        return around


def clamps(threat: Threat) -> bool:
    """Whether the ball's bounds are those of its own projection, not of one that a subclass has replaced."""
    kinds = type(threat).__mro__
    bounds, project = (next(kind for kind in kinds if name in vars(kind)) for name in ("bounds", "project"))
    return bounds is project and callable(vars(bounds)["bounds"])
