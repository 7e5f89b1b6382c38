"""What a ball offers to attacks that know nothing else about it, and what such an attack needs."""

from __future__ import annotations

from enum import Flag, auto


class Geometry(Flag):
    """Capabilities of a ball, added up with `|`; an attack that needs some serves every ball that offers them all."""

    NOTHING = 0
    """All that any ball has: an unchanged image, a projection, a size."""
    START = auto()
    """`start` draws from all of the ball, so that what it draws is a fair guess: chance begins, or ends, there."""
    ASCENT = auto()
    """Steps along `steepest`, each projected, climb: the image is differentiable in p, and near points are near."""
    PIXELS = auto()
    """Perturbations are changes of pixels (N, C, H, W), added to the image: they can be flipped, scaled, made noisy."""
