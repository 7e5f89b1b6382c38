"""What a target says about clean images: asked once, shared by all attacks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.data import Examples
from advbench.problem.batches import BatchSize
from advbench.target.referee import BATCH
from advbench.target.target import Target

_CHUNK = 1024
"""Images on the device at a time, so that memory does not grow with their number."""


@dataclass(frozen=True)
class CleanPass:
    """Per example, on the CPU; a few numbers each, so that all of a data set fits."""

    predicted: Tensor
    confidence: Tensor
    lead: Tensor
    least_likely: Tensor
    suspicion: Tensor | None
    finite: Tensor
    certified: tuple[Tensor, Tensor] | None
    """The class and the radius that are proved, where the target proves any."""


def clean_pass(target: Target, examples: Examples, device: torch.device, places: Tensor | None = None) -> CleanPass:
    """The answers about these examples; `places` are theirs in the order of judging, 0, 1, … where nothing is said."""
    batch = BatchSize(BATCH)
    places = torch.arange(len(examples)) if places is None else places
    answers = [
        target.answer(examples[first : first + _CHUNK].pixels(device), batch, places[first : first + _CHUNK])
        for first in range(0, len(examples), _CHUNK)
    ]

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(answer, name).cpu() for answer in answers])

    return CleanPass(
        predicted=joined("predicted"),
        confidence=joined("confidence"),
        lead=joined("lead"),
        least_likely=joined("least_likely"),
        suspicion=joined("suspicion") if target.detector else None,
        finite=joined("finite"),
        certified=target.certified(examples, device),
    )
