"""Held-out images at which a decision-based attack may start: noise seldom belongs to the class that it aims at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from advbench.data import Data, Examples
from advbench.goal import Goal

PER_CLASS = 32
"""Images of every class, where there are so many."""
LARGEST = 2**24
"""Bytes of all together: of large images there are fewer."""


@dataclass(frozen=True)
class Bank:
    """Images with the labels that the data give them; what the target calls them is to be asked, and counted."""

    examples: Examples

    @classmethod
    def of(cls, data: Data) -> Bank:
        """The first images of every class of the part to calibrate on, which nobody is judged on."""
        held_out = data.calibrate
        order = held_out.labels.argsort(stable=True)
        labels = held_out.labels[order].contiguous()
        turn = torch.empty_like(order)  # how many of its class come before an image
        turn[order] = torch.arange(len(order)) - torch.searchsorted(labels, labels)
        places = turn.argsort(stable=True)
        room = LARGEST // max(1, held_out.images[:1].nbytes)
        return cls(held_out[places[turn[places] < PER_CLASS][:room]])

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def fingerprint(self) -> str:
        return self.examples.fingerprint

    def to(self, device: torch.device) -> Bank:
        """A copy on the device, so that an attack that writes into it changes no other's."""
        images, labels = (part.to(device, copy=True) for part in (self.examples.images, self.examples.labels))
        return Bank(replace(self.examples, images=images, labels=labels))

    def nearest(self, x: Tensor, goal: Goal) -> Tensor:
        """(N, bank) places in the bank for each image: those whose label reaches the goal, then the others.

        Both in the order of their distance, in l2. None of it asks the target anything.
        """
        bank = self.examples.pixels(x.device).flatten(1).double()
        # by pairs: as a product of matrices, distances would depend on the batch in their last bits
        pairs = torch.cdist(x.flatten(1).double(), bank, compute_mode="donot_use_mm_for_euclid_dist")
        reached = Goal(goal.labels.view(-1, 1), goal.targeted).reached(self.examples.labels)
        furthest = bank.shape[1]  # no two images in [0, 1] are so far from each other
        return torch.where(reached, pairs, pairs + furthest).argsort(dim=1, stable=True)

    def images(self, places: Tensor) -> Tensor:
        """A fresh copy of the images at these places, whatever the shape of `places`."""
        picked = self.examples.images[places.flatten()]
        pixels = picked.float().div_(255) if picked.dtype == torch.uint8 else picked
        return pixels.view(*places.shape, *pixels.shape[1:])
