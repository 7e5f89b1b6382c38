"""A network of layers in a row that have names, one of which describes what an image shows."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


class NamedLayers(nn.Sequential):
    """Layers in a row; `feature_layer` is what `Model.feature_layer` declares, for `advbench.layers`."""

    def __init__(self, layers: dict[str, nn.Module], feature_layer: str) -> None:
        super().__init__(OrderedDict(layers))
        self.feature_layer = feature_layer

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return logits
