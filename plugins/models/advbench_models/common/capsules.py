"""Capsule layers (Sabour, Frosst and Hinton, 2017, arXiv:1710.09829): squash, primary capsules, routing, margin loss.

Routing never writes down the votes W·u of every capsule for every class. With votes linear in u, a weighted sum of
votes is one matrix product of the weighted capsules, and the agreement of all votes with a class capsule v is the
product of u with Wᵀv; both touch half the memory that the votes take, and the first round, in which all weights are
equal, is one plain product. Gradients go through every round of routing: an attacker is owed the exact ones.

Lengths come with gradients where the mathematics has none (a capsule of length zero, F at 0 or 1): an offset of 1e-8
in the norm, 1e-12 under the root of the squash, and a clamp that lets gradients pass.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_SQUARE = 1e-12  # under the root of a squash: its slope at zero is the root of this, not zero
LEAST_PART = 1e-8  # added to every coordinate of a capsule whose length is asked: a direction at zero
CACHED = 3_000_000  # numbers that one step of routing writes on a CPU; larger ones leave the caches for fresh pages


def squash(x: Tensor, dim: int = -1) -> Tensor:
    """Vectors along `dim` shortened to x·|x| / (1 + |x|²), a length below one."""
    square = (x * x).sum(dim, keepdim=True)
    return x * ((square + LEAST_SQUARE).sqrt() / (1 + square))


def lengths(capsules: Tensor) -> Tensor:
    """(…, D) to (…): how long each capsule is, with the gradient of a unit vector even at zero."""
    return (capsules + LEAST_PART).square().sum(-1).sqrt()


def logits_of(lengths: Tensor) -> Tensor:
    """arctanh(2F - 1) of class capsules' lengths F in [0, 1] (Michels et al., 2019), finite also at 0 and 1."""
    eps = torch.finfo(lengths.dtype).eps
    inside = lengths + (lengths.clamp(eps * eps, 1 - eps) - lengths).detach()  # gradients pass the clamp
    return (inside.log() - torch.log1p(-inside)) / 2


def margin_loss(lengths: Tensor, labels: Tensor) -> Tensor:
    """Squared shortfall under 0.9 of the true class, half the squared excess over 0.1 of the others; batch mean."""
    true = F.one_hot(labels, lengths.shape[1]).to(lengths.dtype)
    short, long = (0.9 - lengths).relu().square(), (lengths - 0.1).relu().square()
    return (true * short + 0.5 * (1 - true) * long).sum(1).mean()


def masked(capsules: Tensor, classes: Tensor) -> Tensor:
    """(N, classes, D) to (N, classes·D), with all but the capsule of the given class set to zero."""
    mask = F.one_hot(classes, capsules.shape[1]).to(capsules.dtype)
    return (capsules * mask[:, :, None]).flatten(1)


def reconstruction_network(inputs: int, shape: tuple[int, int, int]) -> nn.Sequential:
    """From masked class capsules to pixels in [0, 1]: layers of 512, 1024 and a sigmoid."""
    return nn.Sequential(
        nn.Linear(inputs, 512),
        nn.ReLU(),
        nn.Linear(512, 1024),
        nn.ReLU(),
        nn.Linear(1024, math.prod(shape)),
        nn.Sigmoid(),
        nn.Unflatten(1, shape),
    )


class PrimaryCapsules(nn.Module):
    """A convolution whose channels are capsules: (N, C, H, W) to (N, capsules·h·w, dimension), squashed.

    Channel c·capsules + k is coordinate c of capsule type k, so that capsules come out of the convolution without a
    copy; capsule k at row y and column x is number (k·h + y)·w + x.
    """

    def __init__(self, channels_in: int, capsules: int, dimension: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.dimension = dimension
        self.convolution = nn.Conv2d(channels_in, capsules * dimension, kernel, stride)

    def forward(self, maps: Tensor) -> Tensor:
        channels: Tensor = self.convolution(maps)
        return squash(channels.reshape(len(maps), self.dimension, -1), dim=1).transpose(1, 2)


class ClassCapsules(nn.Module):
    """Every capsule votes for every class, routed by agreement: (N, I, d) to (N, classes, D).

    With `none_of_the_above` one more capsule takes part in the routing, to which what belongs to no class can go; it
    is not among those that come out.
    """

    def __init__(
        self,
        capsules_in: int,
        dimension_in: int,
        classes: int,
        dimension: int,
        routings: int = 3,
        none_of_the_above: bool = False,
    ) -> None:
        super().__init__()
        self.classes, self.routings = classes, routings
        ends = classes + none_of_the_above
        # row c·I + i of class j is what coordinate c of capsule i adds to its vote; drawn as in the authors' code
        self.weight = nn.Parameter(0.1 * torch.randn(ends, dimension_in * capsules_in, dimension))

    def forward(self, capsules: Tensor) -> Tensor:
        u = capsules.transpose(1, 2).contiguous()  # (N, d, I)
        if u.device.type != "cpu":
            return self.routed(u)
        together = max(1, CACHED // self.weight[:, :, 0].numel())
        return torch.cat([self.routed(part) for part in torch.split(u, together)])

    def routed(self, u: Tensor) -> Tensor:
        """(N, d, I) to (N, classes, D): the rounds of routing, in which capsules find the classes that agree."""
        weight = self.weight
        ends = len(weight)
        v = squash(torch.matmul(u.flatten(1), weight) / ends)  # (J, N, D)
        heard = v
        for _ in range(self.routings - 1):
            # the agreement with all class capsules so far, as agreements add up
            asked = torch.bmm(heard, weight.transpose(1, 2)).view(ends, *u.shape)
            coupling = (asked * u).sum(2).softmax(0)  # (J, N, I)
            v = squash(torch.bmm((coupling.unsqueeze(2) * u).flatten(2), weight))
            heard = heard + v
        return v[: self.classes].transpose(0, 1)
