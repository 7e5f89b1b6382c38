"""What an attack wants: leave the true label, or arrive at a chosen one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench.draws import Draws
from advbench.errors import AdvbenchError

GOALS = ("untargeted", "random", "least-likely", "class=k", "each")


@dataclass(frozen=True)
class Goal:
    """Per example: the label to leave, or the class to reach when `targeted`."""

    labels: Tensor
    targeted: bool = False
    aim: Tensor | None = None
    """A class per row that the attack itself goes for on its way, for a loss to read; no part of what is judged."""

    def __getitem__(self, index: Tensor) -> Goal:
        return Goal(self.labels[index], self.targeted, None if self.aim is None else self.aim[index])

    def first(self, count: int) -> Goal:
        """The goal of the first rows, as a view."""
        return Goal(self.labels[:count], self.targeted, None if self.aim is None else self.aim[:count])

    def reached(self, predicted: Tensor) -> Tensor:
        return predicted == self.labels if self.targeted else predicted != self.labels

    def margin(self, logits: Tensor) -> Tensor:
        """How far the goal is reached, in logits; positive when it is, NaN where the logits are."""
        chosen = logits.gather(1, self.labels.view(-1, 1)).squeeze(1)
        others = logits.scatter(1, self.labels.view(-1, 1), -torch.inf).amax(1)
        return chosen - others if self.targeted else others - chosen

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """The loss of the field's standard attacks; higher is closer to the goal."""
        loss = F.cross_entropy(logits, self.labels, reduction="none")
        return -loss if self.targeted else loss


def choose_labels(goal: str, labels: Tensor, least_likely: Tensor, classes: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """The goal's label for every example, and which examples the goal applies to.

    `least_likely` is the class that the source finds least likely on the clean image.
    """
    everyone = torch.ones_like(labels, dtype=torch.bool)
    if goal == "untargeted":
        return labels, everyone
    if goal == "random":  # uniform over the other classes: a step of 1 to classes - 1 around the circle
        return (labels + 1 + draws.integers(classes - 1)) % classes, everyone
    if goal == "least-likely":
        return least_likely, least_likely != labels
    chosen = torch.full_like(labels, class_of(goal, classes))
    return chosen, chosen != labels


def class_of(goal: str, classes: int) -> int:
    """The k of `class=k`, checked."""
    name, _, number = goal.partition("=")
    if name != "class" or not number.isdigit():
        raise AdvbenchError(f"unknown goal {goal!r}; goals are {', '.join(GOALS)}")
    if int(number) >= classes:
        raise AdvbenchError(f"goal {goal!r}: the data set has classes 0 to {classes - 1}")
    return int(number)


def expand(goal: str, classes: int) -> list[str]:
    """`each` stands for one cell per class, every example being left out of its own class's cell."""
    return [f"class={k}" for k in range(classes)] if goal == "each" else [goal]
