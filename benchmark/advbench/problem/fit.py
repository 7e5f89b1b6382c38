"""The examples that one perturbation for all is fitted on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from advbench.data import Examples
from advbench.draws import Draws
from advbench.goal import choose_labels


@dataclass(frozen=True)
class Fit:
    """What one perturbation for all is fitted on: a part of the data, without examples that the goal leaves out."""

    examples: Examples
    goal_labels: Tensor
    fingerprint: str
    """The fingerprint of the whole part of the data, before any example is left out."""
    perturbation: Tensor | None = None
    """The one for all, when an earlier run has fitted it."""

    @classmethod
    def on(cls, part: Examples, goal: str, classes: int, seed: int) -> Fit:
        labels = part.labels.long()
        chosen, applies = choose_labels(goal, labels, labels, classes, Draws(seed, f"goal/{goal}", part.ids))
        rows = applies.nonzero().squeeze(1)
        return cls(part[rows], chosen[rows], part.fingerprint)
