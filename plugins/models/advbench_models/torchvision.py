"""Any image classifier of torchvision by its name (https://docs.pytorch.org/vision/stable/models.html)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from advbench import AdvbenchError, Dataset, Model, Recipe, did_you_mean
from advbench_models.common.normalisation import IMAGENET, Normalisation

_OFFICIAL = re.compile(r"[A-Z0-9_]+")
_FEATURES = {"vgg": "net.classifier.1", "alexnet": "net.classifier.2"}


@dataclass(frozen=True)
class Torchvision(Model):
    """A classifier of torchvision: `weights=DEFAULT` takes its official ImageNet weights, a file is a file."""

    name = "torchvision"
    reference = "https://docs.pytorch.org/vision/stable/models.html"

    architecture: str = field(default="resnet18", metadata={"parameter": "name"})

    def __post_init__(self) -> None:
        if self.architecture == "resnet18":
            return  # torchvision takes a second to import: not for a name that is known to be right
        from torchvision import models

        known = models.list_models(module=models)
        if self.architecture not in known:
            raise AdvbenchError(
                f"torchvision: no classifier {self.architecture!r}{did_you_mean(self.architecture, known)}; "
                "torchvision.models.list_models() lists them"
            )

    @property
    def feature_layer(self) -> str:
        """The first of the layers of 4,096 units, after its ReLU; only VGG and AlexNet have them."""
        return next((layer for family, layer in _FEATURES.items() if self.architecture.startswith(family)), "")

    @property
    def official(self) -> bool:
        """Whether `weights` names weights of torchvision's own, as DEFAULT or IMAGENET1K_V1, and no file."""
        return bool(_OFFICIAL.fullmatch(self.weights))

    @property
    def weights_file(self) -> Path | None:
        return None if self.official else super().weights_file

    def why_not(self, dataset: Dataset) -> str | None:
        if self.official and dataset.classes != 1000:
            return (
                f"its official weights know the 1,000 classes of ImageNet, not the {dataset.classes} of "
                f"{dataset.name}; leave them out to train it, or name a file"
            )
        return None

    def build(self, dataset: Dataset) -> nn.Module:
        from torchvision import models

        if self.official:
            weights = self._official_weights()
            try:
                net = models.get_model(self.architecture, weights=weights)
            except (OSError, RuntimeError) as error:  # RuntimeError: what came has not the sum that was due
                raise AdvbenchError(
                    f"torchvision: the official weights of {self.architecture} are not on this machine and can't be "
                    f"downloaded ({' '.join(str(error).split())}); lay {weights.url} into the folder of "
                    "torch.hub.get_dir(), or name a file of your own: weights=FILE"
                ) from error
        else:
            # two old families warn about their slow initialisation unless told which one to take
            slow = {"init_weights": True} if self.architecture in ("googlenet", "inception_v3") else {}
            net = models.get_model(self.architecture, weights=None, num_classes=dataset.classes, **slow)
        return ImageNetClassifier(net, self.feature_layer)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        if self.official:
            return None
        return Recipe(epochs=30, batch=128, optimizer="sgd", learning_rate=0.05, weight_decay=5e-4, shift=2)

    def _official_weights(self) -> Any:
        from torchvision import models

        offered = models.get_model_weights(self.architecture)
        if self.weights not in offered.__members__:
            names = ", ".join(("DEFAULT", *(weights.name for weights in offered)))
            raise AdvbenchError(
                f"torchvision: {self.architecture} has no official weights {self.weights!r}, but {names}"
            )
        return offered[self.weights]


class ImageNetClassifier(nn.Module):
    """Pixels in [0, 1], grey ones repeated over three channels, normalised as torchvision's weights expect."""

    def __init__(self, net: nn.Module, feature_layer: str = "") -> None:
        super().__init__()
        self.feature_layer = feature_layer
        self.normalisation = Normalisation(*IMAGENET)
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        colour = images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)
        answer = self.net(self.normalisation(colour))
        # Inception and GoogLeNet answer with auxiliary logits beside, while they train
        logits = answer if isinstance(answer, Tensor) else answer.logits
        assert isinstance(logits, Tensor)
        return logits
