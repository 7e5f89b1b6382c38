"""Whether a perturbation lies in its ball and its image in the box: measured, with the tolerances in one place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.errors import PluginError
from advbench.threats import Threat, is_core

BOX_TOLERANCE = 1e-6
"""Rounding of x + p in float32 stays below 1.2e-7."""


@dataclass(frozen=True)
class Membership:
    """Per example: the size, and how far beyond what is allowed the perturbation goes in three respects."""

    size: Tensor
    beyond_ball: Tensor
    beyond_box: Tensor
    beyond_coordinates: Tensor
    tolerance: float
    coordinate_tolerance: float
    """Does not grow with the radius: what is no plan is none in a large ball either."""

    @property
    def inside(self) -> Tensor:
        """NaN compares false, so what can't be measured is outside."""
        return (
            (self.beyond_ball <= self.tolerance)
            & (self.beyond_box <= BOX_TOLERANCE)
            & (self.beyond_coordinates <= self.coordinate_tolerance)
        )


def _refuse_wrong_size(threat: Threat, size: Tensor, p: Tensor) -> None:
    """What a stranger's ball says of perturbations that are numbers is a number each: not an attack's fault."""
    if not isinstance(size, Tensor) or size.shape != (len(p),):
        raise PluginError(f"{threat.label}: `size` gives no number for each of {len(p)} perturbations")
    if bool((size.isnan() & p.flatten(1).isfinite().all(1)).any()):
        raise PluginError(f"{threat.label}: `size` gives NaN for a perturbation that is finite")


def measure(threat: Threat, x: Tensor, p: Tensor, images: Tensor) -> Membership:
    """Measure perturbations and the images rendered from them."""
    size = threat.size(x, p)
    if not is_core(threat):
        _refuse_wrong_size(threat, size, p)
    flat = images.flatten(1)
    beyond_box = torch.maximum(flat.amax(1) - 1, -flat.amin(1)) if flat.shape[1] else size * 0
    return Membership(
        size=size,
        beyond_ball=size - threat.eps,
        beyond_box=beyond_box,
        beyond_coordinates=threat.coordinates(x, p),
        tolerance=threat.tolerance * max(1.0, threat.eps if threat.eps != float("inf") else 1.0),
        coordinate_tolerance=threat.tolerance,
    )


def inside(threat: Threat, x: Tensor, p: Tensor, images: Tensor, size: Tensor) -> Tensor:
    """What `measure(…).inside` says, in few kernels and without a wait; sizes have been measured already."""
    tolerance = threat.tolerance * max(1.0, threat.eps if threat.eps != float("inf") else 1.0)
    lawful = size - threat.eps <= tolerance
    flat = images.flatten(1)
    if flat.shape[1]:
        low, high = flat.aminmax(dim=1)
        lawful &= (high - 1 <= BOX_TOLERANCE) & (low >= -BOX_TOLERANCE)
    if type(threat).coordinates is not Threat.coordinates:
        lawful &= threat.coordinates(x, p) <= threat.tolerance
    return lawful
