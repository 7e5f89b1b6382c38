"""Training by recipe: the same recipe, seed and data give the same weights on the same machine."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from advbench.data import Data, Examples
from advbench.errors import AdvbenchError, PluginError
from advbench.plugin import Defense
from advbench.recipe import Recipe
from advbench.target.identity import TargetPlan
from advbench.threads import one_thread
from advbench.weights.checkpoint import Checkpoint
from advbench.weights.descent import Descent

Progress = Callable[[float, str], None]
"""Told the fraction done, from 0 to 1, and what is happening."""
TRIED_STEPS, TRIED_SECONDS = 5, 1.0
"""How much of a training is tried to estimate it: so many steps after the first, or so long."""


@dataclass(frozen=True)
class TrainedResult:
    """Weights on the CPU, rounded as they will be stored, and how good they are on the calibration part."""

    state: dict[str, Tensor]
    accuracy: float
    epochs: int
    seconds: float
    hardware: str


def train(
    plan: TargetPlan,
    data: Data,
    recipe: Recipe | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> TrainedResult:
    """Train the model behind those of the defenses that change training, in their order.

    `checkpoint` is a file for what an interrupted training goes on from; it must belong to this training alone.
    """
    recipe = recipe or effective_recipe(plan)
    if recipe is None:
        raise AdvbenchError(f"{plan.model.label}: has no recipe to train it by; it comes with its weights")
    device = torch.device(device)
    started = time.perf_counter()
    with _reproducible(recipe.seed, device):
        kept = Checkpoint(checkpoint, device) if checkpoint else None
        descent = Descent(_training_part(plan), data.train, recipe, device)
        _descend(descent, progress or _silent, kept)
        net = descent.net
        net.load_state_dict({key: rounded(value) for key, value in net.state_dict().items()})
        right = accuracy(net, data.calibrate, device)
    if right < recipe.floor:
        raise PluginError(
            f"{descent.who}: {right:.1%} right after training on {plan.dataset.name}, below the {recipe.floor:.1%} "
            "that its recipe asks for; look at the data and at the parameters, or bring weights: "
            f"{plan.model.name}(weights=FILE)"
        )
    state = {key: value.cpu() for key, value in net.state_dict().items()}
    return TrainedResult(state, right, recipe.epochs, time.perf_counter() - started, hardware(device))


def estimate(
    plan: TargetPlan,
    data: Data,
    recipe: Recipe,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
) -> float:
    """About how many seconds `train` would take here, from a few steps of it, of which nothing stays.

    What an interrupted training has behind it, as `checkpoint` says, does not count.
    """
    device = torch.device(device)
    with _reproducible(recipe.seed, device):
        done = Checkpoint(checkpoint, device).epochs() if checkpoint else 0
        descent = Descent(_training_part(plan), data.train, recipe, device)
        batches = itertools.cycle(descent.order(0))
        took = []
        # the first step is slower than the others; in the middle of a training, defenses do all that they ever do
        for turn in range(1 + TRIED_STEPS):
            began = time.perf_counter()
            float(descent.step(0, next(batches), descent.steps // 2))  # a GPU is waited for
            took.append(time.perf_counter() - began)
            if turn and sum(took) > TRIED_SECONDS:
                break
    return statistics.median(took[1:]) * descent.batches * max(0, recipe.epochs - done)


def training_defenses(defenses: Sequence[Defense]) -> list[Defense]:
    """The defenses that weights depend on: what changes training, and what a network is trained behind."""
    last = max((place for place, defense in enumerate(defenses) if defense.trains), default=-1)
    return list(defenses[: last + 1])


def _training_part(plan: TargetPlan) -> TargetPlan:
    """The plan without the defenses that leave no trace in the weights."""
    return replace(plan, defenses=tuple(training_defenses(plan.defenses)))


def effective_recipe(plan: TargetPlan) -> Recipe | None:
    """The model's recipe, as its defenses want it; None where the model comes with its weights."""
    recipe = plan.model.recipe(plan.dataset)
    for defense in training_defenses(plan.defenses):
        # what the network reached by itself is not to be expected behind what changes its training
        recipe = replace(defense.training_recipe(recipe), expected=0.0) if recipe else None
    return recipe


def accuracy(net: nn.Module, examples: Examples, device: torch.device | str = "cpu", batch: int = 500) -> float:
    """The share of the examples that the network gets right."""
    net.eval()
    right = 0
    with torch.no_grad():
        for first in range(0, len(examples), batch):
            part = examples[first : first + batch]
            right += int((net(part.pixels(device)).argmax(1).cpu() == part.labels).sum())
    return right / max(len(examples), 1)


def rounded(value: Tensor) -> Tensor:
    """Rounded to float16 and back, so that what is stored is what was measured; unchanged where that is too narrow."""
    if value.dtype != torch.float32:
        return value
    half = value.half().float()
    # largest number of float16, and its smallest normal one: beyond either, rounding would lose more than the last bits
    largest = value.abs().amax() if value.numel() else value.new_zeros(())
    return half if largest == 0 or 6.2e-5 < largest < 65504 else value


def hardware(device: torch.device | str) -> str:
    """The hardware in words, to be stored beside a training time."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, 1 thread"


def _silent(fraction: float, text: str) -> None:
    """Progress that is told to nobody."""


@contextmanager
def _reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """A seeded torch, initialisation and dropout included, that leaves the caller's random state as it was.

    In one thread: bits depend on how many there are, and several trainings are performed beside each other.
    """
    devices = [device] if device.type == "cuda" else []
    with (
        one_thread(),
        torch.random.fork_rng(devices=devices),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        torch.manual_seed(seed)
        yield


def _descend(descent: Descent, progress: Progress, checkpoint: Checkpoint | None) -> None:
    """Every step of the recipe, or those that are left of a training that was cut off."""
    epochs, total = descent.recipe.epochs, descent.steps
    first = checkpoint.resume(descent.net, descent.optimizer, descent.schedule) if checkpoint else 0
    done, text = first * descent.batches, f"goes on after epoch {first}" if first else "first epoch"
    for epoch in range(first, epochs):
        epoch_loss = torch.zeros((), device=descent.device)
        for index in descent.order(epoch):
            epoch_loss += descent.step(epoch, index, done)
            done += 1
            progress(done / total, text)
        mean = float(epoch_loss) / descent.batches  # once an epoch: on a GPU every look at the loss waits for it
        if not math.isfinite(mean):
            raise PluginError(
                f"{descent.who}: the loss is no longer a number in epoch {epoch + 1} of {epochs}; "
                "lower the learning rate"
            )
        text = f"epoch {epoch + 1} of {epochs}, loss {mean:.3f}"
        progress(done / total, text)
        if checkpoint:
            checkpoint.keep(epoch + 1, descent.net, descent.optimizer, descent.schedule)
