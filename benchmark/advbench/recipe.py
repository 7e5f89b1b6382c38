"""How a network is trained: everything that its weights depend on, besides data and architecture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """Training settings; `floor` is the accuracy on the calibration part below which the training has failed."""

    epochs: int = 10
    batch: int = 64
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    shift: int = 0
    """Training images are moved by up to so many pixels, at random."""
    seed: int = 0
    floor: float = 0.0

    def params(self) -> dict[str, Any]:
        return asdict(self)
