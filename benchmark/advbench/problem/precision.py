"""In which precision an attack's passes are made. Whether it has succeeded is always asked in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["float32", "bf16"]
LOWER = ("bf16",)
"""Precisions below that of the referee, as suites and stored cells name them."""


def asking(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Surrounds one question to a target.

    It is entered afresh for each, since an attack may leave none of torch's settings changed; so nothing is gained by
    autocast's cache, which keeps weights that have a gradient, and those of a target have none.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
