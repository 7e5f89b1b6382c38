"""How many images are misclassified when all are moved by the same vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from advbench_studies.equivariant2019.directions import Network

BATCH = 256


def misclassified(
    network: Network,
    images: Tensor,
    labels: Tensor,
    vector: Tensor,
    norms: Sequence[float],
    *,
    clip: bool = True,
    heard: Callable[[], None] = lambda: None,
) -> list[int]:
    """By norm: how many images are given another class than their label when this unit vector is added at that length.

    Those that are wrong without it count, as in the paper. With `clip` pixels stay within [0, 1].
    """
    way = vector.view(1, *images.shape[1:]).to(images.dtype)
    counts = []
    for norm in norms:
        heard()
        wrong = 0
        with torch.no_grad():
            for first in range(0, len(images), BATCH):
                moved = images[first : first + BATCH] + norm * way
                answer = network(moved.clamp(0, 1) if clip else moved).argmax(1)
                wrong += int((answer != labels[first : first + BATCH]).sum())
        counts.append(wrong)
    return counts
