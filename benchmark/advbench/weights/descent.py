"""Gradient descent by recipe, step by step: what training walks down, and what an estimate tries a few steps of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from advbench.data import Examples
from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.plugin import Defense
from advbench.recipe import Recipe
from advbench.target.identity import TargetPlan, chain_label
from advbench.target.trial import Trial, wrapped


class Descent:
    """A network on its way down over the recipe's epochs, in an order that depends on seed and ids alone."""

    def __init__(self, plan: TargetPlan, examples: Examples, recipe: Recipe, device: torch.device) -> None:
        """Begin with an untrained network; the plan's defenses change training, or are what it is trained behind."""
        self.who = " behind ".join(filter(None, (plan.model.label, chain_label(plan.defenses))))
        """The target in words, for messages."""
        if not len(examples):
            raise AdvbenchError(
                f"{self.who}: the data set has no training part; give the model weights instead: weights=FILE"
            )
        self.net = net = plan.model.build(plan.dataset).to(device)
        self.model, self.examples, self.recipe, self.device = plan.model, examples, recipe, device
        self.batches = math.ceil(len(examples) / recipe.batch)
        """In an epoch."""
        self.steps = recipe.epochs * self.batches
        """In all."""
        self.optimizer = _optimizer(net, recipe)
        self.schedule = _schedule(self.optimizer, recipe, self.steps)
        self.trainers: list[tuple[Defense, nn.Module]] = []
        """Defenses that change training, each with the network as attackers will see it."""
        self.front: nn.Module = nn.Identity()
        """What stands before the network."""
        seen = net
        trial = Trial.of(examples, plan.dataset.classes, device)
        for defense in plan.defenses:
            if defense.trains:
                self.trainers.append((defense, seen))
            else:
                inner = seen
                seen, self.front = (wrapped(defense, one, examples[:0]) for one in (seen, self.front))
                net.eval()
                trial.ask_behind(defense, seen, inner)

    def order(self, epoch: int) -> tuple[Tensor, ...]:
        """Batches of nearly equal size: a last batch of one would upset batch norm."""
        draws = Draws(self.recipe.seed, f"train/order/{epoch}", self.examples.ids)
        return draws.uniform().flatten().argsort(stable=True).tensor_split(self.batches)

    def step(self, epoch: int, index: Tensor, done: int) -> Tensor:
        """One step on these examples, `done` steps after the first; the loss before it."""
        recipe = self.recipe
        batch = self.examples[index]
        images, labels, ids = (part.to(self.device) for part in (batch.pixels(self.device), batch.labels, batch.ids))
        if recipe.shift:
            images = random_shift(images, recipe.shift, Draws(recipe.seed, f"train/shift/{epoch}", ids))
        if recipe.flip:
            mirrored = Draws(recipe.seed, f"train/flip/{epoch}", ids).integers(2) == 0
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
        self.net.eval()  # a defense sees the network as an attacker will: batch statistics frozen, no dropout
        for defense, behind in self.trainers:
            draws = Draws(recipe.seed, f"train/{defense.label}/{epoch}", ids)
            images, labels = defense.training_batch(behind, images, labels, draws, done / self.steps)
        self.net.train()
        loss = self.model.loss(self.net, self.front(images), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()


def random_shift(images: Tensor, most: int, draws: Draws) -> Tensor:
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
