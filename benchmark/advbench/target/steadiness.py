"""Whether a target's numbers are the same, bit for bit, at several batch sizes: tried, since no library promises it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from advbench.draws import Draws
from advbench.problem.batches import BatchSize
from advbench.problem.precision import Precision, asking
from advbench.target.answer import seeded
from advbench.target.target import Target


def batch_size(
    target: Target,
    device: torch.device,
    trying: Callable[[], AbstractContextManager[None]] = nullcontext,
    precision: Precision = "float32",
) -> BatchSize:
    """What a target's passes are padded to when nobody chose a size; `trying` surrounds the passes that find it out.

    In lower precision numbers have to be the same there as well as in float32, in which successes are confirmed.
    """
    precisions: dict[Precision, None] = {"float32": None, precision: None}
    shape = target.dataset.shape
    base = BatchSize.auto(device, shape).size

    def steady(size: int) -> bool:
        for one in precisions:
            if (size, one) not in target.steady:
                # the passes come in the middle of somebody's work: whoever draws there must not notice them
                with trying(), seeded("steadiness", device):
                    target.steady[size, one] = _same(target, device, base, size, one)
        return all(target.steady[size, one] for one in precisions)

    return BatchSize.auto(device, shape, steady)


def _same(target: Target, device: torch.device, base: int, size: int, precision: Precision) -> bool:
    """One pass over some noise, against passes of the base size over the same noise."""
    ids = torch.arange(max(size, base), device=device)
    x = Draws(0, "steadiness", ids).uniform(*target.dataset.shape)
    try:
        once = _numbers(target, x[:size], precision)
        for first in range(0, size, base):
            # the last pass of the base size reaches back, so that all its rows are real
            place = max(0, min(first, len(x) - base))
            again = _numbers(target, x[place : place + base], precision)
            rows = slice(first, min(first + base, size))
            for mine, theirs in zip(once, again, strict=True):
                if not torch.equal(mine[rows], theirs[rows.start - place : rows.stop - place]):
                    return False
    except RuntimeError:  # too large for the memory, or an answer without a gradient
        return False
    return True


def _numbers(target: Target, x: Tensor, precision: Precision) -> list[Tensor]:
    """Logits and suspicion of a target with the gradients of their sums, which are compared between two askings."""
    tensors = []
    for question in (target.logits, target.suspicion) if target.detector else (target.logits,):
        q = x.clone().requires_grad_()
        with torch.enable_grad():
            with asking(precision, x.device):
                answer = question(q)
            answer = answer.to(x.dtype)
            total = answer.logsumexp(1).sum() if answer.ndim == 2 else answer.sum()
            tensors.append(answer.detach())
            if total.requires_grad:
                tensors.append(torch.autograd.grad(total, q)[0])
    return tensors
