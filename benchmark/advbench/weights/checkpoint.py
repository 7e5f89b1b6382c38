"""A training that was cut off goes on where its last whole epoch ended, and ends at the same bits."""

from __future__ import annotations

import io
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from advbench.cache import replace_file

EVERY = 15.0
"""Seconds between two writings: short trainings need none."""
_NOTHING = (OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError)
"""A file that is not there, was cut short or is damaged."""


@dataclass
class Checkpoint:
    """A file that holds everything the next epoch depends on; its name says which training it belongs to."""

    path: Path
    device: torch.device
    written: float = field(default_factory=time.monotonic)

    def epochs(self) -> int:
        """How many epochs are stored as done, from which `resume` would go on."""
        try:
            kept = self._load()
            return int(kept["epochs"]) if kept["made"] == self._conditions() else 0
        except _NOTHING:
            return 0

    def resume(self, net: nn.Module, optimizer: Optimizer, schedule: lr_scheduler.LRScheduler) -> int:
        """Epochs that are done; 0 where there is nothing to go on from."""
        try:
            kept = self._load()
            if kept["made"] != self._conditions():
                return 0  # other numbers than another torch's or another device's would come of it
            net.load_state_dict(kept["net"])
            optimizer.load_state_dict(kept["optimizer"])
            schedule.load_state_dict(kept["schedule"])
            torch.set_rng_state(kept["random"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(kept["random on device"], self.device)
            return int(kept["epochs"])
        except _NOTHING:
            return 0  # the training begins again, and writes over it

    def keep(self, epochs: int, net: nn.Module, optimizer: Optimizer, schedule: lr_scheduler.LRScheduler) -> None:
        """Write the state if the last writing is long enough ago."""
        if time.monotonic() - self.written < EVERY:
            return
        content = {
            "made": self._conditions(),
            "epochs": epochs,
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "random": torch.get_rng_state(),
            "random on device": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        replace_file(self.path, buffer.getvalue())
        self.written = time.monotonic()

    def _load(self) -> dict[str, Any]:
        kept: dict[str, Any] = torch.load(io.BytesIO(self.path.read_bytes()), map_location="cpu", weights_only=True)
        return kept

    def _conditions(self) -> str:
        return f"torch {torch.__version__}, {self.device.type}, {torch.get_num_threads()} threads"
