"""How a network is trained: everything that its weights depend on, besides data and architecture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """Training settings, and what is to be expected of them."""

    epochs: int = 10
    batch: int = 64
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "one-cycle", "exponential"] = "one-cycle"
    shift: int = 0
    """Training images are moved by up to so many pixels, at random."""
    flip: bool = False
    """Training images are mirrored left to right, every other one at random."""
    seed: int = 0
    floor: float = 0.0
    """The accuracy on the calibration part below which the training has failed."""
    expected: float = 0.0
    """The accuracy on the judged part that it reached when it was written; 0 where nobody has measured it."""

    def params(self) -> dict[str, Any]:
        return asdict(self)

    def content(self) -> dict[str, Any]:
        """What the weights depend on: without what is merely expected, or says nothing."""
        silent = {"floor", "expected"} | ({"flip"} if not self.flip else set())
        return {name: value for name, value in self.params().items() if name not in silent}
