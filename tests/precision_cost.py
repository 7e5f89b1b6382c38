"""What lower precision, channels-last and folded batch norm do to a pass: `python tests/precision_cost.py [NAME …]`,
and what lower precision does to whole attacks: `python tests/precision_cost.py cells`.

A pass is an attack's: forward, cross-entropy and the gradient of the input, of a frozen network in evaluation mode. One
thread, processor time, everybody in turns. Printed is the time of each variant over that of float32, the median of the
ratios of all rounds: below 1 it is faster. Behind it stand how far its logits lie from those of float32 at most, as a
share of the spread of an image's logits, the lowest cosine of the input's gradients among nine in ten of the images,
and whether all bits are the same. About six minutes.

Weights are those that ship where there are some; else the network as it is built, after its batch norm has seen images.
Of cells the time in bf16 over that in float32 is printed, the confirming passes included, and what both reach, as the
referee says. About ten minutes.
"""

from __future__ import annotations

import copy
import math
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F

from advbench.crafting.cell import Job, Rules, Shard, craft
from advbench.data import DataFolders
from advbench.errors import AdvbenchError
from advbench.goal import Goal
from advbench.plugin import Attack, Dataset, Model
from advbench.plugins import data_intake
from advbench.plugins.discovery import discover
from advbench.problem.batches import BatchSize
from advbench.problem.precision import Precision
from advbench.problem.problem import Stop
from advbench.problem.supplies import Supplies
from advbench.run.boards import judged_examples
from advbench.run.hardware import make_repeatable
from advbench.run.ready import Ready, Workshop
from advbench.run.supplies import supplies
from advbench.target.identity import TargetPlan
from advbench.target.referee import judge, render
from advbench.testing.stage import images
from advbench.threats import Threat
from advbench.weights.weights import find_weights, fitted

ROUNDS = 9
SECONDS = 0.15
"""Of processor time that a variant gets in a round, or one pass."""

NETWORKS = (
    ("small-cnn", "mnist-5k"),
    ("wong2019", "mnist"),
    ("convnet", "mnist"),
    ("capsnet", "mnist"),
    ("vgg-small", "cifar10"),
    ("convnet", "cifar10"),
    ("torchvision(name=resnet18)", "cifar10"),
    ("efficientnet-lite0", "imagenet-samples"),
    ("torchvision(name=resnet18)", "imagenet-samples"),
)

CPU = torch.device("cpu")
CELL_ROUNDS = 3
ROBUST = "adversarial-training"
CELLS: tuple[tuple[str, str, str, str, str, Stop, int], ...] = (
    ("small-cnn", "mnist-5k", ROBUST, "pgd(steps=40)", "linf(eps=0.3)", "first", 200),
    ("small-cnn", "mnist-5k", ROBUST, "pgd(steps=40)", "linf(eps=0.3)", "end", 200),
    ("small-cnn", "mnist-5k", ROBUST, "apgd", "linf(eps=0.3)", "first", 200),
    ("small-cnn", "mnist-5k", ROBUST, "square(queries=500)", "linf(eps=0.3)", "first", 200),
    ("small-cnn", "mnist-5k", "none", "fmn(steps=100)", "l2", "end", 200),
    ("small-cnn", "mnist-5k", "none", "ddn(steps=100)", "l2", "end", 200),
    ("small-cnn", "mnist-5k", "none", "boundary(queries=500)", "l2", "end", 50),
    ("convnet", "mnist", "none", "pgd(steps=40)", "linf(eps=0.1)", "first", 100),
    ("convnet", "mnist", "none", "pgd(steps=40)", "linf(eps=0.1)", "end", 100),
    ("convnet", "mnist", "none", "fmn(steps=100)", "l2", "end", 100),
)


@dataclass(frozen=True)
class Variant:
    """A network and how it is asked."""

    name: str
    net: nn.Module
    autocast: bool = False
    channels_last: bool = False

    def layout(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def __call__(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the gradient of the cross-entropy."""
        p = torch.zeros_like(x).requires_grad_()
        around: AbstractContextManager[object] = (
            torch.autocast("cpu", torch.bfloat16) if self.autocast else nullcontext()
        )
        with around:
            logits = self.net(self.layout(x + p))
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), labels, reduction="sum"), p)
        return logits.detach().float(), gradient


def variants(net: nn.Module, x: Tensor) -> list[Variant]:
    """Those that the network can be had as, float32 first."""
    found = [Variant("float32", net), Variant("bf16", net, autocast=True)]
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)
    found += [
        Variant("channels-last", last, channels_last=True),
        Variant("bf16, channels-last", last, autocast=True, channels_last=True),
    ]
    if (folded := with_folds(net)) is not None:
        both = copy.deepcopy(folded).to(memory_format=torch.channels_last)
        found += [
            Variant("folded", folded),
            Variant("folded, channels-last", both, channels_last=True),
            Variant("folded, bf16", folded, autocast=True),
            Variant("folded, bf16, channels-last", both, autocast=True, channels_last=True),
        ]
    return found


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def with_folds(net: nn.Module) -> nn.Module | None:
    """A copy with batch norm folded into the convolutions before it, as far as it can be traced; else None."""
    net = copy.deepcopy(net)
    before = norms(net)
    net = _folded(net)
    if before:
        print(f"  folded: {before - norms(net)} of {before} batch norms")
    return net.eval().requires_grad_(False) if norms(net) < before else None


def _folded(net: nn.Module) -> nn.Module:
    if not norms(net):
        return net
    try:
        return fuse(net)
    except Exception:  # what can't be traced may have parts that can
        for name, child in net.named_children():
            setattr(net, name, _folded(child))
        return net


def network(model: Model, dataset: Dataset, x: Tensor) -> tuple[nn.Module, str]:
    """With weights that ship, or as it is built."""
    try:
        found = find_weights(TargetPlan(dataset, model), dataset.load(DataFolders.default()))
        if found is None or found.path is None:
            raise AdvbenchError("none ship")
        net, whose = fitted(model, dataset, found.state_dict, found.path), "shipped weights"
    except AdvbenchError:
        torch.manual_seed(0)
        net, whose = model.build(dataset), "no weights"
        with torch.no_grad():  # so that activations have the sizes of a trained network's
            net.train()
            for _ in range(10):
                net(x[:16])
    return net.eval().requires_grad_(False), whose


def seconds_of(passed: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        passed()
    return (time.process_time() - began) / times


def compared(variant: Variant, x: Tensor, labels: Tensor, exact: tuple[Tensor, Tensor]) -> str:
    """How far what it answers is from what float32 answers."""
    logits, gradient = variant(x, labels)
    if torch.equal(logits, exact[0]) and torch.equal(gradient, exact[1]):
        return "the same bits"
    spread = exact[0].amax(1) - exact[0].amin(1)
    off = ((logits - exact[0]).abs().amax(1) / spread.clamp_min(1e-12)).amax()
    cosine = F.cosine_similarity(gradient.flatten(1), exact[1].flatten(1)).sort().values[len(x) // 10]
    return f"logits {float(off):.1e}, gradients {float(cosine):.4f}"


def measure(name: str, place: str) -> None:
    registry = discover()
    model, dataset = registry.model(name), registry.dataset(place)
    size = BatchSize.auto(torch.device("cpu"), dataset.shape).size
    x = images(size, dataset.shape)
    net, whose = network(model, dataset, x)
    labels = net(x).argmax(1)
    print(f"{name} on {place}, {whose}, {size} images of {tuple(dataset.shape)}", flush=True)
    asked = variants(net, x)
    exact = asked[0](x, labels)
    passes = [partial(variant, x, labels) for variant in asked]
    times = [max(1, round(SECONDS / max(1e-9, seconds_of(one, 2)))) for one in passes]
    rounds = []
    for turn in range(ROUNDS):  # whoever is first in one round is later in the next
        order = [(turn + step) % len(passes) for step in range(len(passes))]
        took = {at: seconds_of(passes[at], times[at]) for at in order}
        rounds.append([took[at] for at in range(len(passes))])
    print(f"  float32: {1e3 * statistics.median(took[0] for took in rounds):.1f} ms")
    for at, variant in enumerate(asked[1:], 1):
        ratios = sorted(took[at] / took[0] for took in rounds)
        answers = compared(variant, x, labels, exact)
        print(f"  {variant.name}: {statistics.median(ratios):.2f} ({ratios[1]:.2f} to {ratios[-2]:.2f}); {answers}")
    sys.stdout.flush()


def crafted(
    ready: Ready, attack: Attack, ball: Threat, shard: Shard, given: Supplies, rules: Rules
) -> tuple[float, int, str]:
    """Processor time of one cell, its forward passes, and what the attack reaches."""
    ball = ball.at(math.inf) if attack.minimizes else ball
    job = Job(attack, ball, False, ready.target, rules, None, "cpu", (shard,), given)
    began = time.process_time()
    (made,) = craft(job)
    seconds = time.process_time() - began
    verdicts = judge(ready.target, render(ball, shard.examples.pixels(CPU), made.p), Goal(shard.goal_labels))
    if attack.minimizes:
        sizes = sorted(one.size if one.fooled else math.inf for one in verdicts)
        return seconds, made.forwards, f"median {sizes[len(sizes) // 2]:.4f}"
    return seconds, made.forwards, f"{sum(one.fooled for one in verdicts)} fooled"


def measure_cell(name: str, place: str, defense: str, attack: str, threat: str, stop: Stop, count: int) -> None:
    registry = discover()
    dataset = registry.dataset(place)
    data = data_intake.load(dataset, DataFolders.default())
    plan = TargetPlan(dataset, registry.model(name), registry.defense(defense))
    judged = judged_examples(data, count, dataset)
    ready, _ = Workshop(registry, CPU, None).ready(plan, data, judged)
    shard = Shard(0, 0, count, judged, judged.labels.long(), ready.clean.predicted, ready.clean.lead)
    chosen, ball = registry.attack(attack), registry.threat(threat)
    given = supplies(chosen, "untargeted", (dataset, data), judged, part="calibrate", seed=0)
    precisions: tuple[Precision, ...] = ("float32", "bf16")
    rounds = []
    for turn in range(CELL_ROUNDS):
        order = precisions if turn % 2 else precisions[::-1]
        rounds.append(
            {one: crafted(ready, chosen, ball, shard, given, Rules(stop=stop, precision=one)) for one in order}
        )
    ratio = statistics.median(one["bf16"][0] / one["float32"][0] for one in rounds)
    (_, passes, reached), (_, low_passes, low_reached) = (rounds[0][one] for one in precisions)
    print(
        f"{attack} in {threat} on {plan.label}, {place}, {count}, {stop}: {ratio:.2f}; {reached} and {low_reached}, "
        f"{passes:,} and {low_passes:,} forward passes",
        flush=True,
    )


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    if names == ["cells"]:
        make_repeatable()
        for cell in CELLS:
            measure_cell(*cell)
        return
    for name, place in NETWORKS:
        if not names or any(one in name for one in names):
            measure(name, place)


if __name__ == "__main__":
    main(sys.argv[1:])
