"""Training by recipe: the same recipe, seed and data give the same weights on the same machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from advbench.checkpoint import Checkpoint
from advbench.data import Data, Examples
from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset, Defense, Model
from advbench.probe import Probe, wrapped
from advbench.recipe import Recipe

Progress = Callable[[float, str], None]
"""Told the fraction done, from 0 to 1, and what is happening."""


@dataclass(frozen=True)
class TrainedResult:
    """Weights on the CPU, rounded as they will be stored, and how good they are on the calibration part."""

    state: dict[str, Tensor]
    accuracy: float
    epochs: int
    seconds: float
    hardware: str


def train(
    model: Model,
    defenses: Sequence[Defense],
    dataset: Dataset,
    data: Data,
    recipe: Recipe | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> TrainedResult:
    """Train the model behind those of the defenses that change training, in their order.

    `checkpoint` is a file for what an interrupted training goes on from; it must belong to this training alone.
    """
    defenses = training_defenses(defenses)
    recipe = recipe or effective_recipe(model, defenses, dataset)
    if recipe is None:
        raise AdvbenchError(f"{model.label}: has no recipe to train it by; it comes with its weights")
    device = torch.device(device)
    who = " behind ".join(filter(None, (model.label, "+".join(defense.label for defense in defenses))))
    started = time.perf_counter()
    with _reproducible(recipe.seed, device):
        net = model.build(dataset).to(device)
        kept = Checkpoint(checkpoint, device) if checkpoint else None
        _descend(net, model, defenses, data.train, dataset.classes, recipe, device, who, progress or _silent, kept)
        net.load_state_dict({key: rounded(value) for key, value in net.state_dict().items()})
        right = accuracy(net, data.calibrate, device)
    if right < recipe.floor:
        raise AdvbenchError(
            f"{who}: {right:.1%} right after training on {dataset.name}, below the {recipe.floor:.1%} that its recipe "
            f"asks for; look at the data and at the parameters, or bring weights: {model.name}(weights=FILE)"
        )
    state = {key: value.cpu() for key, value in net.state_dict().items()}
    return TrainedResult(state, right, recipe.epochs, time.perf_counter() - started, hardware(device))


def training_defenses(defenses: Sequence[Defense]) -> list[Defense]:
    """Those that the weights depend on: what changes training, and what a network is trained behind."""
    last = max((place for place, defense in enumerate(defenses) if defense.trains), default=-1)
    return list(defenses[: last + 1])


def effective_recipe(model: Model, defenses: Sequence[Defense], dataset: Dataset) -> Recipe | None:
    """The model's recipe, as its defenses want it; None where the model comes with its weights."""
    recipe = model.recipe(dataset)
    for defense in training_defenses(defenses):
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
    """In words, for the record beside a time."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} thread{'s'[: torch.get_num_threads() != 1]}"


def _silent(fraction: float, text: str) -> None:
    """Nobody listens."""


@contextmanager
def _reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """A seeded torch, initialisation and dropout included, that leaves the caller's random state as it was."""
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        torch.manual_seed(seed)
        yield


def _descend(
    net: nn.Module,
    model: Model,
    defenses: Sequence[Defense],
    examples: Examples,
    classes: int,
    recipe: Recipe,
    device: torch.device,
    who: str,
    progress: Progress,
    checkpoint: Checkpoint | None,
) -> None:
    """Gradient descent over the recipe's epochs, in an order that depends on seed and ids alone."""
    if not len(examples):
        raise AdvbenchError(f"{who}: the data set has no training part; give the model weights instead: weights=FILE")
    batches = math.ceil(len(examples) / recipe.batch)
    total = recipe.epochs * batches
    optimizer = _optimizer(net, recipe)
    schedule = _schedule(optimizer, recipe, total)
    first = checkpoint.resume(net, optimizer, schedule) if checkpoint else 0
    trainers: list[tuple[Defense, nn.Module]] = []
    seen = net  # as attackers will see it
    front: nn.Module = nn.Identity()  # what stands before the network
    probe = Probe.of(examples, classes, device)
    for defense in defenses:
        if defense.trains:
            trainers.append((defense, seen))
        else:
            inner = seen
            seen, front = (wrapped(defense, one, examples[:0]) for one in (seen, front))
            net.eval()
            probe.ask_behind(defense, seen, inner)
    done, text = first * batches, f"goes on after epoch {first}" if first else "first epoch"
    for epoch in range(first, recipe.epochs):
        order = Draws(recipe.seed, f"train/order/{epoch}", examples.ids).uniform().flatten().argsort(stable=True)
        epoch_loss = torch.zeros((), device=device)
        for index in order.tensor_split(batches):  # near-equal batches: a last batch of one would upset batch norm
            batch = examples[index]
            images, labels, ids = batch.pixels(device), batch.labels.to(device), batch.ids.to(device)
            if recipe.shift:
                images = shifted(images, recipe.shift, Draws(recipe.seed, f"train/shift/{epoch}", ids))
            if recipe.flip:
                mirrored = Draws(recipe.seed, f"train/flip/{epoch}", ids).integers(2) == 0
                images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
            net.eval()  # a defense sees the network as an attacker will: batch statistics frozen, no dropout
            for defense, behind in trainers:
                draws = Draws(recipe.seed, f"train/{defense.label}/{epoch}", ids)
                images, labels = defense.training_batch(behind, images, labels, draws, done / total)
            net.train()
            loss = model.loss(net, front(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            epoch_loss += loss.detach()
            done += 1
            progress(done / total, text)
        mean = float(epoch_loss) / batches  # once an epoch: on a GPU every look at the loss waits for it
        if not math.isfinite(mean):
            raise AdvbenchError(
                f"{who}: the loss is no longer a number in epoch {epoch + 1} of {recipe.epochs}; "
                "lower the learning rate"
            )
        text = f"epoch {epoch + 1} of {recipe.epochs}, loss {mean:.3f}"
        progress(done / total, text)
        if checkpoint:
            checkpoint.keep(epoch + 1, net, optimizer, schedule)


def shifted(images: Tensor, most: int, draws: Draws) -> Tensor:
    """Each image moved by its own whole number of pixels, at most `most` each way; what comes in is black."""
    _, _, height, width = images.shape
    down, right = draws.integers(2 * most + 1, 2).unbind(1)
    rows = torch.arange(height, device=images.device) + down[:, None]
    columns = torch.arange(width, device=images.device) + right[:, None]
    padded = torch.nn.functional.pad(images, (most, most, most, most))
    example = torch.arange(len(images), device=images.device)
    return padded[example[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    weights = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            weights, recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
        )
    return torch.optim.Adam(weights, recipe.learning_rate, weight_decay=recipe.weight_decay)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> lr_scheduler.LRScheduler:
    if recipe.schedule == "one-cycle":
        # from a tenth up over the first quarter, down to nothing over the rest; momentum left alone
        def factor(step: int) -> float:
            done = step / max(steps, 1)
            return 0.1 + 0.9 * done / 0.25 if done < 0.25 else max(0.0, (1 - done) / 0.75)
    elif recipe.schedule == "cosine":

        def factor(step: int) -> float:
            return 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))
    elif recipe.schedule == "exponential":
        # to a hundredth in the end
        def factor(step: int) -> float:
            return float(0.01 ** (step / max(steps, 1)))
    else:

        def factor(step: int) -> float:
            return 1.0

    return lr_scheduler.LambdaLR(optimizer, factor)
