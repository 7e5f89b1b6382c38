"""Figure 13: a perturbation has structure. How its energy is spread over spatial frequencies, against noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BANDS = 16
LOWEST = 4
"""Of the bands: what is called coarse."""


def bands(images: Tensor, count: int = BANDS) -> Tensor:
    """Energy per band of frequencies, as shares of all: (N, count). White noise has the same in every band.

    A band is a ring of frequencies, up to the highest along a side; each holds the mean energy of its frequencies.
    """
    spectrum = torch.fft.fft2(images.double()).abs().square().sum(1)
    height, width = images.shape[-2:]
    rows, columns = (torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    radius = (rows.unsqueeze(1).square() + columns.square()).sqrt()
    ring = (radius * 2 * count - 1e-9).ceil().long() - 1
    inside = (ring < count) & (ring >= 0)  # the mean of an image is no frequency; corners have no whole ring
    sums = spectrum.new_zeros(len(images), count).index_add_(1, ring[inside], spectrum[:, inside])
    means = sums / torch.bincount(ring[inside], minlength=count).clamp_min(1)
    shares: Tensor = means / means.sum(1, keepdim=True).clamp_min(1e-300)
    return shares


def coarse(shares: Tensor) -> Tensor:
    """How much of it is in the lowest quarter of the bands."""
    return shares[:, :LOWEST].sum(1)


def flat(count: int = BANDS) -> float:
    """What white noise has there."""
    return math.fsum([1 / count] * LOWEST)
