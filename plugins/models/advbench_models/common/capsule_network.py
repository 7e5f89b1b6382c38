"""What networks of class capsules share (Sabour et al., 2017, arXiv:1710.09829): logits, reconstruction and loss."""

from __future__ import annotations

from torch import Tensor, nn

from advbench_models.common.capsules import (
    ClassCapsules,
    lengths,
    logits_of,
    margin_loss,
    masked,
    reconstruction_network,
)

DIMENSION = 8  # of the capsules that vote for classes
CLASS_DIMENSION = 16
MOST = 2**28  # weights of class capsules, a gigabyte


class CapsuleNetwork(nn.Module):
    """Features, which end in capsules (N, I, d), then a capsule for every class, from which images are redrawn."""

    def __init__(self, features: nn.Module, class_capsules: ClassCapsules, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.features = features
        self.class_capsules = class_capsules
        dimension = class_capsules.weight.shape[2]
        self.reconstruction = reconstruction_network(class_capsules.classes * dimension, shape)

    def capsules(self, images: Tensor) -> Tensor:
        """The class capsules (N, classes, D); the longer one is, the surer the network is of its class."""
        answer: Tensor = self.class_capsules(self.features(images))
        return answer

    def redraw(self, capsules: Tensor, classes: Tensor) -> Tensor:
        """Images from the capsules of the given classes alone."""
        pixels: Tensor = self.reconstruction(masked(capsules, classes))
        return pixels

    def forward(self, images: Tensor) -> Tensor:
        return logits_of(lengths(self.capsules(images)))

    def reconstruct(self, images: Tensor, classes: Tensor) -> Tensor:
        """What each image would look like, were it of the given class."""
        return self.redraw(self.capsules(images), classes)


def margin_and_reconstruction(net: nn.Module, images: Tensor, labels: Tensor, balance: float) -> Tensor:
    """The margin loss, and beside it `balance` times the squared distance to what the true class redraws."""
    assert isinstance(net, CapsuleNetwork)
    capsules = net.capsules(images)
    squares = (net.redraw(capsules, labels) - images).square().flatten(1).sum(1)
    return margin_loss(lengths(capsules), labels) + balance * squares.mean()


def too_many(capsules: int, classes: int) -> str | None:
    """Why so many capsules can't vote for so many classes, each pair with a matrix of its own, or None."""
    weights = capsules * DIMENSION * classes * CLASS_DIMENSION
    if weights <= MOST:
        return None
    return f"its class capsules would have {weights / 1e9:,.1f} billion weights; take `convnet`, or smaller images"
