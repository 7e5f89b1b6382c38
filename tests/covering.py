"""Runs a covering set of everything that is built in: `python tests/covering.py`.

Every compatible pair of model and defense, of defense and attack, of attack and threat meets at least once, on four
examples, at the parameters that attacks declare for being tried out, on networks trained for a moment. A cell that
fails, or a pair that neither runs nor has a reason, is an error.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from unittest.mock import patch

import torch

from advbench.data import Data, DataFolders, Examples
from advbench.errors import NotInstalledError
from advbench.plugin import Attack, Dataset, Defense, Model
from advbench.plugins.compatibility import why_no_target, why_not
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.plugins.values import configure, core_threat
from advbench.recipe import Recipe
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store
from advbench.suite.suite import suite_from_mapping
from advbench.target.identity import chain_label, target_label

EXAMPLES = 4
HASTE: dict[str, Any] = {
    "epochs": 4,
    "batch": 16,
    "learning_rate": 2e-3,
    "schedule": "constant",
    "optimizer": "adam",
    "weight_decay": 0.0,
    "shift": 0,
    "flip": False,
    "floor": 0.0,
}
"""Enough to be right about most blots: an example that is wrong anyway gives an attack nothing to do."""
BALLS = (
    "linf(eps=0.2)",
    "l2(eps=1)",
    "rotate-shift(degrees=20, pixels=2)",
    "wasserstein(eps=0.3, kernel=5)",
    "corruption(eps=0.5)",
    "box",
)
CHAINS = (
    "adversarial-training+reconstruction",
    "binarize+reconstruction",
    "binarize+adversarial-training",
    "augment(degrees=20)+kde-prior",
    "jpeg+reconstruction",
)
"""Beside every defense by itself; those whose parts are there."""
SMALL: dict[str, dict[str, Any]] = {
    "capsnet": {"types": 4},
    "capsnet-all": {"kernels": 16, "types": 4},
    "capsnet-r": {"kernels": 16, "types": 4},
    "convnet": {"width": 8},
    "dcnet": {"growth": 8, "layers": 2, "types": 2},
    "deepcaps": {"kernels": 16, "types": 4},
    "em-capsnet": {"channels": 8, "types": 4},
    "roteqnet": {"angles": 4},
    "torchvision": {"name": "shufflenet_v2_x0_5"},
}
"""Parameters that make networks cheap enough to be trained once behind every defense."""
LEFT_OUT = frozenset({"transfer", "repeat"})
"""They take up the perturbations of a database; `test_transfer_attack.py` makes one."""


@dataclass(frozen=True)
class Blots(Dataset):
    """Four corners, one of them bright: learnt in a moment."""

    name = "blots"
    shape = (1, 28, 28)
    class_names = tuple("0123")

    def load(self, folders: DataFolders) -> Data:
        return Data(self.part(0, 160), self.part(1000, 80), self.part(2000, EXAMPLES))

    def find(self, folders: DataFolders) -> str | None:
        return "made as it is asked for"

    def part(self, first: int, count: int) -> Examples:
        labels = torch.arange(count) % 4
        generator = torch.Generator().manual_seed(first)
        images = 0.1 * torch.rand(count, *self.shape, generator=generator)
        size = self.shape[1] // 2
        for image, label in zip(images, labels.tolist(), strict=True):
            top, left = label // 2 * size, label % 2 * size
            image[:, top : top + size, left : left + size] += 0.9
        return Examples(images, labels, torch.arange(first, first + count))


@dataclass(frozen=True)
class ColourBlots(Blots):
    """The same in the shape of CIFAR-10, for what takes nothing else."""

    name = "colour-blots"
    shape = (3, 32, 32)


@dataclass
class Meeting:
    """A target and what meets it."""

    dataset: Dataset
    model: Model
    defenses: tuple[Defense, ...]
    cells: set[tuple[str, str, str]] = field(default_factory=set)
    """Ball, attack, goal."""

    @property
    def target(self) -> tuple[Model, tuple[Defense, ...]]:
        return self.model, self.defenses

    @property
    def label(self) -> str:
        return target_label(*self.target)

    @cached_property
    def size(self) -> int:
        """Parameters of the network: the smallest stand for the others."""
        if self.model.name in SMALL:  # few parameters, but slow
            return 10**9
        return sum(parameter.numel() for parameter in self.model.build(self.dataset).parameters())

    def suites(self) -> Iterator[dict[str, Any]]:
        """One for each goal."""
        for goal in sorted({goal for _, _, goal in self.cells}):
            boards = []
            for ball in BALLS:
                if attacks := sorted(attack for b, attack, g in self.cells if (b, g) == (ball, goal)):
                    boards.append({ball: {"attacks": attacks}})
            yield {
                "data": [self.dataset.label],
                "models": [self.model.label],
                "defenses": [chain_label(self.defenses)],
                "examples": EXAMPLES,
                "goals": [goal],
                "threats": boards,
            }


def meetings(registry: Registry, datasets: Sequence[Dataset]) -> tuple[list[Meeting], Counter[str]]:
    """The covering set, and how many pairs of model and defense don't meet, by reason."""
    chains = [(cheap(defense),) for defense in registry.defenses.values()]
    chains += [registry.defense(c) for c in CHAINS if all(known(part, registry) for part in c.split("+"))]
    found: list[Meeting] = []
    reasons: Counter[str] = Counter()
    models = [configure(model, SMALL.get(model.name, {})) for model in registry.models.values()]
    for model, chain in itertools.product(models, chains):
        refusals = [why_no_target(model, chain, dataset) for dataset in datasets]
        if None in refusals:
            found.append(Meeting(datasets[refusals.index(None)], model, chain))
        else:
            reasons[str(refusals[0])] += 1
    attacks = [tried(attack) for attack in registry.attacks.values() if attack.name not in LEFT_OUT and here(attack)]
    for attack in attacks:
        spread(attack, found)
    for meeting in found:
        if not meeting.cells:  # another model stands for its defense; it still has to be attacked once
            attack = next(
                a for a in attacks if why_not(a, core_threat(BALLS[0]), "untargeted", *meeting.target) is None
            )
            meeting.cells.add((BALLS[0], attack.label, "untargeted"))
    return found, reasons


def here(attack: Attack) -> bool:
    """Whether the library that it calls is installed."""
    try:
        attack.content()
    except NotInstalledError:
        return False
    return True


def known(part: str, registry: Registry) -> bool:
    return part.partition("(")[0] in registry.defenses


def tried(attack: Attack) -> Attack:
    return configure(attack, dict(attack.trial))


def cheap(defense: Defense) -> Defense:
    # turned all the way round, one corner is as good as another
    return configure(defense, {"degrees": 20.0} if defense.name == "augment" else dict(defense.trial))


def spread(attack: Attack, found: Sequence[Meeting]) -> None:
    """A cell with every defense that it fits, and one in every ball with every goal that it serves."""
    serves: dict[tuple[str, str], list[Meeting]] = {}
    for ball, goal in itertools.product(BALLS, ("untargeted", "random")):
        fitting = [m for m in found if why_not(attack, core_threat(ball), goal, *m.target) is None]
        if fitting:
            serves[ball, goal] = sorted(fitting, key=lambda meeting: meeting.size)
    if not serves:
        raise SystemExit(f"{attack.label} serves no ball of any target: widen BALLS")
    left = list(serves)
    for chain in dict.fromkeys(meeting.defenses for meeting in found):
        able = [way for way in serves if any(m.defenses == chain for m in serves[way])]
        if able:
            way = next((way for way in left if way in able), able[0])
            left = [other for other in left if other != way]
            meeting = next(m for m in serves[way] if m.defenses == chain)
            meeting.cells.add((way[0], attack.label, way[1]))
    for way in left:
        serves[way][0].cells.add((way[0], attack.label, way[1]))


def hurried(registry: Registry) -> None:
    """Networks are trained for a moment, and may be as bad as they like."""
    for kind in {type(model) for model in registry.models.values()}:
        original = kind.recipe

        def recipe(self: Model, dataset: Dataset, original: Any = original) -> Recipe | None:
            given: Recipe | None = original(self, dataset)
            return given and replace(given, **HASTE)

        patch.object(kind, "recipe", recipe).start()


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--list", action="store_true", help="say what would meet, and run nothing")
    options.add_argument("--only", default="", help="only targets whose label holds this")
    given = options.parse_args()
    torch.set_num_threads(1)
    datasets = [Blots(), ColourBlots()]
    registry = discover()
    registry = replace(registry, datasets={**registry.datasets, **{d.name: d for d in datasets}})
    hurried(registry)
    found, reasons = meetings(registry, datasets)
    cells = sum(len(meeting.cells) for meeting in found)
    print(f"{len(found)} targets, {cells} cells; {sum(reasons.values())} pairs of model and defense don't meet:")
    for reason, count in sorted(reasons.items()):
        print(f"  {count:3d} × {reason}")
    failed: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ADVBENCH_CACHE"] = folder
        for meeting in found:
            if given.only in meeting.label:
                started = time.monotonic()
                right, wrong = (math.nan, []) if given.list else met(meeting, registry)
                failed += wrong
                said = f"{meeting.label}: {len(meeting.cells)} cells, {right:.0%} right"
                print(f"{time.monotonic() - started:6.1f} s  {said}", flush=True)
    print(f"{time.monotonic() - began:.0f} s, {len(failed)} failures")
    print("\n".join(failed))
    return bool(failed)


def met(meeting: Meeting, registry: Registry) -> tuple[float, list[str]]:
    """The share of examples that the target gets right by itself, and what went wrong."""
    wrong: list[str] = []
    ran, right = 0, math.nan
    for mapping in meeting.suites():
        with Store.memory() as store:
            summary = run(suite_from_mapping(mapping, registry), store, registry, Settings(train=True))
            right = store.rows("SELECT avg(predicted = label) AS share FROM clean")[0]["share"]
        wrong += [f"{label}: {reason}" for label, reason in summary.failed]
        ran += summary.done
    if ran != len(meeting.cells):
        wrong.append(f"{meeting.label}: {ran} of {len(meeting.cells)} cells ran")
    return right, wrong


if __name__ == "__main__":
    sys.exit(main())
