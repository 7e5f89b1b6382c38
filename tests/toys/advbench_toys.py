"""Plugins so small that a whole run of them takes a second: what the tests of the command line evaluate."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench import (
    Access,
    AdvbenchError,
    Attack,
    Data,
    DataFolders,
    Dataset,
    Defense,
    Draws,
    Examples,
    Model,
    Problem,
    Recipe,
    hookimpl,
)

COLUMNS = ((0, 1, 2), (5, 6, 7), (3, 4))


@dataclass(frozen=True)
class Blots(Dataset):
    """Three kinds of blots."""

    name = "toy-blots"
    shape = (1, 8, 8)
    class_names = ("left", "right", "middle")

    def load(self, folders: DataFolders) -> Data:
        ids = torch.arange(90)
        labels = ids % 3
        images = 0.3 * Draws(0, self.name, ids).uniform(1, 8, 8)
        for label, columns in enumerate(COLUMNS):
            for column in columns:
                images[labels == label, :, :, column] += 0.6
        every = Examples(images, labels, ids)
        return Data(every[:45], every[45:60], every[60:], "made here")

    def find(self, folders: DataFolders) -> str:
        return "made here"


@dataclass(frozen=True)
class Secret(Blots):
    """Blots that nobody may see."""

    name = "toy-secret"
    publishable = False


@dataclass(frozen=True)
class Nowhere(Blots):
    """Blots that nobody has downloaded."""

    name = "toy-nowhere"

    def load(self, folders: DataFolders) -> Data:
        raise AdvbenchError("toy-nowhere: its images are not here; put blots.npz into a folder given by --data")

    def find(self, folders: DataFolders) -> None:
        return None


def network(seed: int, scale: float) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        convolution, linear = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(256, 3)
    with torch.no_grad():
        linear.weight *= 0.02
        columns = torch.arange(8).repeat(8).repeat(4)
        for label, wanted in enumerate(COLUMNS):
            linear.weight[label] += scale * torch.isin(columns, torch.tensor(wanted)).float() * 0.05
        convolution.weight.abs_()
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), linear)


@dataclass(frozen=True)
class Ready(Model):
    """A network that tells the blots apart without training."""

    name = "toy"

    seed: int = 0
    scale: float = 1.0

    def build(self, dataset: Dataset) -> nn.Module:
        return network(self.seed, self.scale)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


@dataclass(frozen=True)
class Trainee(Model):
    """The same architecture, to be trained."""

    name = "toy-trainee"

    def build(self, dataset: Dataset) -> nn.Module:
        return network(0, 0.0)

    def recipe(self, dataset: Dataset) -> Recipe:
        return Recipe(epochs=4, batch=15, learning_rate=0.01, floor=0.5)


@dataclass(frozen=True)
class Crashing(Model):
    """Breaks when it is built."""

    name = "toy-crashing"

    def build(self, dataset: Dataset) -> nn.Module:
        raise ValueError("no such layer")

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


@dataclass(frozen=True)
class Sulking(Attack):
    """Raises an error in the middle, with an escape sequence in it."""

    name = "toy-sulking"
    threats = frozenset({"linf"})
    needs = Access.LABELS

    def perturb(self, problem: Problem) -> Tensor:
        raise RuntimeError("not \x1b[31mtoday\x1b[0m")


@dataclass(frozen=True)
class Sleeping(Attack):
    """Asks its problem nothing, and takes its time over it."""

    name = "toy-sleeping"
    threats = frozenset({"linf"})
    needs = Access.LABELS

    seconds: int = 0

    def perturb(self, problem: Problem) -> Tensor:
        time.sleep(self.seconds)
        return problem.start()


@dataclass(frozen=True)
class Doubting(Defense):
    """Suspects dark images."""

    name = "toy-doubting"
    detects = True
    differentiable = True

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return -images.flatten(1).mean(1)


@dataclass(frozen=True)
class Measuring(Doubting):
    """The same in another unit."""

    name = "toy-measuring"

    unit: float = 1e-3

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return super().suspicion(net, images) * self.unit


@dataclass(frozen=True)
class Dice(Defense):
    """Dims images by what no seed repeats."""

    name = "toy-dice"

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return Dimmed(net)


class Dimmed(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.net(x * (1 - 0.01 * random.random()))
        return answers


@hookimpl
def advbench_datasets() -> list[Dataset]:
    return [Blots(), Secret(), Nowhere()]


@hookimpl
def advbench_models() -> list[Model]:
    return [Ready(), Trainee(), Crashing()]


@hookimpl
def advbench_attacks() -> list[Attack]:
    return [Sulking(), Sleeping()]


@hookimpl
def advbench_defenses() -> list[Defense]:
    return [Doubting(), Measuring(), Dice()]
