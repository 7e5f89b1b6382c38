"""The one place that runs a network: in padded batches of a few sizes at which its numbers are the same, bit for bit.

Logits move by about 2e-5 with the batch size in general, and at one size they do not depend on position or neighbours.
So a batch is filled up to a size that gives what the base size gives, and an example's numbers are the same in any
company.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

from advbench.errors import AdvbenchError, words

PHOTO = 1 << 16
"""Numbers of an image from which on it is large: a coloured one of 148 × 148."""

Steady = Callable[[int], bool]
"""Whether passes of this size give the numbers that passes of the base size give."""


class BatchSize:
    """The padded sizes, shared by all passes of a run so that what one learns about memory holds for the next.

    With `BatchSize(64)` every pass has 64 rows. Where `steady` says so, a pass may have as many as `LADDER` allows.
    """

    LADDER = (16, 32, 48, 64, 96, 128, 192, 256)

    def __init__(self, size: int, steady: Steady | None = None) -> None:
        self.size = size
        self._steady = steady

    @classmethod
    def auto(cls, device: torch.device, shape: Sequence[int], steady: Steady | None = None) -> BatchSize:
        """A size that keeps a CPU's cache warm, or a GPU busy; fewer rows of photos, which need 100 MB each.

        A CPU's memory doesn't say when it is full: whoever asks for too much is killed.
        """
        if device.type != "cpu":
            return cls(512, steady)
        return cls(64 if math.prod(shape) < PHOTO else 16, steady)

    def padded(self, rows: int) -> int:
        """How many rows the next pass has when so many wait."""
        if self._steady is None:
            return self.size
        if self.size < 64:
            return self.size
        wanted = _plan(rows, tuple(size * self.size // 64 for size in self.LADDER))[1]
        return wanted if wanted == self.size or self._steady(wanted) else self.size

    def halve(self, error: BaseException) -> None:
        if self.size == 1:
            raise AdvbenchError("out of memory even with a batch of one example; use a smaller model or another device")
        self._steady = None  # what was too large was perhaps a size above this one: no more of these
        self.size = max(1, self.size // 2)


@cache
def _plan(rows: int, ladder: tuple[int, ...]) -> tuple[int, int]:
    """The least cost of so many rows, counted in rows, and the size of its first pass; a pass has a cost of its own."""
    itself = ladder[0] // 2
    above = next((size for size in ladder if size >= rows), ladder[-1])
    below = next((size for size in reversed(ladder) if size <= rows), above)
    if above == below:
        return above + itself, above
    return min((above + itself, above), (below + itself + _plan(rows - below, ladder)[0], below))


def out_of_memory(error: BaseException) -> bool:
    """CUDA has a class for it; the CPU allocator says it in words."""
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in words(error).lower() or "can't allocate memory" in words(error))
    )


def in_batches(rows: Tensor, batch: BatchSize) -> Iterator[tuple[int, Tensor, int, Retry]]:
    """Where a chunk of `rows` begins, the chunk padded to a batch size by repeating its last row, how many are real.

    The body runs its pass inside `with retry:`; when that runs out of memory, the size is halved and the same rows
    come again.
    """
    first = 0
    while first < len(rows):
        size = batch.padded(len(rows) - first)
        chunk = rows[first : first + size]
        real = len(chunk)
        if real < size:
            chunk = torch.cat([chunk, chunk[-1:].expand(size - real)])
        retry = Retry(batch)
        yield first, chunk, real, retry
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
        for _, chunk, real, retry in in_batches(rows, batch):
            with retry:
                parts.append(function(images[chunk])[:real])
    return torch.cat(parts) if parts else function(images)
