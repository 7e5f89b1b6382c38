"""What every attack must do, in every ball that it claims."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from advbench.access import Access
from advbench.crafting.cell import Given, check_form, check_inputs, perturbed
from advbench.crafting.guard import Guard
from advbench.errors import AdvbenchError
from advbench.geometry import Geometry
from advbench.plugin import Attack
from advbench.problem.problem import Problem
from advbench.testing.accelerators import hardly_waits, makes_tensors_where_the_data_lie
from advbench.testing.check import Check, demand
from advbench.testing.scene import FORM, Scene, Watched, scene, steadfast
from advbench.testing.stage import Flat, HalfSpace, Speechless, StageNet, images, tried
from advbench.threats import Threat
from advbench.threats.shared import Shared

Trial = Callable[[Attack, Threat, bool], str | None]

NEAR = 1.25
"""An attack that is told gradients finds the edge of a half-space within this factor (as in adversarial-library)."""
DRAWN = 100
"""So many random perturbations fool more images than an attack before it is told that it is worse than chance."""


def attack_checks(
    attack: Attack, balls: Mapping[str, Threat], settle: Callable[[Attack], Attack] = lambda attack: attack
) -> Iterator[Check]:
    """Tried in every ball that it serves, with the parameters of its `trial`: nobody waits for 5,000 queries.

    `settle` gives it the attacks that it builds on.
    """
    try:
        attack = settle(replace(attack, **attack.trial))
    except AdvbenchError as error:
        yield Check(attack.label, "builds-on-known-attacks", partial(_refuse, str(error)))
        return
    if strangers := sorted(attack.threats - set(balls)):
        yield Check(attack.label, "claims-known-balls", partial(_unknown, strangers, list(balls)))
    served = {name: tried(ball) for name, ball in sorted(balls.items()) if attack.searches(ball)}
    for name, threat in served.items():
        if attack.scope == "set" and not threat.shareable:
            yield Check(attack.label, f"{name}-is-not-shareable", partial(_unshareable, name))
            continue
        if attack.minimizes:
            if not threat.unbounded:
                yield Check(attack.label, f"{name}-has-no-unbounded-ball", partial(_bounded, name))
                continue
            threat = threat.at(float("inf"))
        threat = _searched(attack, threat)
        for targeted in (False, True) if attack.targeted else (False,):
            title = f"{name}-targeted" if targeted else name
            for what, trial in _trials(attack, threat):
                yield Check(attack.label, f"{title}-{what}", partial(trial, attack, threat, targeted))
        elsewhere = partial(makes_tensors_where_the_data_lie, attack, threat)
        yield Check(attack.label, f"{name}-makes-tensors-where-the-data-lie", elsewhere)
        if _hurries(attack, threat):
            yield Check(attack.label, f"{name}-hardly-waits", partial(hardly_waits, attack, threat))
        for what, odd in ODD.items():
            yield Check(attack.label, f"{name}-survives-{what}", partial(survives, attack, partial(odd, threat)))
        if attack.uses_bank:
            bare = partial(_without_a_bank, threat)
            yield Check(attack.label, f"{name}-survives-no-held-out-images", partial(survives, attack, bare))
    # who is told nothing can do nothing but submit what it was given
    if served and not attack.minimizes and attack.needs:
        chance = partial(is_no_worse_than_chance, attack, list(served.values()))
        yield Check(attack.label, "is-no-worse-than-chance", chance)


def _trials(attack: Attack, threat: Threat) -> Iterator[tuple[str, Trial]]:
    yield FORM, gives_what_is_due
    yield "stays-in-ball", stays_in_ball
    yield "leaves-inputs-alone", leaves_inputs_alone
    yield "repeats", repeats
    yield "asks-only-for-what-it-declares", asks_only_for_what_it_declares
    if attack.scope == "set":
        yield "is-one-for-all", is_one_for_all
    else:
        yield "does-not-depend-on-the-batch", does_not_depend_on_the_batch
    if not attack.minimizes:
        yield "changes-nothing-at-radius-0", changes_nothing_at_radius_0
    if threat.norm in ("linf", "l2") and Access.GRADIENTS in attack.needs:
        yield "finds-a-known-edge", finds_a_known_edge


def _hurries(attack: Attack, threat: Threat) -> bool:
    """Whether its steps need not wait for a device: before a detector and for a set every pass is looked at, and other
    balls than these may have to wait by themselves."""
    slopes = Access.GRADIENTS in attack.needs and Access.SUSPICION not in attack.needs
    return slopes and attack.scope != "set" and threat.norm in ("linf", "l2")


def _refuse(problem: str) -> None:
    raise AssertionError(problem)


def _searched(attack: Attack, threat: Threat) -> Threat:
    """The ball as the attack's perturbations are measured in it."""
    return Shared.of(threat) if attack.scope == "set" else threat


def gives_what_is_due(attack: Attack, threat: Threat, targeted: bool) -> None:
    """One finite perturbation per example, or one for a set, of the right shape, type and device."""
    for stage in (scene(threat, targeted), steadfast(threat, targeted)):
        problem = stage.problem(attack)
        check_form(attack, problem, perturbed(attack, problem))


def stays_in_ball(attack: Attack, threat: Threat, targeted: bool) -> None:
    for stage in (scene(threat, targeted), steadfast(threat, targeted)):
        _inside(stage, stage.perturbed(attack))


def _inside(stage: Scene, p: Tensor) -> None:
    wrong = [verdict for verdict in stage.verdicts(p) if verdict.violation]
    if wrong:
        first = wrong[0]
        raise AssertionError(
            f"{len(wrong)} of {len(p)} perturbations are {first.violation}, the first by {first.excess:.3g} where "
            f"{first.tolerance:.3g} is tolerated; end with `return problem.project(p)`"
        )


def leaves_inputs_alone(attack: Attack, threat: Threat, targeted: bool) -> None:
    stage = scene(threat, targeted)
    guard = Guard(attack, stage.target)
    problem = stage.problem(attack, target=guard.answers)
    with guard.watching():
        perturbed(attack, problem)
        check_inputs(attack, problem, Given(stage.images, stage.labels, stage.ids, stage.threat))
    guard.check_passes(problem.asked)
    same = not attack.uses_bank or torch.equal(problem.bank.examples.images, stage.bank.examples.images)
    demand(same, "`perturb` wrote into the images of `problem.bank`")


def repeats(attack: Attack, threat: Threat, targeted: bool) -> None:
    stage = scene(threat, targeted)
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # type: ignore[index]
    first = stage.perturbed(attack)
    touched = [
        name
        for name, same in (
            ("torch", torch.equal(before[0], torch.get_rng_state())),
            ("random", before[1] == random.getstate()),
            ("numpy", np.array_equal(before[2], np.random.get_state()[1])),  # type: ignore[index]
        )
        if not same
    ]
    demand(not touched, f"draws from the generator of {' and '.join(touched)}; draw from `problem.draws` alone")
    again = stage.perturbed(attack)
    demand(torch.equal(first, again), "two runs under one seed differ; draw from `problem.draws`, keep no state")


def asks_only_for_what_it_declares(attack: Attack, threat: Threat, targeted: bool) -> str | None:
    stage = steadfast(threat, targeted)
    perturbed(attack, stage.problem(attack, Problem))  # raises an AccessError that says what was asked for
    problem = stage.problem(attack)
    assert isinstance(problem, Watched)
    perturbed(attack, problem)
    unused = attack.needs.lacking(problem.wanted)
    # not a fault: another image may have needed it
    return f"never asked for {unused}, which it declares; targets without are skipped" if unused else None


def does_not_depend_on_the_batch(attack: Attack, threat: Threat, targeted: bool) -> None:
    stage = scene(threat, targeted)
    whole = stage.perturbed(attack)
    split = torch.cat([stage[:2].perturbed(attack), stage[2:].perturbed(attack)])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    remedy = "compute every row from that row alone: no mean, norm or loop bound over the batch, draws by the example"
    demand(torch.equal(whole, split), f"other perturbations when the batch is split in two; {remedy}")
    demand(torch.equal(whole[order], stage[order].perturbed(attack)), f"other perturbations in another order; {remedy}")
    fooled = [verdict.fooled for verdict in stage.verdicts(whole)]
    for batch in (1, 7, 64):
        other = stage.verdicts(stage.perturbed(attack, batch=batch))
        demand([verdict.fooled for verdict in other] == fooled, f"other verdicts at batch size {batch}; {remedy}")


def is_one_for_all(attack: Attack, threat: Threat, targeted: bool) -> None:
    """What was fitted on some images can be judged on others, with one size on all of them."""
    stage = scene(threat, targeted)
    p = stage[:3].perturbed(attack)
    demand(len(p) == 1, f"returns {len(p)} perturbations for a set; return one")
    judged = stage[3:].verdicts(p)
    demand(len(judged) == 3, f"is judged on {len(judged)} of 3 other images; the referee is wrong")
    sizes = {verdict.size for verdict in judged}
    demand(len(sizes) == 1, f"has {len(sizes)} sizes on 3 images; the referee is wrong")


def changes_nothing_at_radius_0(attack: Attack, threat: Threat, targeted: bool) -> None:
    stage = scene(threat.at(0.0), targeted)
    moved = float((threat.apply(stage.images, stage.perturbed(attack)) - stage.images).abs().max())
    demand(moved <= 1e-6, f"moves pixels by {moved:.3g} at radius 0; scale steps by `problem.eps`, and project")


def finds_a_known_edge(attack: Attack, threat: Threat, targeted: bool) -> None:
    """The nearest other class of a half-space is known: found just outside, and not to be had inside."""
    shape, distance = (1, 8, 8), 0.2
    plane = HalfSpace(shape)
    margin = plane.margin(threat.norm, distance)
    x = plane.beside(6, distance)
    wide = threat if attack.minimizes else threat.at(NEAR * margin)
    outside = scene(wide, targeted, shape=shape, classes=2, net=plane, x=x)
    verdicts = outside.verdicts(outside.perturbed(attack))
    missed = sum(not verdict.fooled for verdict in verdicts)
    if attack.minimizes:
        largest = max(verdict.size for verdict in verdicts) / margin
        demand(not missed, f"leaves {missed} of 6 images on their side of a plane in an unbounded ball")
        demand(largest <= NEAR, f"is {largest:.3g} times as large as the distance to a plane; {NEAR} is allowed")
        return
    demand(not missed, f"misses {missed} of 6 images at {NEAR} times their distance from a plane")
    inside = scene(threat.at(0.99 * margin), targeted, shape=shape, classes=2, net=plane, x=x)
    won = sum(verdict.fooled for verdict in inside.verdicts(inside.perturbed(attack)))
    demand(not won, f"is judged to fool {won} of 6 images nearer than anything that does; the referee is wrong")


@dataclass(frozen=True)
class Chance(Attack):
    """One random perturbation."""

    name: ClassVar[str] = "chance"
    needs: ClassVar[Access] = Access.LABELS
    geometry: ClassVar[Geometry] = Geometry.NOTHING

    def perturb(self, problem: Problem) -> Tensor:
        return problem.start(random=True)


@dataclass(frozen=True)
class ChanceForAll(Chance):
    """One random perturbation for a set."""

    scope: ClassVar[Literal["example", "set"]] = "set"


def is_no_worse_than_chance(attack: Attack, balls: list[Threat]) -> None:
    """Over all its balls together, against random perturbations, an image's own or a set's.

    One that is itself a random perturbation, or better, fools the fewest of all in one of `DRAWN + 1` cases at most.
    """
    chance = ChanceForAll() if attack.scope == "set" else Chance()
    stages = [scene(_searched(attack, ball), count=24) for ball in balls]
    won = _fooled(attack, stages)
    drawn: list[int] = []
    while len(drawn) < DRAWN and min(drawn, default=won + 1) > won:  # one that fools as few is enough to pass
        drawn.append(_fooled(chance, stages, seed=len(drawn)))
    found = f"fools {won} images where {len(drawn)} random perturbations fool {min(drawn)} to {max(drawn)}"
    demand(min(drawn) <= won, f"{found}; look at its signs")


def _fooled(attack: Attack, stages: list[Scene], seed: int = 0) -> int:
    return sum(verdict.fooled for stage in stages for verdict in stage.verdicts(stage.perturbed(attack, seed=seed)))


def survives(attack: Attack, odd: Callable[[], Scene]) -> None:
    stage = odd()
    problem = stage.problem(attack)
    p = check_form(attack, problem, problem.start() if problem.done else perturbed(attack, problem))
    _inside(stage, problem.finish(p).detach())


def _already_wrong(threat: Threat) -> Scene:
    stage = scene(threat)
    return replace(stage, labels=torch.where(torch.arange(6) % 2 == 0, (stage.labels + 1) % 10, stage.labels))


def _double(threat: Threat) -> Scene:
    shape = (1, 8, 8)
    return scene(threat, net=StageNet(shape).double(), x=images(4, shape).double())


def _without_a_bank(threat: Threat) -> Scene:
    stage = scene(threat)
    return replace(stage, bank=replace(stage.bank, examples=stage.bank.examples[:0]))


ODD: dict[str, Callable[[Threat], Scene]] = {
    "one-image": lambda threat: scene(threat, count=1),
    "oblong-colour": lambda threat: scene(threat, count=3, shape=(3, 7, 10)),
    "two-classes": lambda threat: scene(threat, count=3, classes=2),
    "images-already-wrong": _already_wrong,
    "gradients-of-zero": lambda threat: scene(threat, count=3, net=Flat(10)),
    "answers-of-nan": lambda threat: scene(threat, count=3, net=Speechless(StageNet((1, 8, 8)))),
    "a-radius-larger-than-the-image": lambda threat: scene(threat.at(1e3), count=3),
    "float64": _double,
    "black-and-white": lambda threat: scene(threat, x=torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])),
}
"""Inputs that are unusual and allowed: all must end in a perturbation inside the ball."""


def _unknown(names: list[str], known: list[str]) -> None:
    demand(False, f"`threats` names {', '.join(names)}; the balls are {', '.join(known)}")


def _unshareable(name: str) -> None:
    demand(False, f'`scope = "set"`, but in {name} no perturbation serves all images; leave it out of `threats`')


def _bounded(name: str) -> None:
    demand(False, f"`minimizes`, but {name} has no unbounded ball; leave it out of `threats`")
