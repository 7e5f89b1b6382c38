"""Corruptions that look at a pixel, or its surroundings: noise, blur, contrast, saturation, grey levels."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.draws import Draws
from advbench.threats.corruptions.fields import blurred, unit

NOISE = 0.38
BLUR = 2.0
CONTRAST = 0.9
GAIN, LIFT = 19.0, 0.2
BITS = 7.0


def noise(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Gaussian noise."""
    return x + NOISE * severity * draws.normal(*x.shape[1:], dtype=x.dtype)


def blur(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """A Gaussian blur of 2 MNIST pixels."""
    return blurred(x, BLUR * unit(x) * severity, BLUR * unit(x))


def contrast(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Drawn towards each channel's mean, to a tenth of the contrast."""
    mean = x.flatten(2).mean(2)[..., None, None]
    return mean + (1 - CONTRAST * severity) * (x - mean)


def inverse(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Black for white, through grey."""
    return x + severity * (1 - 2 * x)


def saturate(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Colours pushed to full saturation; without colour, brightness: white strokes bleed, and black turns grey."""
    gain, lift = 1 + GAIN * severity, LIFT * severity
    if x.shape[1] != 3:
        return gain * x + lift
    value = x.amax(1, keepdim=True)
    colourless = value - x.amin(1, keepdim=True)  # how far the least channel lies below the largest
    share = colourless / value.clamp_min(1e-12)
    wanted = (gain * share + lift * (share > 0)).clamp_max(1)  # grey has no hue to be saturated
    return value - (value - x) * wanted / share.clamp_min(1e-12)


def quantize(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """From 8 bits a pixel down to 1."""
    steps = torch.exp2(8 - BITS * severity).round() - 1
    return (x * steps).round() / steps
