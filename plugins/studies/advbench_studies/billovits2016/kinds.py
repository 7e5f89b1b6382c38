"""The paper's four kinds of adversarial examples, told by labels and probabilities alone.

*Benign*: the network was wrong and is now right. *Conatural*: the new class is one that the network hardly tells from
the old. *Re-focused*: the new class was among the clean top five and is not conatural; that the image shows it, too, is
taken from that and not seen. *True adversarial*: the rest.

The paper looks at pictures to tell which classes are near. WordNet, in whose tree they would be, is not here: near are
two classes each of which is among the `NEAREST` classes of the other, by the cosines of the last layer's weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

KINDS = ("benign", "conatural", "re-focused", "true adversarial")
NEAREST = 10
TOP = 5


def confused_with(weights: Tensor, nearest: int = NEAREST) -> Tensor:
    """(classes, classes): whether two classes are in a group of mutual confusion."""
    rows = torch.nn.functional.normalize(weights.double(), dim=1)
    cosines = rows @ rows.T
    cosines.fill_diagonal_(-torch.inf)
    count = min(nearest, len(rows) - 1)
    if count < nearest:  # of ten classes all are near
        count = max(1, len(rows) // 5)
    among = torch.zeros_like(cosines, dtype=torch.bool)
    among.scatter_(1, cosines.topk(count, dim=1).indices, True)
    return among & among.T


def kind_of(label: Tensor, clean: Tensor, moved: Tensor, near: Tensor) -> str:
    """The kind of one image, from its true label and the probabilities before and after; empty where none changed."""
    before, after = int(clean.argmax()), int(moved.argmax())
    if before == after:
        return ""
    if before != int(label) and after == int(label):
        return "benign"
    if bool(near[before, after]):
        return "conatural"
    return "re-focused" if after in clean.topk(min(TOP, len(clean))).indices.tolist() else "true adversarial"
