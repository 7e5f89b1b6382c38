"""Kernels and waits of every step, counted where there is no GPU: what attacks cost one, beside the bare passes."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench import Draws, Goal, Problem
from advbench.pace import as_on_an_accelerator
from advbench.plugin import Attack
from advbench.plugins.discovery import discover
from advbench.problem.batches import BatchSize
from advbench.problem.buckets import EVERY
from advbench.problem.successes import Answers
from advbench.testing.kernels import Counts, by_pass, counted, per_step
from advbench.threats import L2, Linf, Threat

COUNT = 64


@cache
def network() -> nn.Module:
    """Three convolutions and a linear layer, as they come: what is counted depends on no weight."""
    registry = discover()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return registry.models["small-cnn"].build(registry.datasets["mnist-5k"]).eval().requires_grad_(False)


@cache
def images() -> Tensor:
    return Draws(0, "kernels", torch.arange(COUNT)).uniform(1, 28, 28)


@cache
def labels() -> Tensor:
    return network()(images()).argmax(1)


class Bare:
    """The network's answers and nothing else."""

    classes, threshold, scale, draws = 10, None, 1.0, 1

    def logits(self, batch: Tensor) -> Tensor:
        answer: Tensor = network()(batch)
        return answer

    def suspicion(self, batch: Tensor) -> Tensor:
        raise NotImplementedError

    def abstains(self, logits: Tensor) -> Tensor | None:
        return None


def pass_with_gradient() -> int:
    """The floor: forward, cross-entropy, and the gradient of the input."""
    q = images().clone().requires_grad_()
    return counted(
        lambda: torch.autograd.grad(F.cross_entropy(network()(q), labels(), reduction="none").sum(), q)
    ).launched


def pass_alone() -> int:
    return counted(lambda: network()(images())).launched


def problem(attack: Attack, threat: Threat, target: Answers, batch: int = COUNT, **setting: Any) -> Problem:
    return Problem(
        images=images(),
        goal=Goal(labels()),
        threat=threat,
        target=target,
        access=attack.needs,
        draws=Draws(0, attack.name, torch.arange(COUNT)),
        minimizes=attack.minimizes,
        batch=BatchSize(batch),
        **setting,
    )


@dataclass(frozen=True)
class Limit:
    """What an attack may cost beyond the floor: a pass in the middle of a bucket, and the mean of whole buckets."""

    name: str
    threat: Threat
    parameters: dict[str, Any]
    step: int
    mean: float
    stop: str = "first"
    begins: int = 8
    buckets: int = 2
    batch: int = COUNT
    floor: Callable[[], int] = pass_with_gradient

    def __str__(self) -> str:
        return f"{self.name} {self.threat.name} {self.stop}"


NEAR, FAR = 1e-5, float("inf")
LIMITS = (
    Limit("pgd", Linf(NEAR), {"steps": 25}, 13, 14),
    Limit("pgd", Linf(NEAR), {"steps": 25}, 14, 14, stop="end"),
    Limit("pgd", L2(NEAR), {"steps": 25}, 168, 170),
    Limit("mi-fgsm", Linf(NEAR), {"steps": 25}, 22, 23),
    Limit("apgd", Linf(NEAR), {"steps": 100}, 24, 26),
    Limit("apgd", Linf(NEAR), {"steps": 100}, 25, 26, stop="end"),
    Limit("fmn", Linf(FAR), {"steps": 40}, 74, 77),
    Limit("fmn", L2(FAR), {"steps": 40}, 84, 87),
    Limit("ddn", L2(FAR), {"steps": 40}, 60, 63),
    Limit("cw", L2(FAR), {"rounds": 1, "steps": 200}, 118, 120, buckets=5),
    Limit("square", Linf(NEAR), {"queries": 200}, 85, 88, batch=4 * COUNT, floor=pass_alone, buckets=4),
    Limit("deepfool", L2(FAR), {"steps": 40}, 234, 241, begins=4, buckets=1),
    Limit("deepfool", Linf(FAR), {"steps": 40}, 237, 244, begins=4, buckets=1),
)


def passes(limit: Limit) -> list[Counts]:
    attack = replace(discover().attacks[limit.name], **limit.parameters)

    def run(answers: Answers) -> None:
        attack.perturb(problem(attack, limit.threat, answers, limit.batch, stop=limit.stop))

    with as_on_an_accelerator():
        found = by_pass(Bare(), run)
    return found[limit.begins : limit.begins + EVERY * limit.buckets]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_a_step_launches_so_many_kernels_more_than_the_bare_passes(limit: Limit) -> None:
    found = passes(limit)
    assert len(found) == EVERY * limit.buckets
    beyond = [one.launched - limit.floor() for one in found]
    assert statistics.mode(beyond) <= limit.step
    assert statistics.mean(beyond) <= limit.mean
    assert sum(one.waited for one in found) <= limit.buckets, "at most one wait in a bucket"


def test_the_limits_are_what_is_counted_and_no_looser() -> None:
    limit = LIMITS[0]
    assert statistics.mode(one.launched - limit.floor() for one in passes(limit)) == limit.step


def test_the_path_of_a_cpu_launches_hardly_more_than_the_other() -> None:
    attack = discover().attacks["pgd"]

    def run(steps: int) -> None:
        attack_of = replace(attack, steps=steps)
        attack_of.perturb(problem(attack_of, Linf(NEAR), Bare(), stop="end"))

    step = per_step(run, 9)
    assert step.launched <= pass_with_gradient() + 13
    assert step.waits == {"nonzero": 1}


# What is counted


def test_kernels_are_counted_and_views_are_not() -> None:
    x = torch.ones(2, 3)
    found = counted(lambda: (x.view(3, 2).T[0].unsqueeze(0).expand(4, -1).detach(), torch.empty(2)))
    assert found.launched == 0
    assert counted(lambda: (x + 1).mul_(2).sum(1)).kernels == {"add": 1, "mul_": 1, "sum": 1}


def test_what_autograd_runs_is_counted() -> None:
    x = torch.ones(3, requires_grad=True)
    assert counted(lambda: torch.autograd.grad(x.exp().sum(), x)).kernels == {
        "exp": 1,
        "sum": 1,
        "ones_like": 1,
        "mul": 1,
    }


WAITS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x[0].item(),
    "bool": lambda x: bool(x[0] > 0),
    "float": lambda x: float(x[0]),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "written mask": lambda x: x.__setitem__(x > 0, 1.0),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x.clone()),
    "any": lambda x: not (x > 0).any(),
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "repeat_interleave": lambda x: x.repeat_interleave(x.long()),
    "copy to a device": lambda x: x.to("meta"),
}


@pytest.mark.parametrize("how", WAITS)
def test_every_way_to_wait_is_seen(how: str) -> None:
    found = counted(lambda: WAITS[how](torch.ones(3)))
    assert found.waited == 1
    (place,) = found.places
    assert place.startswith("test_kernels.")


def test_what_needs_no_value_is_no_wait() -> None:
    def run() -> None:
        x = torch.ones(4)
        x[torch.tensor([0, 2])] += torch.where(x > 0, x, 0.0)[:2]
        x.argsort().cumsum(0).gather(0, torch.zeros(1, dtype=torch.int64)).to(x.device, torch.float64)

    assert counted(run).waited == 0
