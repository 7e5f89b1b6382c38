"""Short codes of features, one coder per class: principal components, then an autoencoder (Billovits et al., 2016).

All classes are fitted at once, as one batch of matrices. Features are moved to the class's mean and divided by one
number per class, so that distances keep their proportions; steps of Adam then mean the same for any network.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from advbench import Draws

SLOPE = 0.33
"""Of the leaky ReLU below zero, as in the paper."""


class ClassCodes(nn.Module):
    """Encoders, one a class, from features (N, D) to codes (classes, N, width)."""

    mean: Tensor
    components: Tensor

    def __init__(self, mean: Tensor, components: Tensor, encoder: Sequence[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.weights = nn.ParameterList(weight for weight, _ in encoder)
        self.biases = nn.ParameterList(bias for _, bias in encoder)

    def forward(self, features: Tensor) -> Tensor:
        scores = features @ self.components - self.mean.unsqueeze(1) @ self.components
        layers = list(zip(self.weights, self.biases, strict=True))
        return through(layers, scores, leaky_last=True)

    def of(self, label: int, features: Tensor) -> Tensor:
        """The codes (N, width) that the encoder of one class gives."""
        codes: Tensor = self(features)[label]
        return codes


def fit_codes(
    features: Sequence[Tensor], components: int, width: int, steps: int, rate: float, seed: int
) -> ClassCodes:
    """Train one encoder for each class on that class's features (n, D)."""
    fitted = [principal(group, components) for group in features]
    mean, directions = (torch.stack(parts) for parts in zip(*fitted, strict=True))
    scores = pad_sequence([(group - mean[k]) @ directions[k] for k, group in enumerate(features)], batch_first=True)
    present = pad_sequence([group.new_ones(len(group), 1) for group in features], batch_first=True)
    layers = first_layers(len(features), halved(directions.shape[2], width), seed, scores)
    weights = [parameter for layer in layers for parameter in layer]
    adam = torch.optim.Adam(weights, lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            adam.zero_grad()
            squares = (through(layers, scores, leaky_last=False) - scores).square() * present
            # every class by itself: the sum over classes of the mean over its images
            loss = (squares.sum((1, 2)) / present.sum((1, 2))).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
    encoder = [(weight.detach(), bias.detach()) for weight, bias in layers[: len(layers) // 2]]
    return ClassCodes(mean, directions, encoder)


def principal(features: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and (D, most) directions of largest variance, divided by the root mean square of a score.

    Directions beyond the rank of the features are zero. Signs are fixed: an entry that is largest is positive.
    """
    mean = features.double().mean(0)
    _, lengths, rows = torch.linalg.svd(features.double() - mean, full_matrices=False)
    rank = min(most, int((lengths > 1e-6 * max(float(lengths[0]), 1e-12)).sum()))
    rows = rows[:rank]
    rows = rows * rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
    unit = (lengths[:rank].square().sum() / max(len(features) * rank, 1)).sqrt().clamp_min(1e-12)
    directions = F.pad(rows / unit, (0, 0, 0, min(most, features.shape[1]) - rank)).T
    return mean.to(features.dtype), directions.to(features.dtype).contiguous()


def halved(width: int, least: int) -> list[int]:
    """Widths from the first to the least, halved each time: 128, 64, 32, 16, 8."""
    widths = [width]
    while widths[-1] > least:
        widths.append(max(least, widths[-1] // 2))
    return widths if len(widths) > 1 else [width, least]


def first_layers(classes: int, widths: Sequence[int], seed: int, like: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Weights (classes, in, out) and biases (classes, 1, out) of encoder and decoder, He's initialisation."""
    both = [*widths, *reversed(widths[:-1])]
    draws = Draws(seed, "class-codes", torch.arange(classes))
    layers = []
    for before, after in pairwise(both):
        spread = (2 / ((1 + SLOPE**2) * before)) ** 0.5
        weight = (draws.normal(before, after) * spread).to(like).requires_grad_()
        layers.append((weight, like.new_zeros(classes, 1, after).requires_grad_()))
    return layers


def through(layers: Sequence[tuple[Tensor, Tensor]], scores: Tensor, leaky_last: bool) -> Tensor:
    """Apply the layers of every class's encoder: (classes, N, in) to (classes, N, out)."""
    for place, (weight, bias) in enumerate(layers):
        scores = torch.baddbmm(bias, scores, weight)
        if leaky_last or place < len(layers) - 1:
            scores = F.leaky_relu(scores, SLOPE)
    return scores
