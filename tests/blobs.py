"""Blots that need no training, networks that tell them apart, and a suite over both: for tests of whole runs.

Other processes import it, which test modules can't be.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from advbench import Access, Attack, Data, Dataset, Defense, Examples, Model, Problem, Recipe, SharedProblem
from advbench.data import DataFolders
from advbench.draws import Draws
from advbench.plugins.registry import Registry
from advbench.suite.suite import Suite, suite_from_mapping
from advbench_attacks.fgsm import FGSM
from advbench_attacks.noise import Noise
from advbench_attacks.pgd import PGD
from advbench_defenses.none import Undefended

EXAMPLES = 24


@dataclass(frozen=True)
class Blobs(Dataset):
    """Three kinds of blots, so small that everything is fast."""

    name = "blobs"
    shape = (1, 8, 8)
    class_names = ("left", "right", "middle")

    count: int = EXAMPLES

    def load(self, folders: DataFolders) -> Data:
        ids = torch.arange(self.count)
        labels = ids % 3
        images = 0.3 * Draws(0, "blobs", ids).uniform(1, 8, 8)
        for label, columns in enumerate((slice(0, 3), slice(5, 8), slice(3, 5))):
            images[labels == label, :, :, columns] += 0.6
        all_of_them = Examples(images, labels, ids)
        return Data(all_of_them[:0], all_of_them[:6], all_of_them[6:] if self.count > 6 else all_of_them, "made here")

    def find(self, folders: DataFolders) -> str | None:
        return "made here"


@dataclass(frozen=True)
class Small(Model):
    """A seeded network that needs no training to tell the blots apart."""

    name = "small"

    seed: int = 0
    scale: float = 1.0

    def build(self, dataset: Dataset) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            convolution, linear = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(256, 3)
        with torch.no_grad():
            linear.weight *= 0.02
            columns = torch.arange(8).repeat(8).repeat(4)
            for label, wanted in enumerate(((0, 1, 2), (5, 6, 7), (3, 4))):
                linear.weight[label] += self.scale * torch.isin(columns, torch.tensor(wanted)).float() * 0.05
            convolution.weight.abs_()
        return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), linear)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


@dataclass(frozen=True)
class Raising(Attack):
    """Fails in the middle."""

    name = "raising"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS

    def perturb(self, problem: Problem) -> Tensor:
        problem.gradient(problem.start())
        raise ValueError("lost\nits way")


@dataclass(frozen=True)
class Slow(Attack):
    """Takes its time, so that a kill lands inside a cell."""

    name = "slow"
    threats = frozenset({"linf", "l2", "wasserstein", "rotate-shift"})
    needs = Access.GRADIENTS

    steps: int = 4
    pause: float = 0.01

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start(random=True)
        for _ in range(self.steps):
            time.sleep(self.pause)
            p = problem.project(p + 0.6 * problem.eps * problem.ascent(p))
        return p


@dataclass(frozen=True)
class ForAll(Attack):
    """One perturbation for a set: the mean of the steps of all."""

    name = "for-all"
    threats = frozenset({"linf"})
    needs = Access.GRADIENTS
    scope = "set"

    def perturb(self, problem: SharedProblem) -> Tensor:
        step = problem.ascent(problem.start()).mean(0, keepdim=True)
        return problem.project(problem.eps * step.sign())


@dataclass(frozen=True)
class FailsLater(Attack):
    """Fails in the second shard, where the first has been stored."""

    name = "fails-later"
    threats = frozenset({"linf"})
    needs = Access.LABELS

    def perturb(self, problem: Problem) -> Tensor:
        if EXAMPLES - 8 in problem.draws.ids.tolist():
            raise ValueError("in the second shard")
        return problem.start()


@dataclass(frozen=True)
class Vandal(Attack):
    """Sets a weight of its target to zero."""

    name = "vandal"
    threats = frozenset({"linf"})
    needs = Access.LABELS

    def perturb(self, problem: Problem) -> Tensor:
        with torch.no_grad():
            next(problem._target._answering.net.parameters()).zero_()  # type: ignore[attr-defined]
        return problem.start()


@dataclass(frozen=True)
class Leaves(Attack):
    """Ends its process."""

    name = "leaves"
    threats = frozenset({"linf"})
    needs = Access.LABELS

    def perturb(self, problem: Problem) -> Tensor:
        os._exit(5)


@dataclass(frozen=True)
class Doubting(Defense):
    """Suspects dark images."""

    name = "doubting"
    detects: ClassVar[bool] = True
    differentiable: ClassVar[bool] = True

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return -images.flatten(1).mean(1)


@dataclass(frozen=True)
class Trained(Small):
    """The same, but it has to be trained first."""

    name = "trained"

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return Recipe(epochs=200, batch=3)


def registry() -> Registry:
    found = Registry()
    for attack in (Noise(), FGSM(), PGD(), Raising(), Slow(), ForAll(), FailsLater(), Vandal(), Leaves()):
        found.attacks[attack.label] = attack
    for model in (Small(), Trained()):
        found.models[model.label] = model
    for defense in (Undefended(), Doubting()):
        found.defenses[defense.label] = defense
    found.datasets["blobs"] = Blobs()
    return found


def suite(**changes: Any) -> Suite:
    return suite_from_mapping(
        {
            "data": "blobs",
            "models": ["small", "small(seed=1)"],
            "attacks": ["noise", "fgsm", "pgd(steps=5)"],
            "threats": ["linf(eps=0.2)", "rotate-shift", "wasserstein(eps=0.5, kernel=3)"],
            "shard": 7,
            **changes,
        },
        registry(),
    )
