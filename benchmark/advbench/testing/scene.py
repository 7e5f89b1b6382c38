"""An attack tried on a few images: what it saw, what it returned, and what the referee says of it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from advbench.access import Access
from advbench.crafting.cell import check_form, perturbed
from advbench.data import Examples
from advbench.draws import Draws
from advbench.errors import PluginError
from advbench.goal import Goal
from advbench.plugin import Attack
from advbench.problem.bank import Bank
from advbench.problem.batches import BatchSize, run_in_batches
from advbench.problem.precision import Precision
from advbench.problem.problem import MARGIN, Problem, Stop
from advbench.problem.set_wide import SharedProblem
from advbench.problem.successes import Answers
from advbench.target.referee import Verdict, judge, render
from advbench.target.target import Target
from advbench.testing.check import LIMIT, NotTriedError
from advbench.testing.stage import StageNet, Steadfast, images, target_of
from advbench.threats import Threat

FORM = "gives-what-is-due"
"""The check that looks at form; the others only try what has passed it."""
HELD_OUT = 64
NO_BANK = Bank(Examples(torch.zeros(0, 1, 1, 1), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)))


class Watched(Problem):
    """Grants whatever is asked for, and remembers what that was."""

    wanted = Access.NOTHING

    def _require(self, wanted: Access) -> None:
        self.wanted |= wanted


class WatchedShared(Watched, SharedProblem):
    """A `SharedProblem` that notes which access an attack asks for."""


@dataclass(frozen=True)
class Scene:
    """Images, a goal, a ball and a network."""

    target: Target
    images: Tensor
    labels: Tensor
    ids: Tensor
    threat: Threat
    targeted: bool
    bank: Bank = NO_BANK
    """For those that declare that they use it."""

    @property
    def goal(self) -> Goal:
        return Goal(self.labels, self.targeted)

    def __getitem__(self, rows: slice | Tensor) -> Scene:
        return replace(self, images=self.images[rows], labels=self.labels[rows], ids=self.ids[rows])

    def problem(
        self,
        attack: Attack,
        kind: type[Problem] = Watched,
        seed: int = 0,
        batch: int = 8,
        target: Answers | None = None,
        *,
        stop: Stop = "first",
        budget: int | None = None,
        precision: Precision = "float32",
        purpose: str = "",
    ) -> Problem:
        """What the attack is given; draws are its own unless another purpose is named."""
        margin = self.goal.margin(run_in_batches(self.target.logits, self.images, BatchSize(64)))
        together = attack.scope == "set"
        if together:
            kind = WatchedShared if kind is Watched else SharedProblem
        return kind(
            images=self.images.clone(),
            goal=Goal(self.labels.clone(), self.targeted),
            threat=copy.copy(self.threat),
            target=target or self.target,
            access=attack.needs,
            draws=Draws(seed, purpose or attack.name, self.ids.clone()),
            stop=stop,
            budget=budget,
            minimizes=attack.minimizes,
            measures=attack.measures,
            already=None if together else margin > MARGIN,
            deadline=time.monotonic() + LIMIT,
            batch=BatchSize(batch),
            bank=self.bank.to(self.images.device) if attack.uses_bank else None,
            precision=precision,
        )

    def perturbed(
        self, attack: Attack, seed: int = 0, batch: int = 8, *, stop: Stop = "first", purpose: str = ""
    ) -> Tensor:
        """What would be judged."""
        problem = self.problem(attack, seed=seed, batch=batch, stop=stop, purpose=purpose)
        returned = problem.start() if problem.done else perturbed(attack, problem)
        try:
            p = check_form(attack, problem, returned)
        except PluginError as error:
            raise NotTriedError(f"see {FORM}") from error
        return problem.finish(p).detach()

    def verdicts(self, p: Tensor) -> list[Verdict]:
        return judge(self.target, render(self.threat, self.images, p), self.goal)

    def fooled(self, attack: Attack, *, stop: Stop = "first", purpose: str = "") -> Tensor:
        """For which images the attack fools the target, as the referee says."""
        p = self.perturbed(attack, batch=64, stop=stop, purpose=purpose)
        return torch.tensor([verdict.fooled for verdict in self._lawful(p)])

    def sizes(self, attack: Attack) -> Tensor:
        """Of the perturbations with which it does, as the referee measures them; infinite for the other images."""
        verdicts = self._lawful(self.perturbed(attack, batch=64))
        return torch.tensor([verdict.size if verdict.fooled else torch.inf for verdict in verdicts])

    def _lawful(self, p: Tensor) -> list[Verdict]:
        """Verdicts on perturbations that lie in the ball, all of them."""
        verdicts = self.verdicts(p)
        if broken := {verdict.violation for verdict in verdicts if verdict.violation}:
            raise PluginError(f"what is judged is {' and '.join(sorted(broken))}")
        return verdicts


def scene(
    threat: Threat,
    targeted: bool = False,
    *,
    count: int = 6,
    shape: tuple[int, int, int] = (1, 8, 8),
    classes: int = 10,
    net: nn.Module | None = None,
    x: Tensor | None = None,
) -> Scene:
    """Images that the network gets right, and, when targeted, the class after theirs."""
    target = target_of(net or StageNet(shape, classes), shape, classes)
    x = images(count, shape) if x is None else x
    labels = run_in_batches(target.logits, x, BatchSize(64)).argmax(1)
    if targeted:
        labels = (labels + 1) % classes
    return Scene(target, x, labels, torch.arange(len(x)) + 100, threat, targeted, _held_out(target, x))


def _held_out(target: Target, x: Tensor) -> Bank:
    """Images that are not tried, each with the label that the network gives it."""
    others = images(HELD_OUT, tuple(x.shape[1:]), first=5000)
    labels = run_in_batches(target.logits, others.to(x.dtype), BatchSize(64)).argmax(1)
    return Bank(Examples(others, labels, torch.arange(HELD_OUT) + 5000))


def steadfast(threat: Threat, targeted: bool) -> Scene:
    """Images on which nothing succeeds, so that what is judged is what the attack itself returns."""
    return scene(threat, targeted, net=Steadfast(StageNet((1, 8, 8))))
