"""The time that counts against a limit: the processor's own on a CPU, so that a busy machine fails no attack."""

from __future__ import annotations

import time

import torch


def clock(device: torch.device) -> float:
    """Seconds from some moment on; on an accelerator those of the wall, since it works while the processor waits."""
    return time.process_time() if device.type == "cpu" else time.monotonic()
