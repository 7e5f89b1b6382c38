"""Small data and networks on which plugins are tried, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench.access import Access
from advbench.data import Data, DataFolders, Examples
from advbench.draws import Draws
from advbench.plugin import Dataset, Defense, Model
from advbench.recipe import Recipe
from advbench.target.target import Target
from advbench.threats import L2, Linf, RotateShift, Threat, Wasserstein, is_core

BALLS: dict[str, Threat] = {
    "linf": Linf(0.1),
    "l2": L2(0.8),
    "rotate-shift": RotateShift(),
    "wasserstein": Wasserstein(0.4, kernel=3),
}


def tried(ball: Threat) -> Threat:
    """The ball at the radius at which attacks are tried in it."""
    return BALLS.get(ball.name, ball) if is_core(ball) else ball


@dataclass(frozen=True)
class StageData(Dataset):
    """Random images, made on the spot."""

    name: ClassVar[str] = "stage"
    shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def find(self, folders: DataFolders) -> str:
        return "made on the spot"

    def load(self, folders: DataFolders) -> Data:
        every = Examples(images(64, self.shape), torch.arange(64) % self.classes, torch.arange(64))
        return Data(every[:32], every[32:48], every[48:], self.find(folders))

    def __reduce__(self) -> tuple[Any, ...]:
        return data_of, (self.shape, self.classes)


def data_of(shape: tuple[int, int, int], classes: int = 10) -> Dataset:
    """Random images of this shape."""
    kind = type("StageData", (StageData,), {"shape": shape, "class_names": tuple(str(k) for k in range(classes))})
    dataset: Dataset = kind()
    return dataset


def images(count: int, shape: tuple[int, ...], first: int = 0) -> Tensor:
    """Images with dark, bright and half-bright pixels, no two of them alike."""
    pixels = Draws(0, "stage/images", torch.arange(first, first + count)).uniform(*shape, low=-0.4, high=1.1)
    return pixels.clamp_(0, 1)


class StageNet(nn.Module):
    """Convolution, batch norm and pooling with fixed random weights, not trained for anything."""

    feature_layer = "body"

    def __init__(self, shape: tuple[int, int, int], classes: int = 10) -> None:
        super().__init__()
        self.shape = shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(shape[0], 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(3),
                nn.Flatten(),
            )
            self.head = nn.Linear(144, classes, bias=False)
            self.painter = nn.Linear(classes, shape[0] * shape[1] * shape[2])
        # features differ little between images of noise: centred, so that classes are not one and the same
        self.register_buffer("centre", torch.zeros(144))
        with torch.no_grad():
            self.eval()
            self.centre = self.body(images(64, shape, first=1000)).mean(0)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = 30 * self.head(self.body(x) - self.centre)
        return answer

    def reconstruct(self, x: Tensor, classes: Tensor) -> Tensor:
        """An image in [0, 1] from one class's logit."""
        logits = self(x)
        chosen = logits * F.one_hot(classes, logits.shape[1])
        redrawn: Tensor = self.painter(chosen).sigmoid().view(-1, *self.shape)
        return redrawn


class Steadfast(nn.Module):
    """Always of class 0, whatever the image; its gradients say otherwise."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits + 1e4 * F.one_hot(torch.zeros(len(x), dtype=torch.int64, device=x.device), logits.shape[1])


class Flat(nn.Module):
    """Says the same of every image: class 0, with a gradient that is zero."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        same = torch.linspace(0.1, 0, self.classes, device=x.device)
        return x.flatten(1).sum(1, keepdim=True) * 0 + same


class Speechless(nn.Module):
    """Answers NaN as soon as the image's first pixel has moved from dark: no number, no gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return torch.where(x.flatten(1)[:, :1] > 0.5, torch.nan, logits)


class HalfSpace(nn.Module):
    """Two classes on the two sides of a plane: the distance to it is known in closed form."""

    weight: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        weight = Draws(0, "stage/plane", torch.zeros(1, dtype=torch.int64)).normal(*shape)
        self.register_buffer("weight", weight / weight.norm())

    def side(self, x: Tensor) -> Tensor:
        return (x * self.weight).flatten(1).sum(1)

    def forward(self, x: Tensor) -> Tensor:
        side = 10 * self.side(x - 0.5)
        return torch.stack((-side, side), 1)

    def beside(self, count: int, distance: float) -> Tensor:
        """Images of class 1, so far from the plane in l2."""
        x = 0.5 + 0.2 * (images(count, self.weight.shape[1:]) - 0.5)
        return x + (distance - self.side(x - 0.5)).view(-1, 1, 1, 1) * self.weight

    def margin(self, norm: str, distance: float) -> float:
        """The distance to the boundary of a linear network in another norm, by Hölder's inequality."""
        return distance / float(self.weight.abs().sum()) if norm == "linf" else distance


@dataclass(frozen=True)
class Roughness(Defense):
    """Suspects images whose neighbouring pixels differ."""

    name: ClassVar[str] = "stage-roughness"
    detects: ClassVar[bool] = True
    differentiable: ClassVar[bool] = True

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return images.diff(dim=-1).square().flatten(1).mean(1)


@dataclass(frozen=True)
class StageModel(Model):
    """The kit's network."""

    name: ClassVar[str] = "stage"
    offers: ClassVar[Access] = Access.ALL

    net: nn.Module = field(default_factory=nn.Identity)

    def build(self, dataset: Dataset) -> nn.Module:
        return self.net

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


def target_of(net: nn.Module, shape: tuple[int, int, int], classes: int) -> Target:
    """A target that offers everything, suspicion included."""
    net = net.eval().requires_grad_(False)
    detector = Roughness()
    return Target(
        key="stage",
        label="the kit's network",
        model=StageModel(net=net),
        defenses=(detector,),
        dataset=data_of(shape, classes),
        net=net,
        base=net,
        detector=(detector, net),
        threshold=0.2,
        access=Access.ALL,
        weights_sha256="",
    )
