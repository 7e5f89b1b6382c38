"""What it costs to see whether an attack changed its target, beside cheap cells: `python tests/guard_cost.py`."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torchvision
from torch import nn

from advbench import Attack, Examples
from advbench.crafting.cell import Job, Rules, Shard, craft
from advbench.crafting.condition import Condition
from advbench.problem.batches import BatchSize
from advbench.testing.stage import images, target_of
from advbench.threats import Linf
from advbench_attacks.fgsm import FGSM
from advbench_attacks.pgd import PGD


def spent(work: Callable[[], object], rounds: int) -> float:
    """Seconds of processor time, the least of several rounds."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def cells(net: nn.Module, shape: tuple[int, int, int], classes: int, count: int, attacks: list[Attack]) -> None:
    target = target_of(net, shape, classes)
    x = images(count, shape)
    answer = target.answer(x, BatchSize(64))
    examples = Examples(x, answer.predicted, torch.arange(count))
    shard = Shard(0, 0, count, examples, answer.predicted, answer.predicted, answer.lead)
    once = spent(lambda: Condition.of(target.networks), 5)

    def cell(attack: Attack) -> float:
        job = Job(attack, Linf(0.001), False, target, Rules(stop="end"), 64, "cpu", (shard,))
        return spent(lambda: list(craft(job)), 3)

    for attack in attacks:
        whole = cell(attack)
        print(
            f"{type(net).__name__} on {count} images of {shape}, {attack.label}: {2e3 * once:.2f} ms of "
            f"{1e3 * whole:.0f} ms, {200 * once / whole:.2f} %"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    mnist = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 10)
    )
    cells(mnist, (1, 28, 28), 10, 500, [FGSM(), PGD(steps=40)])
    cells(torchvision.models.resnet18(), (3, 224, 224), 1000, 8, [FGSM()])
