"""Gaussian kernel density estimates, one per class, in logarithms, with one bandwidth that held-out points choose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

GRID = 0.05 * 1.1 ** torch.arange(48, dtype=torch.float64)
"""Bandwidths that are tried, from 0.05 to 4.4 standard deviations of a class's codes."""


class KernelDensity(nn.Module):
    """Codes (classes, N, width) to log densities (N, classes), relative to the spread of each class."""

    whitening: Tensor
    points: Tensor
    weights: Tensor
    bandwidth: Tensor

    def __init__(self, whitening: Tensor, points: Tensor, weights: Tensor, bandwidth: Tensor) -> None:
        super().__init__()
        self.register_buffer("whitening", whitening)
        self.register_buffer("points", points)
        self.register_buffer("weights", weights)
        self.register_buffer("bandwidth", bandwidth)

    def forward(self, codes: Tensor) -> Tensor:
        at = codes @ self.whitening
        return log_density(at, self.points, self.weights, self.bandwidth).T


def fit_density(learnt: Sequence[Tensor], unseen: Sequence[Tensor]) -> KernelDensity:
    """Estimates around the learnt codes (n, width) of each class, with the bandwidth that suits the unseen ones.

    Where no class has unseen codes, Scott's rule gives the bandwidth.
    """
    whitening = torch.stack([whitener(codes) for codes in learnt])
    points = pad_sequence([codes @ whitening[k] for k, codes in enumerate(learnt)], batch_first=True)
    # log of 1/n for each point, nothing for those that only fill up
    weights = pad_sequence(
        [codes.new_full((len(codes),), -float(torch.tensor(len(codes)).log())) for codes in learnt],
        batch_first=True,
        padding_value=-torch.inf,
    )
    return KernelDensity(whitening, points, weights, bandwidth(whitening, points, weights, learnt, unseen))


def bandwidth(
    whitening: Tensor, points: Tensor, weights: Tensor, learnt: Sequence[Tensor], unseen: Sequence[Tensor]
) -> Tensor:
    """That of the grid under which the unseen codes are likeliest."""
    width = points.shape[2]
    if not any(len(codes) for codes in unseen):
        count = sum(len(codes) for codes in learnt) / len(learnt)
        return points.new_tensor(count ** (-1 / (width + 4)))
    likelihood = []
    for wide in GRID.to(points):
        found = [
            log_density((codes @ whitening[k])[None], points[k : k + 1], weights[k : k + 1], wide).sum()
            for k, codes in enumerate(unseen)
        ]
        likelihood.append(torch.stack(found).sum())
    best: Tensor = GRID.to(points)[torch.stack(likelihood).argmax()]
    return best


def log_density(at: Tensor, points: Tensor, weights: Tensor, wide: Tensor) -> Tensor:
    """(classes, N): log of the weighted mean of normal kernels around the points (classes, n, width)."""
    squares = at.square().sum(2, keepdim=True) + points.square().sum(2).unsqueeze(1) - 2 * at @ points.mT
    exponents = weights.unsqueeze(1) - squares / (2 * wide.square())
    normaliser = points.shape[2] * (wide.log() + 0.918938533)  # log √2π
    return exponents.logsumexp(2) - normaliser


def whitener(codes: Tensor) -> Tensor:
    """(width, width): codes times this have the identity for covariance, but for what hardly varies at all."""
    centred = codes.double() - codes.double().mean(0)
    covariance = centred.T @ centred / max(len(codes) - 1, 1)
    values, vectors = torch.linalg.eigh(covariance)
    # a direction in which few codes happen not to differ is not one in which none may
    floor = 1e-3 * float(values[-1]) if float(values[-1]) > 0 else 1.0
    white: Tensor = (vectors / values.clamp_min(floor).sqrt()) @ vectors.T
    return white.to(codes.dtype)
