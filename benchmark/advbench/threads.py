"""What must be so in every process for numbers to come out the same again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def settle() -> None:
    """Turn off, in this process, what makes two computations on an accelerator differ."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def one_thread() -> Iterator[None]:
    """In the block torch computes in one thread, as in every process of every engine: sums depend on how many share
    them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
