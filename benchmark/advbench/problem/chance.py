"""The random numbers of a process, for code that draws from its generators: torch's on the CPU, numpy's and Python's.

What such code draws on other devices is not held here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Chance:
    """Where the generators stand."""

    torch: Tensor
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> Chance:
        return cls(torch.get_rng_state(), np.random.get_state(), random.getstate())

    @classmethod
    def of(cls, seed: int) -> Chance:
        """As after seeding each, with a number below 2**32."""
        generator = torch.Generator().manual_seed(seed)
        return cls(generator.get_state(), np.random.RandomState(seed).get_state(), random.Random(seed).getstate())

    def restore(self) -> None:
        torch.set_rng_state(self.torch)
        np.random.set_state(self.numpy)
        random.setstate(self.python)


@contextmanager
def kept_apart(device: torch.device) -> Iterator[None]:
    """Whatever is drawn in the block, the generators stand afterwards where they stood; a GPU's own, too."""
    before = Chance.now()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        before.restore()
