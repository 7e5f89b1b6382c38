"""The class an untargeted attack makes for on its way: the one whose boundary is nearest, not the likeliest one."""

import torch
from torch import Tensor

from advbench import Goal, Problem
from advbench_attacks.common.hyperplane import distance


def nearest_rival(problem: Problem, p: Tensor, of: Tensor, candidates: int) -> Tensor:
    """Of the likeliest `candidates`, the class whose linearised boundary is nearest to each row inside the box."""
    goal, logits = problem.goal[of], problem.logits(p, of)
    rivals = _others(goal, logits).topk(min(candidates, problem.classes - 1), dim=1).indices
    if rivals.shape[1] == 1:
        return rivals.squeeze(1)
    slopes = problem.jacobian(p, torch.cat([goal.labels.view(-1, 1), rivals], 1), of).gradient.flatten(2)
    slopes = slopes[:, 1:] - slopes[:, :1]
    behind = logits.gather(1, goal.labels.view(-1, 1)) - logits.gather(1, rivals)
    x = (problem.images[of] + p).flatten(1).unsqueeze(1)
    far = distance(slopes, behind, -x, 1 - x, problem.threat.norm)
    return rivals.gather(1, far.argmin(1, keepdim=True)).squeeze(1)


def rival_after(goal: Goal, logits: Tensor, rival: Tensor) -> Tensor:
    """The same rival, and across the boundary the class that was reached."""
    return torch.where(goal.margin(logits) > 0, _others(goal, logits).argmax(1), rival)


def lead_of(goal: Goal, logits: Tensor, rival: Tensor) -> Tensor:
    """The logit of the rival class less that of the label."""
    return (logits.gather(1, rival.view(-1, 1)) - logits.gather(1, goal.labels.view(-1, 1))).squeeze(1)


def lead(goal: Goal, logits: Tensor) -> Tensor:
    """The loss whose gradient leads across: that of `goal.aim` or of the class that was reached."""
    assert goal.aim is not None
    return lead_of(goal, logits, rival_after(goal, logits, goal.aim))


def _others(goal: Goal, logits: Tensor) -> Tensor:
    return logits.scatter(1, goal.labels.view(-1, 1), -torch.inf)
