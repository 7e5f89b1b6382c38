"""What gradient attacks raise: cross-entropy, margin, logits ratio (Croce and Hein, 2020, arXiv:2003.01690).

The ratio (difference of logits ratio, DLR) divides a difference of logits by the spread of the highest ones, so that
scaling all logits does not change it. The paper defines it for three classes and more, with a target for four and
more. Chosen here: with three classes the third highest logit alone ends the spread, with two the difference is taken
as it is. For a cell that aims at a class the true label is not known: the highest other logit takes its place.
"""

from torch import Tensor

from advbench import Goal, Loss

TINY = 1e-12
"""Keeps equal logits from dividing by zero, as in the paper's code."""


def dlr(goal: Goal, logits: Tensor) -> Tensor:
    """How far the goal is reached, in units of the highest logits' spread."""
    return goal.margin(logits) / spread(logits, aimed=goal.targeted)


def aimed_dlr(goal: Goal, logits: Tensor) -> Tensor:
    """The lead of the class in `goal.aim` over the label that is to be left, in the same units."""
    assert goal.aim is not None
    lead = logits.gather(1, goal.aim.view(-1, 1)) - logits.gather(1, goal.labels.view(-1, 1))
    return lead.squeeze(1) / spread(logits, aimed=True)


def spread(logits: Tensor, *, aimed: bool) -> Tensor:
    """From the highest logit down to the third, or to the middle of third and fourth when a class is aimed at."""
    classes = logits.shape[1]
    if classes < 3:
        return logits.new_ones(len(logits))
    highest = logits.topk(min(4, classes), dim=1).values
    end = highest[:, 2:4].mean(1) if aimed else highest[:, 2]
    return highest[:, 0] - end + TINY


LOSSES: dict[str, Loss] = {"ce": Goal.cross_entropy, "margin": Goal.margin, "dlr": dlr}
