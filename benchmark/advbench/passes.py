"""The one place that runs a network: in batches padded to one fixed size.

Logits move by about 2e-5 with the batch size, and at one padded size they do not depend on position or neighbours.
So every batch is filled up to the same size, and an example's numbers are the same in any company.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from advbench.errors import AdvbenchError


class BatchSize:
    """The padded size, shared by all passes of a run so that what one learns about memory holds for the next."""

    def __init__(self, size: int) -> None:
        self.size = size

    @classmethod
    def auto(cls, device: torch.device) -> BatchSize:
        """A size that keeps a CPU's cache warm, or a GPU busy."""
        return cls(64 if device.type == "cpu" else 512)

    def halve(self, error: BaseException) -> None:
        if self.size == 1:
            raise AdvbenchError("out of memory even with a batch of one example; use a smaller model or another device")
        self.size = max(1, self.size // 2)


def out_of_memory(error: BaseException) -> bool:
    """CUDA has a class for it; the CPU allocator says it in words."""
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in str(error).lower() or "can't allocate memory" in str(error))
    )


def in_batches(rows: Tensor, batch: BatchSize) -> Iterator[tuple[Tensor, int, Retry]]:
    """Chunks of `rows` padded to the batch size by repeating the last row, and how many of each are real.

    The body runs its pass inside `with retry:`; when that runs out of memory, the size is halved and the same rows
    come again.
    """
    first = 0
    while first < len(rows):
        size = batch.size
        chunk = rows[first : first + size]
        real = len(chunk)
        if real < size:
            chunk = torch.cat([chunk, chunk[-1:].expand(size - real)])
        retry = Retry(batch)
        yield chunk, real, retry
        if not retry.needed:
            first += real


class Retry(contextlib.AbstractContextManager[None]):
    """Swallows an out-of-memory error after halving the batch size."""

    def __init__(self, batch: BatchSize) -> None:
        self._batch = batch
        self.needed = False

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None or not out_of_memory(error):
            return False
        self._batch.halve(error)
        self.needed = True
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True


def run_in_batches(function: Callable[[Tensor], Tensor], images: Tensor, batch: BatchSize) -> Tensor:
    """`function(images)` without gradients, in padded batches."""
    rows = torch.arange(len(images), device=images.device)
    parts = []
    with torch.no_grad():
        for chunk, real, retry in in_batches(rows, batch):
            with retry:
                parts.append(function(images[chunk])[:real])
    return torch.cat(parts) if parts else function(images)
