"""Crafting one cell: the attack runs shard by shard, and what it returns is checked for form, not yet judged."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from advbench.crafting.guard import Guard
from advbench.data import Examples
from advbench.draws import Draws
from advbench.errors import PluginError
from advbench.goal import Goal
from advbench.plugin import Attack
from advbench.plugins.foreign import no_exit
from advbench.problem.batches import BatchSize
from advbench.problem.clock import clock
from advbench.problem.fit import Fit
from advbench.problem.precision import Precision
from advbench.problem.problem import MARGIN, Problem, Stop
from advbench.problem.set_wide import SharedProblem
from advbench.problem.supplies import Supplies
from advbench.target.answer import seeded
from advbench.target.steadiness import batch_size
from advbench.target.target import Target
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
    places: Tensor | None = None
    """Places of the examples in the order of judging; None for 0, 1, …."""


@dataclass(frozen=True)
class Rules:
    """What every attack of a run keeps to."""

    seed: int = 0
    stop: Stop = "first"
    """Whether an example leaves when it has been fooled, or nobody before the end."""
    budget: int | None = None
    """Forward passes an example; None for as many as the attack makes."""
    timeout: float | None = None
    """Seconds a cell; None for as long as it takes."""
    precision: Precision = "float32"
    """Of the passes that attacks ask for."""


@dataclass(frozen=True)
class Job:
    """Everything that crafting a cell needs; what an engine takes."""

    attack: Attack
    threat: Threat
    targeted: bool
    source: Target
    rules: Rules
    batch: int | None
    """Rows of every pass, or None for what suits device and target; a randomised target has rows of its own."""
    device: str
    shards: tuple[Shard, ...]
    supplies: Supplies = field(default_factory=Supplies)


@dataclass(frozen=True)
class Given:
    """What a problem is made of, kept where no attack can reach it."""

    images: Tensor
    labels: Tensor
    ids: Tensor
    threat: Threat

    @classmethod
    def on(cls, device: torch.device, examples: Examples, labels: Tensor, threat: Threat) -> Given:
        return cls(examples.pixels(device), labels.to(device), examples.ids.to(device), threat)

    def goal(self, targeted: bool) -> Goal:
        """The goal with a copy of the labels, so that an attack that writes into them changes no verdict."""
        return Goal(self.labels.clone(), targeted)


@dataclass(frozen=True)
class Crafted:
    """What an attack returned for one shard, on the CPU, and what it cost."""

    shard: Shard
    p: Tensor
    forwards: int
    backwards: int
    seconds: float
    batch: int
    spent: float = 0.0
    """What counts against a time limit, on the `clock` of the device."""


def craft(job: Job) -> Iterator[Crafted]:
    """Run the attack on one shard after the other; any error ends the cell."""
    crafter, fit, left = Crafter(job), job.supplies.fit, job.rules.timeout
    for shard in job.shards:
        crafted = crafter.craft(shard, fit, left)
        if left is not None:  # judging, between two shards, is not held against the attack
            left -= crafted.spent
        if fit is not None:
            fit = replace(fit, perturbation=crafted.p)
        yield crafted


class Crafter:
    """An attack on one source, in this process; what has to be looked at once is looked at once for all shards."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._device = torch.device(job.device)
        self._guard = Guard(job.attack, job.source)
        self._batch = rows_of(job)
        if job.batch is None and job.source.draws == 1:
            self._batch = batch_size(job.source, self._device, self._guard.answers.allowing, job.rules.precision)

    def craft(self, shard: Shard, fit: Fit | None = None, left: float | None = None) -> Crafted:
        """A shard, in the time that is left; with `fit`, the one perturbation for all, fitted if it is not known."""
        if fit is not None and fit.perturbation is not None:
            return Crafted(shard, fit.perturbation, 0, 0, 0.0, self._batch.size)
        began = clock(self._device)
        deadline = None if left is None else began + left
        if fit is not None:
            crafted = _craft_shared(self._job, shard, fit, self._guard, self._batch, deadline)
        else:
            with _chance(self._job, str(shard.number)):
                crafted = _craft_shard(self._job, shard, self._guard, self._batch, deadline)
        return replace(crafted, spent=clock(self._device) - began)


def rows_of(job: Job) -> BatchSize:
    """The rows of a pass, before memory has its say and before others are found to give the same numbers.

    A randomised target draws for a whole pass at once, so that there nobody chooses how many rows one has.
    """
    chosen = job.batch if job.source.draws == 1 else None
    return BatchSize(chosen) if chosen else BatchSize.auto(torch.device(job.device), job.source.dataset.shape)


def _chance(job: Job, place: str) -> AbstractContextManager[None]:
    """A randomised target draws the same whenever this shard is crafted, and other than before the referee."""
    if job.source.draws == 1:
        return nullcontext()
    return seeded(f"craft/{job.rules.seed}/{job.attack.label}/{place}", torch.device(job.device))


def _craft_shard(job: Job, shard: Shard, guard: Guard, batch: BatchSize, deadline: float | None) -> Crafted:
    began = time.perf_counter()
    device = torch.device(job.device)
    given = Given.on(device, shard.examples, shard.goal_labels, job.threat)
    goal = given.goal(job.targeted)
    already = goal.reached(shard.predicted.to(device)) & (shard.lead.to(device) * job.source.scale > MARGIN)
    problem = Problem(
        images=given.images,
        goal=goal,
        threat=copy.copy(job.threat),
        target=guard.answers,
        access=job.attack.needs,
        draws=Draws(job.rules.seed, job.attack.name, given.ids.clone()),
        stop=job.rules.stop,
        minimizes=job.attack.minimizes,
        measures=job.attack.measures,
        already=already,
        budget=job.rules.budget,
        deadline=deadline,
        batch=batch,
        bank=None if (bank := job.supplies.bank) is None else bank.to(device),
        precision=job.rules.precision,
    )
    if len(given.images) == 0 or problem.done:
        p = problem.finish(problem.start()).detach()
    else:
        p = _perturb_guarded(job.attack, problem, guard, given)
    if p.is_cuda:
        torch.cuda.synchronize(device)
    return Crafted(
        shard=shard,
        p=p.cpu(),
        forwards=int(problem.forwards.sum()),
        backwards=int(problem.backwards.sum()),
        seconds=time.perf_counter() - began,
        batch=batch.size,
    )


def _perturb_guarded(attack: Attack, problem: Problem, guard: Guard, given: Given) -> Tensor:
    """The perturbations to judge; refused where the attack has touched anything that it may not."""
    asked = guard.answers.asked - problem.asked
    with guard.watching():
        p = check_form(attack, problem, perturbed(attack, problem))
        check_inputs(attack, problem, given)
        p = problem.finish(p).detach()
    guard.check_passes(asked + problem.asked)
    return p


def _craft_shared(job: Job, shard: Shard, fit: Fit, guard: Guard, batch: BatchSize, deadline: float | None) -> Crafted:
    """One perturbation for all; what it cost stands with the first shard."""
    began = time.perf_counter()
    device = torch.device(job.device)
    given = Given.on(device, fit.examples, fit.goal_labels, Shared.of(job.threat))
    problem = SharedProblem(
        images=given.images,
        goal=given.goal(job.targeted),
        threat=Shared.of(copy.copy(job.threat)),
        target=guard.answers,
        access=job.attack.needs,
        draws=Draws(job.rules.seed, job.attack.name, given.ids.clone()),
        budget=job.rules.budget,
        deadline=deadline,
        batch=batch,
        bank=None if (bank := job.supplies.bank) is None else bank.to(device),
        precision=job.rules.precision,
    )
    p = problem.start()
    if len(given.images):
        with _chance(job, "shared"):
            p = _perturb_guarded(job.attack, problem, guard, given)
    p = p.cpu()
    first = shard.number == 0
    return Crafted(
        shard=shard,
        p=p,
        forwards=int(problem.forwards.sum()) if first else 0,
        backwards=int(problem.backwards.sum()) if first else 0,
        seconds=time.perf_counter() - began if first else 0.0,
        batch=batch.size,
    )


def perturbed(attack: Attack, problem: Problem) -> object:
    """What the attack returns; one that tries to end the program has failed like any other."""
    with no_exit(f"{attack.label}: `perturb`"):
        return attack.perturb(problem)


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


def check_inputs(attack: Attack, problem: Problem, given: Given) -> None:
    """Refuse an attack that wrote into what it was given, whichever way it came to it."""
    for name, now, before in (
        ("problem.images", (problem.images,), given.images),
        ("problem.goal.labels", (problem.goal.labels, problem._goal.labels), given.labels),
        ("problem.draws.ids", (problem.draws.ids,), given.ids),
    ):
        if not all(torch.equal(one, before) for one in now):
            raise PluginError(f"{attack.label}: `perturb` wrote into `{name}`")
    if problem.threat != given.threat:
        raise PluginError(f"{attack.label}: `perturb` changed the ball, `problem.threat`")
