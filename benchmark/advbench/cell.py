"""Crafting one cell: the attack runs shard by shard, and what it returns is checked for form, not yet judged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.answer import seeded
from advbench.bank import Bank
from advbench.data import Examples
from advbench.draws import Draws
from advbench.errors import PluginError
from advbench.goal import Goal
from advbench.passes import BatchSize
from advbench.plugin import Attack
from advbench.problem import MARGIN, Problem, Stop
from advbench.shared import Fit, SharedProblem
from advbench.steadiness import batch_size
from advbench.target import Target
from advbench.threats import Threat
from advbench.threats.shared import Shared


@dataclass(frozen=True)
class Shard:
    """Some examples of a cell, with what the source says about the clean images."""

    number: int
    first: int
    span: int
    """How many of the board's examples it covers; those the goal does not apply to are left out."""
    examples: Examples
    goal_labels: Tensor
    predicted: Tensor
    lead: Tensor


@dataclass(frozen=True)
class Job:
    """Everything that crafting a cell needs; what an engine takes."""

    attack: Attack
    threat: Threat
    targeted: bool
    source: Target
    seed: int
    stop: Stop
    budget: int | None
    timeout: float | None
    batch: int | None
    """Rows of every pass, or None for what suits device and target."""
    device: str
    shards: tuple[Shard, ...]
    fit: Fit | None = None
    """What one perturbation for all shards is fitted on; None for an attack that takes every example by itself."""
    bank: Bank | None = None
    """Held-out images to start at; None for an attack that does not declare that it uses them."""


@dataclass(frozen=True)
class Crafted:
    """What an attack returned for one shard, on the CPU, and what it cost."""

    shard: Shard
    p: Tensor
    forwards: int
    backwards: int
    seconds: float
    batch: int


def craft(job: Job) -> Iterator[Crafted]:
    """Run the attack on one shard after the other; any error ends the cell."""
    left = job.timeout  # judging, between two shards, is not held against the attack
    batch = BatchSize(job.batch) if job.batch else batch_size(job.source, torch.device(job.device))
    if job.fit is not None:
        yield from _craft_shared(job, job.fit, batch, None if left is None else time.monotonic() + left)
        return
    for shard in job.shards:
        deadline = None if left is None else time.monotonic() + left
        with _chance(job, str(shard.number)):
            crafted = _craft_shard(job, shard, batch, deadline)
        left = None if left is None else left - crafted.seconds
        yield crafted


def _chance(job: Job, place: str) -> AbstractContextManager[None]:
    """A randomised target draws the same whenever this shard is crafted, and other than before the referee."""
    if job.source.draws == 1:
        return nullcontext()
    return seeded(f"craft/{job.seed}/{job.attack.label}/{place}", torch.device(job.device))


def _craft_shard(job: Job, shard: Shard, batch: BatchSize, deadline: float | None) -> Crafted:
    began = time.perf_counter()
    device = torch.device(job.device)
    x = shard.examples.pixels(device)
    goal = Goal(shard.goal_labels.to(device), job.targeted)
    already = goal.reached(shard.predicted.to(device)) & (shard.lead.to(device) * job.source.scale > MARGIN)
    problem = Problem(
        images=x,
        goal=goal,
        threat=job.threat,
        target=job.source,
        access=job.attack.needs,
        draws=Draws(job.seed, job.attack.name, shard.examples.ids.to(device)),
        stop=job.stop,
        minimizes=job.attack.minimizes,
        already=already,
        budget=job.budget,
        deadline=deadline,
        batch=batch,
        bank=None if job.bank is None else job.bank.to(device),
    )
    if len(x) == 0 or problem.done:
        p = problem.start()
    else:
        p = check_form(job.attack, problem, perturbed(job.attack, problem))
        check_inputs(job.attack, problem, x, goal.labels)
    p = problem.finish(p).detach()
    if x.is_cuda:
        torch.cuda.synchronize(device)
    return Crafted(
        shard=shard,
        p=p.cpu(),
        forwards=int(problem.forwards.sum()),
        backwards=int(problem.backwards.sum()),
        seconds=time.perf_counter() - began,
        batch=batch.size,
    )


def _craft_shared(job: Job, fit: Fit, batch: BatchSize, deadline: float | None) -> Iterator[Crafted]:
    """One perturbation, fitted once; what it cost stands with the first shard."""
    if fit.found is not None:
        yield from (Crafted(shard, fit.found, 0, 0, 0.0, batch.size) for shard in job.shards)
        return
    began = time.perf_counter()
    device = torch.device(job.device)
    x = fit.examples.pixels(device)
    goal = Goal(fit.goal_labels.to(device), job.targeted)
    problem = SharedProblem(
        images=x,
        goal=goal,
        threat=Shared.of(job.threat),
        target=job.source,
        access=job.attack.needs,
        draws=Draws(job.seed, job.attack.name, fit.examples.ids.to(device)),
        budget=job.budget,
        deadline=deadline,
        batch=batch,
        bank=None if job.bank is None else job.bank.to(device),
    )
    p = problem.start()
    if len(x):
        with _chance(job, "shared"):
            p = check_form(job.attack, problem, perturbed(job.attack, problem)).detach()
        check_inputs(job.attack, problem, x, goal.labels)
    p = p.cpu()
    seconds = time.perf_counter() - began
    for shard in job.shards:
        first = shard.number == 0
        yield Crafted(
            shard=shard,
            p=p,
            forwards=int(problem.forwards.sum()) if first else 0,
            backwards=int(problem.backwards.sum()) if first else 0,
            seconds=seconds if first else 0.0,
            batch=batch.size,
        )


def perturbed(attack: Attack, problem: Problem) -> object:
    """What the attack returns; one that tries to end the program has failed like any other."""
    try:
        return attack.perturb(problem)
    except SystemExit as error:
        raise PluginError(f"{attack.label}: `perturb` tried to end the program ({error})") from error


def check_form(attack: Attack, problem: Problem, p: object) -> Tensor:
    """What `perturb` returned, refused unless it is one finite perturbation per example, or one for a whole set."""
    expected = problem.start()
    if not isinstance(p, Tensor):
        raise PluginError(f"{attack.label}: `perturb` returned {type(p).__name__}, not a tensor")
    if p.shape != expected.shape:
        raise PluginError(
            f"{attack.label}: `perturb` returned shape {tuple(p.shape)} where {tuple(expected.shape)} was due"
        )
    if p.dtype != expected.dtype or p.device != expected.device:
        raise PluginError(
            f"{attack.label}: `perturb` returned {p.dtype} on {p.device} where {expected.dtype} on "
            f"{expected.device} was due"
        )
    broken = int((~p.isfinite()).flatten(1).any(1).sum())
    if broken:
        whose = "all" if attack.scope == "set" else f"{broken} of {len(p)}"
        raise PluginError(f"{attack.label}: `perturb` returned NaN or infinity for {whose} examples")
    return p


def check_inputs(attack: Attack, problem: Problem, x: Tensor, labels: Tensor) -> None:
    """Refuse an attack that wrote into what it was given."""
    if not torch.equal(problem.images, x):
        raise PluginError(f"{attack.label}: `perturb` wrote into `problem.images`")
    if not torch.equal(problem.goal.labels, labels):
        raise PluginError(f"{attack.label}: `perturb` wrote into `problem.goal.labels`")
