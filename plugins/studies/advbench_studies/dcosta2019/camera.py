"""A camera in front of a screen, simulated: figure 17's photograph has no file, and no two photographs are alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench import Draws, RotateShift

DEGREES, PIXELS = 2.0, 2.0
BLUR, NOISE, GAMMA, STRIPES = 0.7, 0.015, 0.15, 0.015
"""At these a network that knows the photos still recognises most of them: else nothing could be told of an attack."""


def photographed(images: Tensor, severity: float, draws: Draws) -> Tensor:
    """Turned and shifted a little, blurred, in another light, with the screen's stripes and the sensor's noise.

    Everything is proportional to `severity`; nothing changes at 0. Draws are one for each image.
    """
    if severity == 0:
        return images
    spread = RotateShift(eps=severity, degrees=DEGREES, pixels=PIXELS)
    seen = spread.apply(images, spread.start(images, draws).to(images.dtype))
    seen = blurred(seen, BLUR * severity).clamp(0, 1)
    light = draws.uniform(1, 1, 1, low=-GAMMA * severity, high=GAMMA * severity).to(images)
    seen = seen ** light.exp()
    across = torch.arange(images.shape[-1], device=images.device, dtype=images.dtype)
    phase, turns = (draws.uniform(1, 1, 1, high=high).to(images) for high in (2 * math.pi, 0.5))
    seen = seen + STRIPES * severity * (phase + 2 * math.pi * turns * across).sin()
    noise = draws.normal(*images.shape[1:]).to(images)
    return (seen + NOISE * severity * noise).clamp(0, 1)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """By a normal kernel, the edge repeated outside."""
    if deviation <= 0:
        return images
    reach = max(1, math.ceil(3 * deviation))
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = (-0.5 * (steps / deviation).square()).exp()
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    across = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(across, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
