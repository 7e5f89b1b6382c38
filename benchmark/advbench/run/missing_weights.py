"""Targets whose weights are not here: which they are, and how long it would take to train them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from advbench.data import Data
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset
from advbench.plugins.foreign import spare_others
from advbench.recipe import Recipe
from advbench.run.part import Part
from advbench.target.identity import TargetPlan, chain_label, target_label
from advbench.weights.training import estimate, hardware, training_defenses
from advbench.weights.weight_files import cached_path, unfinished_path
from advbench.weights.weights import recipe_to_train, weights_key

LONGEST = 600.0
"""Seconds of training, of all networks together, that a run begins unasked."""
ASK = "add --train (in Python: train=True), or run first"


@dataclass(frozen=True)
class MissingWeights:
    """Weights that would have to be trained; defenses that do not train share them."""

    target: TargetPlan
    """The first that needs them."""
    data: Data
    recipe: Recipe
    key: str

    @property
    def label(self) -> str:
        return target_label(self.target.model, tuple(training_defenses(self.target.defenses)))

    @property
    def command(self) -> str:
        """What makes them ahead of a run."""
        words = ["advbench", "train", self.target.model.label, "--dataset", self.target.dataset.label]
        if chain := training_defenses(self.target.defenses):
            words += ["--defense", chain_label(tuple(chain))]
        return shlex.join(words)

    def seconds(self, device: torch.device) -> float:
        """About how long their training takes here; less where one was cut off that can go on."""
        unfinished = unfinished_path(self.key)
        return estimate(self.target, self.data, self.recipe, device, unfinished)


def missing_weights(targets: Iterable[TargetPlan], datasets: Mapping[Dataset, Data]) -> Iterator[MissingWeights]:
    """The weights that are lacking, each once.

    A target whose plugin fails when it is asked is left to whoever makes it ready.
    """
    seen = set()
    for target in targets:
        data = datasets[target.dataset]
        recipe = None
        with spare_others(target.label):
            recipe = recipe_to_train(target, data)
        if recipe is None:
            continue
        key = weights_key(target, data, recipe)
        if key not in seen:
            seen.add(key)
            yield MissingWeights(target, data, recipe, key)


def refuse_long_training(lacking: Iterable[MissingWeights], device: torch.device, ask: str = ASK) -> None:
    """Raise where training takes long, one or all together, in a line that says how long and how to ask for it."""
    total = 0.0
    for one in lacking:
        seconds = 0.0
        with spare_others(one.label):
            seconds = one.seconds(device)
        total += seconds
        if total > LONGEST:
            where = one.target.dataset.label
            basis = f"estimated from a few steps of its {one.recipe.epochs} epochs on {hardware(device)}"
            before = f", after others that take {roughly(total - seconds)}," if total > seconds else ""
            raise AdvbenchError(
                f"{one.label} has no weights on this machine, and training it on {where} takes about "
                f"{roughly(seconds)}{before} ({basis}); {ask}: {one.command}"
            )


def refuse_own_training(lacking: Sequence[MissingWeights], part: Part) -> None:
    """Parts that train for themselves get other bits each, and cells of other weights never join."""
    if lacking:
        several = f" and {len(lacking) - 1} more networks" if len(lacking) > 1 else ""
        raise AdvbenchError(
            f"--part {part}: {lacking[0].label}{several} must be trained before a run is cut into parts, since weights "
            f"that are trained apart differ; run `advbench train SUITE` with this suite once, and copy the folder "
            f"{cached_path('').parent} to every machine"
        )


def roughly(seconds: float) -> str:
    """An estimate in no more figures than it has."""
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} minutes"
    return f"{round(seconds / 3600):,} hours" if seconds < 172_800 else f"{round(seconds / 86_400):,} days"
