"""The way back from a success towards the clean image, which minimal-norm attacks end with."""

import torch
from torch import Tensor

from advbench import Problem


def shrink(problem: Problem, p: Tensor, rounds: int, of: Tensor | None = None) -> Tensor:
    """Per row, the smallest success found on the segment from the clean image to p, in `rounds` forward passes.

    The margin is close to linear on so short a way: after p itself and nine tenths of it, each guess is where the line
    through the last two margins vanishes, and a little beyond; the middle of what is left where that is no place in
    it. Rows that are no success come back as they are, and the box is convex, so no row leaves it.
    """
    of = torch.arange(len(p), device=p.device) if of is None else of
    goal = problem.goal[of]
    wide = (-1, *[1] * (p.ndim - 1))
    low, high = p.new_zeros(len(p)), p.new_ones(len(p))  # what is left of the segment, in fractions of p
    earlier, place = high, high
    before = lead = p.new_full((len(p),), torch.nan)
    for turn in range(rounds):
        if turn == 1:
            earlier, place = place, 0.9 * place
        elif turn > 1:
            guess = place - lead * (place - earlier) / (lead - before)
            guess = guess + 0.05 * (high - guess)
            inside = (guess > low) & (guess < high)
            earlier, place = place, torch.where(inside, guess, (low + high) / 2)
        before, lead = lead, goal.margin(problem.logits(p * place.view(wide), of)) - problem.margin
        success = lead > 0
        high = torch.where(success, torch.minimum(high, place), high)
        low = torch.where(success, low, torch.maximum(low, place))
    return p * high.view(wide)
