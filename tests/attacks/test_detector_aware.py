"""Attacks that know of a detector: the paper's updates to the letter, honest costs, and more undetected successes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from advbench import Access, AdvbenchError, Attack, Problem
from advbench.data import DataFolders
from advbench.draws import Draws
from advbench.errors import PluginError
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.run.content import content_of
from advbench.target.identity import TargetPlan
from advbench.target.target import prepare
from advbench.testing.scene import Scene, scene, steadfast
from advbench.threats import Linf, RotateShift
from advbench.weights.weights import find_weights
from advbench_attacks.autoattack import AutoAttack
from advbench_attacks.aware import Aware
from advbench_attacks.noise import Noise
from advbench_attacks.pgd import PGD
from advbench_attacks.reconstructive import RBIM, RFGSM, RPGD, Reconstructive
from advbench_datasets.mnist_5k import Mnist5k
from advbench_defenses.reconstruction import Reconstruction
from advbench_models.cnn_cr import CnnCr

BALL = Linf(0.15)


def made_aware(attack: str = "pgd", weight: float = 0.5, among: Iterable[Attack] = (PGD(),)) -> Attack:
    """As a run has it: with the attack that it names, from among those that are installed."""
    registry = Registry(attacks={one.name: one for one in among})
    return registry.settle(Aware(attack=attack, weight=weight))


def undetected(attack: Attack, stage: Scene) -> int:
    p = stage.problem(attack, Problem)
    verdicts = stage.verdicts(p.finish(attack.perturb(p)))
    threshold = stage.target.threshold
    assert threshold is not None
    return sum(one.fooled and one.suspicion is not None and one.suspicion <= threshold for one in verdicts)


def gradients(stage: Scene, p: Tensor) -> tuple[Tensor, Tensor]:
    """Of the loss that the goal raises, and of the suspicion."""
    p = p.detach().requires_grad_()
    loss = F.cross_entropy(stage.target.logits(stage.images + p), stage.labels, reduction="sum")
    suspicion = stage.target.suspicion(stage.images + p).sum()
    (up,), (alarm,) = torch.autograd.grad(loss, p), torch.autograd.grad(suspicion, p)
    return (-up if stage.targeted else up), alarm


def kept(stage: Scene, p: Tensor) -> Tensor:
    return p.clamp(-stage.threat.eps, stage.threat.eps).clamp(-stage.images, 1 - stage.images)


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("attack", [RBIM(beta=0.7, steps=5, step=0.03), RPGD(beta=0.7, steps=5, step=0.03)], ids=str)
def test_two_stages_are_equations_one_and_two_of_the_paper(attack: RBIM | RPGD, targeted: bool) -> None:
    stage, c, beta = scene(BALL, targeted), 0.03, 0.7
    draws = Draws(0, attack.name, stage.ids)
    p = stage.threat.start(stage.images, draws) if attack.name == "r-pgd" else torch.zeros_like(stage.images)
    for _ in range(5):
        p = kept(stage, p + c * beta * gradients(stage, p)[0].sign())
        p = kept(stage, p - c * (1 - beta) * gradients(stage, p)[1].sign())
    assert torch.allclose(attack.perturb(stage.problem(attack, Problem, stop="end")), p, atol=1e-7)


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_one_stage_follows_the_weighted_sum_of_loss_and_suspicion(targeted: bool) -> None:
    stage, attack = scene(BALL, targeted), RBIM(beta=0.01, steps=5, step=0.03, stages=1)
    p = torch.zeros_like(stage.images)
    for _ in range(5):
        up, alarm = gradients(stage, p)
        p = kept(stage, p + 0.03 * (0.01 * up - 0.99 * alarm).sign())
    returned = attack.perturb(stage.problem(attack, Problem, stop="end"))
    assert (returned - p).abs().gt(1e-6).float().mean() < 0.01  # where the sum is as good as zero its sign is rounding


def test_r_fgsm_moves_no_pixel_further_than_the_papers_step() -> None:
    stage = scene(BALL)
    p = RFGSM().perturb(stage.problem(RFGSM(), Problem))
    assert 0 < float(p.abs().max()) <= 0.05 + 1e-7


def test_with_beta_1_the_plain_attack_is_left_and_the_detector_is_never_asked() -> None:
    stage, attack, plain = scene(BALL), RPGD(beta=1.0, steps=8, step=0.02), PGD(steps=8, travel=8 * 0.02 / 0.15)
    problem = stage.problem(attack, Problem, stop="end")
    other = stage.problem(plain, Problem, stop="end", purpose="r-pgd")
    assert torch.allclose(attack.perturb(problem), plain.perturb(other), atol=1e-7)
    assert problem.backwards.tolist() == [8] * 6


@pytest.mark.parametrize(
    "attack", [RFGSM(), RBIM(steps=4), RPGD(steps=4), RPGD(steps=4, stages=1), RPGD(beta=1.0, steps=4)], ids=str
)
def test_the_detectors_passes_are_counted_too(attack: Reconstructive) -> None:
    stage = steadfast(BALL, targeted=False)  # a success costs one more, to see whether it is detected
    problem = stage.problem(attack, Problem)
    problem.finish(attack.perturb(problem))
    assert problem.forwards.tolist() == [attack.passes(10)] * 6


# The wrapper


def strict_scene(targeted: bool) -> Scene:
    """A threshold that one clean image of ten passes: whoever roughens an image is seen."""
    stage = scene(BALL, targeted, count=16)
    threshold = float(stage.target.suspicion(stage.images).quantile(0.1))
    return replace(stage, target=replace(stage.target, threshold=threshold))


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_an_attack_made_aware_has_more_undetected_successes_and_no_fewer_successes(targeted: bool) -> None:
    stage = strict_scene(targeted)
    plain, aware = PGD(steps=15), made_aware("pgd(steps=15)")
    assert undetected(aware, stage) > undetected(plain, stage)
    fooled = [
        sum(one.fooled for one in stage.verdicts(problem.finish(attack.perturb(problem))))
        for attack in (plain, aware)
        for problem in (stage.problem(attack, Problem, purpose="same"),)
    ]
    assert fooled[1] >= fooled[0] > 0


def test_without_weight_the_attack_is_the_one_that_is_named() -> None:
    stage, plain = scene(BALL), PGD(steps=8)
    aware = made_aware("pgd(steps=8)", weight=0.0)
    problem = stage.problem(aware, Problem, stop="end")
    assert torch.equal(
        aware.perturb(problem), plain.perturb(stage.problem(plain, Problem, stop="end", purpose="aware"))
    )
    assert problem.backwards.tolist() == [8] * 6


def test_suspicion_is_asked_only_where_the_goal_is_reached_and_every_pass_is_counted() -> None:
    aware = made_aware("pgd(steps=8)")
    never = steadfast(BALL, targeted=False).problem(aware, Problem)
    aware.perturb(never)
    assert never.forwards.tolist() == never.backwards.tolist() == [8] * 6
    problem = scene(BALL).problem(aware, Problem, stop="end")
    aware.perturb(problem)
    assert 8 < int(problem.backwards.max()) <= 16
    assert (problem.forwards >= problem.backwards).all()
    assert torch.equal(problem.backwards > 8, problem.found)


@pytest.mark.parametrize("attack", [RPGD(steps=15, step=0.02), made_aware("pgd(steps=15)")], ids=str)
def test_an_example_leaves_at_its_first_undetected_success_and_not_at_a_detected_one(attack: Attack) -> None:
    stage = strict_scene(targeted=False)
    first, end = (
        stage.problem(attack, Problem, stop="first", purpose="same"),
        stage.problem(attack, Problem, stop="end", purpose="same"),
    )
    verdicts = {
        stop: stage.verdicts(problem.finish(attack.perturb(problem)))
        for stop, problem in (("first", first), ("end", end))
    }
    threshold = stage.target.threshold or 0.0
    unseen = {
        stop: [one.fooled and (one.suspicion or 0.0) <= threshold for one in found] for stop, found in verdicts.items()
    }
    assert unseen["first"] == unseen["end"]
    assert [one.fooled for one in verdicts["first"]] == [one.fooled for one in verdicts["end"]]
    left = torch.tensor(unseen["first"])
    assert left.any()
    assert first.active.tolist() == (~left).nonzero().squeeze(1).tolist()
    assert int(first.backwards[left].sum()) < int(end.backwards[left].sum())


def test_a_gradient_leads_away_from_suspicion_once_the_goal_is_reached_and_never_before() -> None:
    stage = scene(BALL)
    asked: list[tuple[Tensor, Tensor]] = []

    @dataclass(frozen=True)
    class Asks(Attack):
        name: ClassVar[str] = "asks"
        threats: ClassVar[frozenset[str]] = frozenset({"linf"})
        needs: ClassVar[Access] = Access.GRADIENTS

        def perturb(self, problem: Problem) -> Tensor:
            p = problem.project(problem.start() + 0.008 * problem.ascent(problem.start()))
            asked.append((p, problem.gradient(p)))
            again = problem.gradient(p.repeat(2, 1, 1, 1), of=torch.arange(6).repeat(2))
            assert torch.allclose(again, asked[0][1].repeat(2, 1, 1, 1), atol=1e-5)
            return p

    aware = made_aware("asks", among=[Asks()])
    aware.perturb(stage.problem(aware, Problem))
    ((p, gradient),) = asked
    up, alarm = gradients(stage, p)
    reached = stage.target.logits(stage.images + p).argmax(1) != stage.labels
    assert 0 < int(reached.sum()) < 6, "the scene tells nothing apart"
    mixed = F.normalize(up.flatten(1), dim=1) - F.normalize(alarm.flatten(1), dim=1)
    expected = torch.where(reached.view(-1, 1), mixed / 2, up.flatten(1))
    assert torch.allclose(gradient.flatten(1), expected, atol=1e-5)


@dataclass(frozen=True)
class Smallest(PGD):
    name: ClassVar[str] = "smallest"
    minimizes: ClassVar[bool] = True


@dataclass(frozen=True)
class Turner(PGD):
    name: ClassVar[str] = "turner"
    threats: ClassVar[frozenset[str]] = frozenset({"rotate-shift"})
    targeted: ClassVar[bool] = False


@dataclass(frozen=True)
class Redraws(PGD):
    name: ClassVar[str] = "redraws"
    needs: ClassVar[Access] = Access.GRADIENTS | Access.RECONSTRUCTION


@pytest.mark.parametrize(
    ("named", "complaint"),
    [
        ("pdg", "unknown attack 'pdg'.*did you mean 'pgd'"),
        ("pgd(stride=3)", "stride"),
        ("noise", "noise asks for no gradients"),
        ("smallest", "smallest looks for the smallest perturbation"),
        ("r-pgd", "r-pgd looks out for suspicion itself"),
        ("aware", "aware looks out for suspicion itself"),
        ("redraws", "redraws needs reconstruction"),
        ("turner", "turner does not search linf balls"),
        ("autoattack(version=rand)", "means over draws are taken of the problem itself"),
    ],
)
def test_what_can_not_be_made_aware_is_refused_with_the_reason(named: str, complaint: str) -> None:
    attacks: list[Attack] = [PGD(), Noise(), Smallest(), RPGD(), Aware(), Redraws(), Turner(), AutoAttack()]

    def refused() -> None:
        aware = made_aware(named, among=attacks)
        aware.perturb(scene(BALL).problem(aware, Problem))

    with pytest.raises(AdvbenchError, match=complaint):
        refused()


def test_an_attack_that_can_not_aim_is_not_made_to() -> None:
    aware = made_aware("turner", among=[Turner()])
    with pytest.raises(PluginError, match="turner can't aim at a class"):
        aware.perturb(scene(RotateShift(), targeted=True).problem(aware, Problem))


def test_the_named_attack_is_written_like_any_other_and_is_known_at_once() -> None:
    registry = Registry(attacks={"aware": Aware(), "pgd": PGD()})
    aware = registry.attack("aware(attack=pgd(steps=3), weight=0.9)")
    assert aware == Aware(attack="pgd(steps=3)", weight=0.9)
    assert registry.attack(aware.label) == aware
    assert aware.passes(10) == 2 * PGD(steps=3).passes(10)
    assert aware.others["attack"] == PGD(steps=3)
    with pytest.raises(AdvbenchError, match="expected"):
        registry.attack('aware(attack="pgd(steps=")')


def test_who_builds_on_attacks_and_was_given_none_says_what_to_do() -> None:
    with pytest.raises(PluginError, match=r"aware: it builds on other attacks.*registry\.settle"):
        Aware().perturb(scene(BALL).problem(Aware(), Problem))


def test_an_attack_that_names_itself_is_refused_in_a_line() -> None:
    @dataclass(frozen=True)
    class Endless(Aware):
        name: ClassVar[str] = "endless"

        attack: str = "endless"

    with pytest.raises(AdvbenchError, match="endless builds on itself"):
        Registry(attacks={"endless": Endless()}).attack("endless")


def test_a_cell_is_crafted_again_when_the_named_attack_changes() -> None:
    found = discover()

    def content(text: str, registry: Registry) -> str:
        return content_of(registry.attack(text), registry)

    before = content("aware(attack=pgd)", found)
    assert before == content("aware(attack=pgd(steps=3))", found) != ""
    changed = replace(found, loaded=[replace(one, origin=replace(one.origin, version="9")) for one in found.loaded])
    assert content("aware(attack=pgd)", changed) != before


def test_reconstruction_is_passed_undetected_far_more_often_by_who_knows_of_it() -> None:
    """On the shipped network of Qin et al.: plain PGD is caught on most images, PGD made aware on few."""
    model, detectors, dataset = CnnCr(), (Reconstruction(),), Mnist5k()
    data = dataset.load(DataFolders.default())
    found = find_weights(TargetPlan(dataset, model, detectors), data)
    assert found is not None, "it is shipped"
    device = torch.device("cpu")
    target = prepare(
        TargetPlan(dataset, model, detectors),
        data,
        found.net,
        weights_sha256=found.sha256,
        origins={},
        false_positive_rate=0.05,
        device=device,
    )
    judged = data.judge[:24]
    x = judged.pixels(device)
    stage = Scene(target, x, judged.labels, judged.ids, Linf(0.2), False)
    plain, aware = undetected(PGD(steps=15), stage), undetected(made_aware("pgd(steps=15)"), stage)
    assert aware >= 1.5 * plain
    assert aware >= 20
