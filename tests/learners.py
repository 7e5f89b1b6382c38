"""Networks that have to be trained, some of which can't be, and a suite over them; other processes import it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from blobs import Blobs
from torch import Tensor, nn

from advbench import Data, Dataset, Model, Recipe
from advbench.data import DataFolders, Examples
from advbench.plugins.registry import Registry
from advbench.suite.suite import Suite, suite_from_mapping
from advbench_attacks.fgsm import FGSM
from advbench_defenses.adversarial_training import AdversarialTraining
from advbench_defenses.none import Undefended


@dataclass(frozen=True)
class Taught(Blobs):
    """Blots of which some are to learn from."""

    name = "taught"

    def load(self, folders: DataFolders) -> Data:
        made = super().load(folders)
        again = made.judge.images[:, :, :, torch.arange(7, -1, -1)]  # mirrored: left is right
        labels = torch.tensor([1, 0, 2])[made.judge.labels]
        return Data(Examples(again, labels, made.judge.ids), made.calibrate, made.judge, "made here")


@dataclass(frozen=True)
class Learner(Model):
    """A network large enough for threads to share its sums."""

    name = "learner"

    seed: int = 0
    epochs: int = 2
    width: int = 300
    pause: float = 0.0

    def build(self, dataset: Dataset) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, self.width), nn.Dropout(0.1),
            nn.ReLU(), nn.Linear(self.width, dataset.classes),
        )  # fmt: skip

    def recipe(self, dataset: Dataset) -> Recipe:
        return Recipe(epochs=self.epochs, batch=9, learning_rate=0.003, seed=self.seed)

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        time.sleep(self.pause)
        return super().loss(net, images, labels)


@dataclass(frozen=True)
class Hopeless(Learner):
    """Never reaches what its recipe asks for."""

    name = "hopeless"

    def recipe(self, dataset: Dataset) -> Recipe:
        return Recipe(epochs=1, batch=9, learning_rate=1e-9, floor=0.99)


@dataclass(frozen=True)
class Leaving(Learner):
    """Ends the process that trains it."""

    name = "leaving"

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        os._exit(7)


@dataclass(frozen=True)
class Meeting(Learner):
    """Goes on when so many others have come to the same folder, as only those do that are trained beside it."""

    name = "meeting"

    folder: str = ""
    others: int = 1

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        (Path(self.folder) / str(self.seed)).touch()
        until = time.monotonic() + 60
        while len(list(Path(self.folder).iterdir())) <= self.others:
            assert time.monotonic() < until, "nobody came"
            time.sleep(0.01)
        return super().loss(net, images, labels)


def registry() -> Registry:
    found = Registry()
    found.attacks["fgsm"] = FGSM()
    for model in (Learner(), Hopeless(), Leaving(), Meeting()):
        found.models[model.label] = model
    for defense in (Undefended(), AdversarialTraining()):
        found.defenses[defense.label] = defense
    found.datasets["taught"] = Taught()
    return found


def suite(*models: str, **changes: Any) -> Suite:
    return suite_from_mapping(
        {"data": "taught", "models": list(models), "attacks": ["fgsm"], "threats": ["linf(eps=0.2)"], **changes},
        registry(),
    )
