"""CNN+R, which redraws what it sees from its whole penultimate layer (Qin et al., 2020, arXiv:1907.02957).

The paper: "the only difference between the CNN reconstruction (CNN+R) and the CNN conditional reconstruction (CNN+CR)
is the masking procedure". So layers, loss and choices are those of `cnn-cr`, logits as sums of groups included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from advbench import Dataset
from advbench_models.cnn_cr import CnnCr, ReconstructingNet
from advbench_models.common.qin2020 import sizes


@dataclass(frozen=True)
class CnnR(CnnCr):
    """CNN+R: the network of `cnn-cr`, but nothing is masked; it redraws the same whatever the class."""

    name = "cnn-r"
    reached: ClassVar[Mapping[str, float]] = {"mnist": 0.995}

    def build(self, dataset: Dataset) -> nn.Module:
        usual = sizes(dataset)
        width, group = self.width or usual.width, self.group or usual.dimension
        return ReconstructingNet(dataset, width, group, conditional=False)
