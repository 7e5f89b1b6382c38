"""Weights by content: what they depend on is their key, so nothing else can be mistaken for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advbench.data import Data
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset, Model
from advbench.recipe import Recipe
from advbench.target.identity import TargetPlan
from advbench.weights.training import (
    Progress,
    TrainedResult,
    accuracy,
    effective_recipe,
    hardware,
    train,
    training_defenses,
)
from advbench.weights.weight_files import (
    MANIFEST,
    cached_path,
    file_digest,
    load_weights,
    manifest,
    note_cost,
    save_weights,
    state_digest,
    unfinished_path,
    weights_folders,
)

FORMAT = 1
"""Raised when training or storing changes so much that older weights must not be taken for new ones."""


@dataclass(frozen=True)
class FoundWeights:
    """A network with its weights, in eval mode on the CPU, and where they come from."""

    net: nn.Module
    sha256: str
    """The digest of the file, or of the tensors where the model brought them itself."""
    origin: str
    """In words: shipped, cached, trained just now, or a file's name."""
    recipe: Recipe | None = None
    path: Path | None = None
    accuracy: float | None = None
    """On the calibration part, when they were made."""

    @property
    def state_dict(self) -> dict[str, Tensor]:
        return self.net.state_dict()


@dataclass(frozen=True)
class WeightsCheck:
    """Kept weights beside weights trained again by the same recipe."""

    origin: str
    kept_accuracy: float
    retrained_accuracy: float
    largest_difference: float
    """Between two weights at the same place; zero on the machine that made them."""
    seconds: float
    hardware: str

    @property
    def agrees(self) -> bool:
        """Another machine rounds otherwise and ends elsewhere, but not at another accuracy."""
        return abs(self.kept_accuracy - self.retrained_accuracy) <= 0.02


def weights_key(plan: TargetPlan, data: Data, recipe: Recipe) -> str:
    """A hash of everything that the weights depend on; defenses that do not train leave no trace."""
    content = {
        "format": FORMAT,
        "model": plan.model.name,
        "params": {key: value for key, value in plan.model.params().items() if key != "weights"},
        "defenses": [[defense.name, defense.params()] for defense in training_defenses(plan.defenses)],
        "recipe": recipe.content(),
        "classes": plan.dataset.classes,
        "data": data.train.fingerprint,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def find_weights(plan: TargetPlan, data: Data) -> FoundWeights | None:
    """Weights that need no training: a named file, the model's own, shipped, kept in a folder, or cached; else None."""
    model, dataset = plan.model, plan.dataset
    recipe = effective_recipe(plan)
    path = model.weights_file
    if (path or recipe is None) and (trainers := training_defenses(plan.defenses)):
        raise AdvbenchError(f"{model.label} comes with its weights, so {trainers[-1].label} can't train it")
    if path:
        state, header = load_weights(path)
        return FoundWeights(
            fitted(model, dataset, state, path, _own_words(header)),
            file_digest(path),
            str(path),
            _recipe_of(header),
            path,
            _accuracy_of(header),
        )
    if recipe is None:
        net = model.build(dataset).eval()
        return FoundWeights(net, state_digest(net.state_dict()), "comes with the model")
    key = weights_key(plan, data, recipe)
    if shipped := _find_shipped(key):
        folder, entry = shipped
        path = folder / entry["file"]
        state, header = load_weights(path)
        digest = file_digest(path)
        if digest != entry["sha256"]:
            raise AdvbenchError(
                f"{path}: not the file that {folder / MANIFEST} describes (sha256 {digest[:12]}…); install it again"
            )
        net = fitted(model, dataset, state, path)
        return FoundWeights(net, digest, f"shipped: {path}", recipe, path, _accuracy_of(header))
    path = cached_path(key)
    if not path.is_file():
        return None
    remedy = f"delete it, and it will be trained again: rm {path}"
    state, header = load_weights(path, remedy)
    if header.get("key") != key or header.get("content") != state_digest(state):
        raise AdvbenchError(f"{path}: the cached weights are damaged; {remedy}")
    return FoundWeights(
        fitted(model, dataset, state, path, remedy),
        file_digest(path),
        f"cached: {path}",
        recipe,
        path,
        _accuracy_of(header),
    )


def recipe_to_train(plan: TargetPlan, data: Data) -> Recipe | None:
    """The recipe by which weights would have to be made, or None where there are some; a named file must be there."""
    recipe = effective_recipe(plan)
    if path := plan.model.weights_file:
        if not path.is_file():
            load_weights(path)  # which says what is wrong
        return None
    if recipe is None:
        return None
    key = weights_key(plan, data, recipe)
    return None if _find_shipped(key) or cached_path(key).is_file() else recipe


def _find_shipped(key: str) -> tuple[Path, dict[str, Any]] | None:
    """The first folder that has them, and what its manifest says of them."""
    entries = ((folder, manifest(folder).get(key)) for folder in weights_folders())
    return next(((folder, entry) for folder, entry in entries if entry), None)


def obtain_weights(
    plan: TargetPlan,
    data: Data,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> FoundWeights:
    """Weights that are there, or else trained now and cached."""
    weights = find_weights(plan, data)
    if weights:
        return weights
    recipe = effective_recipe(plan)
    assert recipe is not None  # else they came with the model
    key = weights_key(plan, data, recipe)
    trained = train(plan, data, recipe, device, progress, unfinished_path(key))
    path = keep_trained(plan, recipe, key, trained)
    net = fitted(plan.model, plan.dataset, trained.state, path)
    return FoundWeights(net, file_digest(path), f"trained just now: {path}", recipe, path, trained.accuracy)


def keep_trained(plan: TargetPlan, recipe: Recipe, key: str, trained: TrainedResult) -> Path:
    """Put what was trained into the cache, where it is found by its key; the file."""
    path = cached_path(key)
    save_weights(path, trained.state, describe(plan, recipe, key, trained.accuracy))
    note_cost(path, trained.seconds, trained.hardware)
    unfinished_path(key).unlink(missing_ok=True)
    return path


def check_weights(
    plan: TargetPlan,
    data: Data,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> WeightsCheck:
    """Train weights that are kept once more, and compare the two."""
    weights = find_weights(plan, data)
    recipe = effective_recipe(plan)
    if weights is None or recipe is None or plan.model.weights_file:
        raise AdvbenchError(f"{plan.model.label}: no weights are kept that a recipe made; nothing to compare with")
    trained = train(plan, data, recipe, device, progress)
    kept = weights.state_dict
    difference = max(float((kept[key].double() - value.double()).abs().max()) for key, value in trained.state.items())
    return WeightsCheck(
        weights.origin,
        accuracy(weights.net, data.calibrate),
        trained.accuracy,
        difference,
        trained.seconds,
        hardware(device),
    )


def describe(plan: TargetPlan, recipe: Recipe, key: str, right: float) -> dict[str, Any]:
    """What a weights file says of itself; nothing in it differs between two trainings on one machine."""
    return {
        "format": FORMAT,
        "key": key,
        "model": plan.model.label,
        "defenses": [defense.label for defense in training_defenses(plan.defenses)],
        "dataset": plan.dataset.label,
        "recipe": recipe.params(),
        "accuracy": right,
    }


def fitted(model: Model, dataset: Dataset, state: Mapping[str, Tensor], path: Path, remedy: str = "") -> nn.Module:
    """The model's network with these weights, in eval mode; what does not fit is an error that names it."""
    with torch.random.fork_rng(devices=[]):  # initial weights that are thrown away need no random numbers of anybody's
        net = model.build(dataset)
    wanted = net.state_dict()
    state = _with_names_wanted(state, wanted)
    where = f"{path}: not the weights of {model.label} on {dataset.label}"
    hint = remedy or "name the model and the parameters that they were trained with"
    for key, value in wanted.items():
        if key not in state:
            raise AdvbenchError(f"{where}: {key!r} is missing; {hint}")
        if state[key].shape != value.shape:
            shapes = f"{tuple(state[key].shape)} instead of {tuple(value.shape)}"
            raise AdvbenchError(f"{where}: {key!r} has the shape {shapes}; {hint}")
        if state[key].is_floating_point() != value.is_floating_point():
            raise AdvbenchError(f"{where}: {key!r} holds {state[key].dtype}, not {value.dtype}; {hint}")
    for key in state:
        if key not in wanted:
            raise AdvbenchError(f"{where}: {key!r} is unexpected; {hint}")
    net.load_state_dict(state)
    return net.eval()


def _with_names_wanted(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors under the network's names, where it holds the file's network inside, as those of torchvision are held."""
    for holder in {key.partition(".")[0] for key in wanted}:
        renamed = {f"{holder}.{key}": value for key, value in state.items()}
        if renamed.keys() == wanted.keys():
            return renamed
    return state


def _own_words(header: Mapping[str, Any]) -> str:
    """What a file that training made says it is for; nothing where it says nothing."""
    if not {"model", "dataset"} <= header.keys():
        return ""
    return f"the file says it is for {header['model']!r} on {header['dataset']!r}"


def _recipe_of(header: Mapping[str, Any]) -> Recipe | None:
    recipe = header.get("recipe")
    known = {field.name for field in fields(Recipe)}
    return Recipe(**recipe) if isinstance(recipe, dict) and recipe.keys() <= known else None


def _accuracy_of(header: Mapping[str, Any]) -> float | None:
    right = header.get("accuracy")
    return float(right) if isinstance(right, int | float) else None
