"""Table 2: the layers of the two networks as they are built here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from advbench import Analysis, Finding, Findings, Inputs, Material
from advbench_studies.equivariant2019.networks import FOOLED, NETWORKS


@dataclass(frozen=True)
class Architectures(Analysis):
    """Sizes that are read from the networks' own layers, by position in the table."""

    name = "architectures"

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=tuple(NETWORKS[network] for network in FOOLED))

    def find(self, material: Material) -> Findings:
        numbers = []
        for network in FOOLED:
            wanted = NETWORKS[network]
            net = material.target(wanted.dataset, wanted.model, wanted.defense).base
            for position, sizes in enumerate(layers(net), 1):
                for parameter, value in sizes.items():
                    name = layer_name(network, position, parameter)
                    numbers.append(Finding(name, value, value, value))
        return Findings(tuple(numbers))


def layer_name(network: str, position: int, parameter: str) -> str:
    return f"{network} · layer {position} · {parameter}"


def layers(net: nn.Module) -> Iterator[dict[str, float]]:
    """Those that the table lists, in order: a P4 convolution has a weight of five axes, and a bias for each channel."""
    for module in net.modules():
        if isinstance(module, nn.MaxPool2d):
            yield {"pool_h": _side(module.kernel_size, 0), "pool_w": _side(module.kernel_size, 1)}
        elif isinstance(module, nn.Dropout):
            yield {"rate": module.p}
        elif isinstance(module, nn.Linear):
            yield {"units": module.out_features}
        elif (weight := getattr(module, "weight", None)) is not None and weight.ndim >= 4:
            yield {"channels": weight.shape[0], "kernel_h": weight.shape[-2], "kernel_w": weight.shape[-1]}


def _side(size: int | tuple[int, ...], place: int) -> int:
    return size if isinstance(size, int) else size[place]
