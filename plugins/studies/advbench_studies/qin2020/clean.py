"""Errors and false alarms on clean test images, and how large the networks are."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Analysis, Finding, Findings, Inputs, Material, Wanted, share
from advbench_studies.qin2020.redrawing import distances
from advbench_studies.qin2020.suites import named


def clean_name(what: str, dataset: str, network: str) -> str:
    """The name of a finding of `Clean`."""
    return f"{what} · {dataset} · {network}"


@dataclass(frozen=True)
class Clean(Analysis):
    """The first test images: wrong, wrong and not flagged, flagged; and the numbers of the network's parameters.

    The threshold is the one that the study's cells were judged by.
    """

    name = "clean"

    dataset: str = ""
    network: str = ""
    count: int = 1000

    @property
    def inputs(self) -> Inputs:
        return Inputs((named("standard", self.dataset, self.network),), (Wanted(self.dataset, self.network),))

    def find(self, material: Material) -> Findings:
        examples = material.data(self.dataset).judge[: self.count]
        winners, far = distances(material, self.dataset, self.network, examples.pixels())
        threshold = material.cells(self.inputs.suites[0])[0].source.threshold
        assert threshold is not None, "the paper's detector has a threshold"
        wrong, flagged = winners != examples.labels, far > threshold
        net = material.target(self.dataset, self.network).net
        n = len(examples)

        def name(what: str) -> str:
            return clean_name(what, self.dataset, self.network)

        return Findings(
            (
                share(name("error"), int(wrong.sum()), n),
                share(name("undetected error"), int((wrong & ~flagged).sum()), n),
                share(name("alarms"), int(flagged.sum()), n),
                Finding(name("threshold"), threshold),
                Finding(name("parameters"), float(sum(one.numel() for one in net.parameters()))),
            )
        )
