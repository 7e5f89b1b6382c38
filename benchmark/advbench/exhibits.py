"""What a reader is shown of a cell: its first few examples as pictures, stored beside the facts so that a page needs
neither the data set nor the network.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from advbench.target import Target
from advbench.threats import Threat

COUNT = 8
"""Examples of a cell: the first ones that are judged, never chosen by how they came out."""
ROOM = 400_000
"""Bytes of pictures in a cell before they are packed: fewer examples where images are large, but one at least."""


def shown_of(ids: Iterable[int], shape: tuple[int, ...]) -> frozenset[int]:
    """The examples of a cell that become exhibits."""
    pixels = 1
    for side in shape:
        pixels *= side
    count = max(1, min(COUNT, ROOM // (3 * pixels)))
    return frozenset(list(ids)[:count])


def exhibits(
    target: Target, threat: Threat, x: Tensor, p: Tensor, images: Tensor, ids: Tensor, shown: frozenset[int]
) -> list[dict[str, Any]]:
    """A row for each example of a shard that is to be shown; `images` are the perturbed ones, within [0, 1]."""
    rows = torch.tensor([row for row, example in enumerate(ids.tolist()) if example in shown], dtype=torch.long)
    if not len(rows):
        return []
    at = rows.to(x.device)
    x, p, images = x[at], p if len(p) == 1 < len(ids) else p[at], images[at]
    redrawn = target.redrawn(images)
    moved = threat.moved(x, p)
    words = threat.words(x, p)
    return [
        {
            "example": int(ids[row]),
            "original": packed(x[place]),
            "perturbed": packed(images[place]),
            "redrawn": None if redrawn is None else packed(redrawn[place]),
            "moved": None if moved is None else zlib.compress(moved[place].half().cpu().numpy().tobytes(), 9),
            "words": words[place if len(words) > 1 else 0] if words else None,
        }
        for place, row in enumerate(rows.tolist())
    ]


def packed(image: Tensor) -> bytes:
    """An image in [0, 1] as zlib of its bytes, channels first."""
    return zlib.compress((image.clamp(0, 1) * 255).round().byte().cpu().contiguous().numpy().tobytes(), 9)
