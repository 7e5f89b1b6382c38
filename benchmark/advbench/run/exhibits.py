"""What a reader is shown of a cell: its first few examples as pictures, stored beside the facts so that a page needs
neither the data set nor the network.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advbench.store.rows import ExhibitRow
from advbench.target.target import Target
from advbench.threats import Threat

COUNT = 8
"""Examples of a cell: the first ones that are judged, never chosen by how they came out."""
ROOM = 400_000
"""Bytes of pictures in a cell before they are packed: fewer examples where images are large, but one at least."""

LEVELS = 2
"""Of 255: how far another machine's rounding may move a pixel of a picture."""


def shown_of(ids: Iterable[int], shape: tuple[int, ...]) -> frozenset[int]:
    """The examples of a cell that become exhibits."""
    count = max(1, min(COUNT, ROOM // (3 * math.prod(shape))))
    return frozenset(list(ids)[:count])


def exhibits(
    target: Target, threat: Threat, x: Tensor, p: Tensor, images: Tensor, ids: Tensor, shown: frozenset[int]
) -> list[ExhibitRow]:
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
        ExhibitRow(
            example=int(ids[row]),
            original=packed(x[place]),
            perturbed=packed(images[place]),
            redrawn=None if redrawn is None else packed(redrawn[place]),
            moved=None if moved is None else zlib.compress(moved[place].half().cpu().numpy().tobytes(), 9),
            words=words[place if len(words) > 1 else 0] if words else None,
        )
        for place, row in enumerate(rows.tolist())
    ]


def unlike(fresh: ExhibitRow, stored: ExhibitRow, shape: tuple[int, ...]) -> str:
    """Which picture of a stored row is not what the stored perturbation gives; empty where all are."""
    if stored.words != fresh.words:
        return "other words beside the picture are stored"
    for name in ("original", "perturbed", "redrawn", "moved"):
        ours, theirs = getattr(fresh, name), getattr(stored, name)
        one, other = _numbers(ours, name, shape), _numbers(theirs, name, shape)
        lacking = (ours is None) != (theirs is None)
        near = LEVELS if name != "moved" else 1e-2
        if lacking or one.shape != other.shape or not np.allclose(one, other, rtol=1e-2, atol=near):
            return f"another picture is stored ({name})"
    return ""


def _numbers(data: bytes | None, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Unpacked, and never more than a picture of that shape can hold; empty where there are none."""
    room = 4 * math.prod(shape) + 1
    try:
        raw = zlib.decompressobj().decompress(data or b"", room)
        return np.frombuffer(raw, np.float16 if name == "moved" else np.uint8).astype(np.float64)
    except (zlib.error, ValueError, TypeError):
        return np.empty(0)


def packed(image: Tensor) -> bytes:
    """An image in [0, 1] as zlib of its bytes, channels first."""
    return zlib.compress((image.clamp(0, 1) * 255).round().byte().cpu().contiguous().numpy().tobytes(), 9)
