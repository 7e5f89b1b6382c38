"""Which networks stand for the paper's on each data set, and how tables call them."""

from __future__ import annotations

CONVNET, CAPSNET = "ConvNet", "CapsNet"
"""The paper's two kinds."""
KINDS = (CONVNET, CAPSNET)

DATASETS = {"MNIST": "mnist", "Fashion-MNIST": "fashion-mnist", "SVHN": "svhn", "CIFAR10": "cifar10"}
"""Names in the paper's tables and ours."""
GREY = ("mnist", "fashion-mnist")
"""Data sets whose networks ship with advbench."""

KIN = {CONVNET: "wong2019", CAPSNET: "capsnet-r"}
"""Another network of each kind, on MNIST."""


def network(kind: str, dataset: str) -> str:
    """The label of the network: on CIFAR-10 the paper's capsules are a modified DCNet."""
    if kind == CONVNET:
        return "convnet"
    return "dcnet" if dataset == "cifar10" else "capsnet"


def other(kind: str) -> str:
    return CAPSNET if kind == CONVNET else CONVNET
