"""What a count of votes proves: the two tests of Cohen et al. (2019, arXiv:1902.02918)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def tail(successes: int, trials: int, chance: float) -> float:
    """The probability of at least so many successes."""
    if successes <= 0:
        return 1.0
    if chance <= 0 or chance >= 1:
        return float(chance >= 1)
    k = torch.arange(successes, trials + 1, dtype=torch.float64)
    n = torch.tensor(float(trials), dtype=torch.float64)
    ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    return float((ways + k * math.log(chance) + (n - k) * math.log1p(-chance)).logsumexp(0).exp().clamp_max(1))


@lru_cache(maxsize=4096)
def lower_bound(successes: int, trials: int, alpha: float) -> float:
    """The chance of success is at least this, with confidence 1 - alpha (Clopper and Pearson, 1934).

    Found by bisection and rounded down, so that it is never above the exact one.
    """
    low, high = 0.0, successes / trials
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(successes, trials, middle) <= alpha else (low, middle)
    return low


@lru_cache(maxsize=64)
def needed(trials: int, alpha: float) -> Tensor:
    """(trials + 1,) how many votes the winner needs of so many for the two first classes, not to be a coin's doing.

    One more than all of them where no count is enough: a two-sided test at the level alpha.
    """
    found = []
    for both in range(trials + 1):
        low, high = both // 2, both + 1  # two-sided: twice the tail, at most 1
        while low < high:
            middle = (low + high) // 2
            enough = 2 * middle > both and 2 * tail(middle, both, 0.5) <= alpha
            low, high = (low, middle) if enough else (middle + 1, high)
        found.append(low)
    return torch.tensor(found)
