"""Directions of attack, one for every image: the gradient, its signs (FGSM), DeepFool; and those of a small turn.

What the paper leaves open, and what is taken here: the gradient is that of the cross-entropy at the true label. It is
divided by the probability of all other classes together, which changes no direction: a confident image's gradient would
vanish in single precision. DeepFool is the published one: l2, from the predicted class, all classes compared in every
step, at most 50 steps, overshoot 0.02, no clipping.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advbench import RotateShift

Network = Callable[[Tensor], Tensor]
Heard = Callable[[int, int], None]
"""Told how many images are done, and of how many."""
BATCH = 128
STEPS, OVERSHOOT = 50, 0.02


def gradients(network: Network, images: Tensor, labels: Tensor, heard: Heard) -> Tensor:
    """Of the cross-entropy at these labels, by image, each up to a positive factor."""

    def of(x: Tensor, y: Tensor) -> Tensor:
        x = x.clone().requires_grad_(True)
        logits = network(x)
        others = logits.detach().double().scatter(1, y.view(-1, 1), -torch.inf)
        weights = others.softmax(1).scatter(1, y.view(-1, 1), -1.0)
        return torch.autograd.grad((logits * weights.to(logits.dtype)).sum(), x)[0]

    return _in_batches(of, images, labels, heard)


def fgsm(gradient: Tensor) -> Tensor:
    """The signs of gradients; where one is zero so is the direction."""
    return gradient.sign()


def deepfool(
    network: Network, images: Tensor, heard: Heard, steps: int = STEPS, overshoot: float = OVERSHOOT
) -> Tensor:
    """The perturbations of the published algorithm."""

    def of(x: Tensor, _: Tensor) -> Tensor:
        moved = torch.zeros_like(x)
        rows = torch.arange(len(x), device=x.device)
        first: Tensor | None = None
        for _step in range(steps):
            at = (x[rows] + (1 + overshoot) * moved[rows]).requires_grad_(True)
            logits = network(at)
            answer = logits.detach().argmax(1)
            first = answer if first is None else first
            stay = answer == first[rows]
            if not bool(stay.any()):
                break
            step = _nearest_edge(logits, at, first[rows])
            moved[rows[stay]] += step[stay]
            rows = rows[stay]
        return (1 + overshoot) * moved

    return _in_batches(of, images, torch.zeros(len(images), dtype=torch.long, device=images.device), heard)


def _nearest_edge(logits: Tensor, at: Tensor, own: Tensor) -> Tensor:
    """The step onto the nearest of the linearised edges of the class, and 0.0001 beyond, as it was published."""
    count, classes = logits.shape
    one = torch.nn.functional.one_hot(own, classes).to(logits.dtype)
    others = logits.detach().scatter(1, own.view(-1, 1), -torch.inf).argsort(1, descending=True)[:, : classes - 1]
    nearest = logits.new_full((count,), torch.inf)
    best = torch.zeros_like(at)
    for place in range(classes - 1):
        rival = torch.nn.functional.one_hot(others[:, place], classes).to(logits.dtype)
        lead = (logits * (rival - one)).sum(1)
        slope = torch.autograd.grad(lead.sum(), at, retain_graph=place < classes - 2)[0]
        length = slope.flatten(1).norm(dim=1).clamp_min(1e-12)
        distance = lead.detach().abs() / length
        closer = distance < nearest
        nearest = torch.where(closer, distance, nearest)
        step = slope * ((distance + 1e-4) / length).view(-1, 1, 1, 1)
        best = torch.where(closer.view(-1, 1, 1, 1), step, best)
    return best.detach()


def small_turns(images: Tensor, degrees: float = 2.0) -> Tensor:
    """What changes when each image is turned a little further."""
    turn = RotateShift(degrees=degrees, pixels=0)
    amount = images.new_tensor([1.0, 0.0, 0.0]).expand(len(images), 3)
    return turn.apply(images, amount) - images


def _in_batches(of: Callable[[Tensor, Tensor], Tensor], images: Tensor, labels: Tensor, heard: Heard) -> Tensor:
    found = []
    for first in range(0, len(images), BATCH):
        heard(first, len(images))
        found.append(of(images[first : first + BATCH], labels[first : first + BATCH]))
    return torch.cat(found)
