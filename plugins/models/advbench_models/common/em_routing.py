"""Matrix capsules with EM routing (Hinton, Sabour and Frosst, 2018, ICLR): windows, votes, and the routing itself.

As in the paper's procedure 1, a capsule shares what it has to give among all parents that it feeds: with windows that
overlap, among those in every window that it lies in, not only among the types of one window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LEAST_VARIANCE = 1e-4
LEAST_SHARE = 1e-6  # of data that a parent is divided by: one that nobody speaks to must not divide by zero
POSE = 4  # poses are 4 x 4


class Windows(nn.Module):
    """Which children lie in which window of a grid, and in which windows a child lies."""

    members: Tensor
    places: Tensor

    def __init__(self, height: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        grid = torch.arange(height * width).view(height, width)
        windows = grid.unfold(0, kernel, stride).unfold(1, kernel, stride)
        self.height, self.width = windows.shape[:2]
        members = windows.reshape(-1, kernel * kernel)  # (W, K) numbers of positions
        found = [(members.flatten() == child).nonzero().flatten() for child in range(height * width)]
        # a child in fewer windows than others points at one more place, which nobody reads but the sum
        places = nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=members.numel())
        self.register_buffer("members", members, persistent=False)
        self.register_buffer("places", places, persistent=False)

    def gather(self, maps: Tensor) -> Tensor:
        """Gather the capsules under each window: (N, positions, types, …) to (N, W, K·types, …)."""
        found = maps[:, self.members]
        return found.flatten(2, 3)

    def total(self, parts: Tensor) -> Tensor:
        """(N, W, K·types) logarithms to that of each child's sum over all windows that it lies in."""
        flat = parts.view(len(parts), self.members.numel(), -1)
        nothing = torch.full_like(flat[:, :1], -math.inf)
        whole = torch.cat([flat, nothing], 1)[:, self.places].logsumexp(2)  # (N, positions, types)
        return self.gather(whole)


def em_routing(
    votes: Tensor,
    activations: Tensor,
    cost_of_data: Tensor,
    cost_of_silence: Tensor,
    windows: Windows | None,
    iterations: int,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Poses (N, W, J, H) and logits of activations (N, W, J) of the parents.

    `votes` is (N, W, J, I, H), `activations` (N, W, I); the two costs are the paper's beta_u, (J,), and beta_a, (J,).
    Without windows all children lie in the only one. The inverse temperature of round t is
    temperature·(1 - 0.95^t), the schedule that the authors gave in the review.
    """
    shares = torch.zeros_like(votes[..., 0])
    for step in range(1, iterations + 1):
        together = shares.logsumexp(2)
        shares = shares - (windows.total(together) if windows else together).unsqueeze(2)
        given = shares.exp() * activations.unsqueeze(2)  # (N, W, J, I)
        data = given.sum(3)  # (N, W, J)
        weights = (given / (data.unsqueeze(3) + LEAST_SHARE)).unsqueeze(3)  # (N, W, J, 1, I)
        mean = weights @ votes  # (N, W, J, 1, H)
        deviation = (votes + (-mean)).square()  # to subtract would negate as many gradients as there are votes
        variance = (weights @ deviation).squeeze(3) + LEAST_VARIANCE  # (N, W, J, H)
        cost = data * (cost_of_data * variance.shape[-1] + variance.log().sum(3) / 2)
        inverse = temperature * (1 - 0.95**step)
        logits = inverse * (cost_of_silence - cost)
        if step < iterations:
            distance = (deviation @ (0.5 / variance).unsqueeze(4)).squeeze(4)  # (N, W, J, I)
            density = -(variance.log().sum(3) / 2).unsqueeze(3) - distance
            shares = density + nn.functional.logsigmoid(logits).unsqueeze(3)
    return mean.squeeze(3), logits


class ConvolutionalCapsules(nn.Module):
    """Capsules of a window vote for those above it: poses (N, h, w, B, 16) and activations (N, h, w, B) to the next."""

    def __init__(self, windows: Windows, types_in: int, types: int, iterations: int, temperature: float) -> None:
        super().__init__()
        self.windows, self.iterations, self.temperature = windows, iterations, temperature
        self.weight = nn.Parameter(_transformations(windows.members.shape[1] * types_in, types))
        self.cost_of_data = nn.Parameter(torch.zeros(types))
        self.cost_of_silence = nn.Parameter(torch.zeros(types))

    def forward(self, poses: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
        """(N, positions, types, 16) and (N, positions, types) to the same of the windows, the latter as logits."""
        below = self.windows.gather(poses)
        given = self.windows.gather(activations)
        return em_routing(
            votes_of(below, self.weight),
            given,
            self.cost_of_data,
            self.cost_of_silence,
            self.windows,
            self.iterations,
            self.temperature,
        )


class ClassMatrixCapsules(nn.Module):
    """All capsules of all positions vote for the classes, with one matrix a type, and say where they are.

    The scaled row and column of a capsule's position are added to the first two coordinates of its votes.
    """

    offsets: Tensor

    def __init__(
        self, height: int, width: int, types_in: int, classes: int, iterations: int, temperature: float
    ) -> None:
        super().__init__()
        self.iterations, self.temperature = iterations, temperature
        self.weight = nn.Parameter(_transformations(types_in, classes))
        self.cost_of_data = nn.Parameter(torch.zeros(1))
        self.cost_of_silence = nn.Parameter(torch.zeros(1))
        rows = (torch.arange(height) + 0.5) / height
        columns = (torch.arange(width) + 0.5) / width
        where = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), 2).view(-1, 1, 2).expand(-1, types_in, -1)
        offsets = nn.functional.pad(where.reshape(-1, 2), (0, POSE * POSE - 2))
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, poses: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
        """(N, positions, types, 16) and (N, positions, types) to (N, classes, 16) and logits (N, classes)."""
        positions = poses.shape[1]
        weight = self.weight.repeat(positions, 1, 1, 1)
        votes = votes_of(poses.flatten(1, 2).unsqueeze(1), weight) + self.offsets
        mean, logits = em_routing(
            votes,
            activations.flatten(1).unsqueeze(1),
            self.cost_of_data,
            self.cost_of_silence,
            None,
            self.iterations,
            self.temperature,
        )
        return mean.squeeze(1), logits.squeeze(1)


def votes_of(poses: Tensor, weight: Tensor) -> Tensor:
    """Poses (N, W, I, 16) times the matrix of each pair, weight (I, J, 4, 4), to (N, W, J, I, 16)."""
    matrices = poses.view(*poses.shape[:3], POSE, POSE)
    return torch.einsum("nwirk,ijkc->nwjirc", matrices, weight).flatten(4)


def _transformations(children: int, parents: int) -> Tensor:
    """Near the identity, so that poses reach the last layer before anything is learnt."""
    return torch.eye(POSE) + 0.2 * torch.randn(children, parents, POSE, POSE)
