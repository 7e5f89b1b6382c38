"""Cheats: whatever an attack or a target does wrong, it is refused with its reason and never counted as fooling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from advbench import Access, Attack, Examples, Goal, Problem
from advbench.crafting.cell import Job, Rules, Shard, craft
from advbench.errors import AdvbenchError, PluginError
from advbench.problem.batches import BatchSize
from advbench.target.referee import Verdict, judge, render
from advbench.target.target import Target
from advbench.testing.stage import StageNet, images, target_of
from advbench.threats import L2, Linf, RotateShift, Threat, Wasserstein

SHAPE = (1, 8, 8)
COUNT = 12
BALLS: list[Threat] = [Linf(0.1), L2(0.8), RotateShift(degrees=20, pixels=1), Wasserstein(0.4, kernel=3)]


@dataclass(frozen=True)
class Step(Attack):
    """A step up the loss, so long that the projection shortens it: on the border of its ball."""

    name = "step"
    threats = frozenset({"linf", "l2", "rotate-shift", "wasserstein"})
    needs = Access.GRADIENTS

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        return problem.project(p + 5 * problem.eps * problem.ascent(p))


def target() -> Target:
    return target_of(StageNet(SHAPE), SHAPE, 10)


def job(attack: Attack, threat: Threat, source: Target | None = None, timeout: float | None = None) -> Job:
    source = source or target()
    x = images(COUNT, SHAPE)
    answer = source.answer(x, BatchSize(64))
    examples = Examples(x, answer.predicted, torch.arange(COUNT))
    shard = Shard(0, 0, COUNT, examples, answer.predicted, answer.predicted, answer.lead)
    return Job(attack, threat, False, source, Rules(timeout=timeout), 8, "cpu", (shard,))


def verdicts(attack: Attack, threat: Threat, source: Target | None = None) -> list[Verdict]:
    """As a run comes to them: crafted, rendered, judged."""
    asked = job(attack, threat, source)
    (crafted,) = craft(asked)
    (shard,) = asked.shards
    rendered = render(threat, shard.examples.pixels(), crafted.p)
    return judge(asked.source, rendered, Goal(shard.goal_labels))


@pytest.mark.parametrize("threat", BALLS, ids=lambda threat: threat.name)
def test_an_honest_attack_is_believed(threat: Threat) -> None:
    judged = verdicts(Step(), threat)
    assert not any(verdict.violation for verdict in judged)
    assert sum(verdict.fooled for verdict in judged) > COUNT / 2


@pytest.mark.parametrize("threat", BALLS, ids=lambda threat: threat.name)
def test_leaving_the_ball_by_one_percent_is_a_violation_with_its_size(threat: Threat) -> None:
    class Cheat(Step):
        def perturb(self, problem: Problem) -> Tensor:
            p, still = super().perturb(problem), problem.start()
            grown = still + (p - still) * 1.011
            if problem.threat.name != "wasserstein":  # stay in [0, 1], so that only the ball is left
                return grown.clamp(-problem.images, 1 - problem.images) if grown.ndim == 4 else grown
            return grown

    judged = verdicts(Cheat(), threat)
    outside = [verdict for verdict in judged if verdict.violation]
    assert len(outside) > COUNT / 2
    assert not any(verdict.fooled for verdict in outside)
    assert any(verdict.reached for verdict in outside)
    for verdict in outside:
        assert verdict.excess is not None
        assert verdict.excess > verdict.tolerance
        if verdict.violation == "outside the ball":
            assert verdict.excess == pytest.approx(0.011 * threat.eps, rel=0.2)
    kinds = {verdict.violation for verdict in outside}
    # a plan that grows may also send more than there is, or to where there is no room
    assert kinds == {"outside the ball"} or threat.name == "wasserstein"


@pytest.mark.parametrize("threat", BALLS[:2], ids=lambda threat: threat.name)
def test_leaving_the_box_inside_the_ball_is_a_violation(threat: Threat) -> None:
    class Cheat(Step):
        def perturb(self, problem: Problem) -> Tensor:
            return problem.eps * problem.ascent(problem.start()) * 0.999

    judged = verdicts(Cheat(), threat)
    assert {verdict.violation for verdict in judged} == {"outside [0, 1]"}
    assert not any(verdict.fooled for verdict in judged)


def test_the_published_wasserstein_flaw_of_clipping_after_projecting_is_caught() -> None:
    class Clips(Step):
        def perturb(self, problem: Problem) -> Tensor:
            return super().perturb(problem).clamp(max=0.05)

    judged = verdicts(Clips(), BALLS[3])
    assert {verdict.violation for verdict in judged} == {"not a perturbation of this ball"}
    assert not any(verdict.fooled for verdict in judged)


@pytest.mark.parametrize("threat", BALLS[:2], ids=lambda threat: threat.name)
def test_another_examples_image_is_a_violation(threat: Threat) -> None:
    class Swaps(Step):
        def perturb(self, problem: Problem) -> Tensor:
            return problem.images.roll(1, 0) - problem.images

    judged = verdicts(Swaps(), threat)
    assert {verdict.violation for verdict in judged} == {"outside the ball"}
    assert any(verdict.reached for verdict in judged)
    assert not any(verdict.fooled for verdict in judged)


class NaN(Step):
    def perturb(self, problem: Problem) -> Tensor:
        p = super().perturb(problem)
        p[3] = torch.nan
        return p


class TooFew(Step):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem)[1:]


class Images(Step):
    def perturb(self, problem: Problem) -> Tensor:
        return (problem.images + super().perturb(problem)).squeeze(1)


class Double(Step):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem).double()


class Nothing(Step):
    def perturb(self, problem: Problem) -> Tensor:
        return None  # type: ignore[return-value]


class WritesImages(Step):
    def perturb(self, problem: Problem) -> Tensor:
        p = super().perturb(problem)
        problem.images.add_(0.5)
        return p


class WritesLabels(Step):
    def perturb(self, problem: Problem) -> Tensor:
        problem.goal.labels.add_(1).remainder_(10)
        return super().perturb(problem)


class Raises(Step):
    def perturb(self, problem: Problem) -> Tensor:
        problem.ascent(problem.start())
        raise ZeroDivisionError("in the middle")


class Exits(Step):
    def perturb(self, problem: Problem) -> Tensor:
        raise SystemExit(0)


REFUSED: dict[type[Attack], str] = {
    NaN: r"step: `perturb` returned NaN or infinity for 1 of 12 examples",
    TooFew: r"step: `perturb` returned shape \(11, 1, 8, 8\) where \(12, 1, 8, 8\) was due",
    Images: r"step: `perturb` returned shape \(12, 8, 8\)",
    Double: r"step: `perturb` returned torch.float64",
    Nothing: r"step: `perturb` returned NoneType, not a tensor",
    WritesImages: r"step: `perturb` wrote into `problem.images`",
    WritesLabels: r"step: `perturb` wrote into `problem.goal.labels`",
    Raises: r"in the middle",
    Exits: r"step: `perturb` tried to end the program",
}


@pytest.mark.parametrize("cheat", REFUSED, ids=lambda cheat: cheat.__name__)
def test_what_is_no_answer_is_refused_with_the_reason(cheat: type[Attack]) -> None:
    error = ZeroDivisionError if cheat is Raises else PluginError
    with pytest.raises(error, match=REFUSED[cheat]):
        verdicts(cheat(), BALLS[0])


def test_writing_into_the_goal_does_not_reach_the_labels_that_are_judged() -> None:
    asked = job(WritesLabels(), BALLS[0])
    before = asked.shards[0].goal_labels.clone()
    with pytest.raises(PluginError):
        list(craft(asked))
    assert torch.equal(asked.shards[0].goal_labels, before)


def test_an_attack_that_takes_too_long_is_ended_at_its_next_question() -> None:
    class Endless(Step):
        def perturb(self, problem: Problem) -> Tensor:
            while True:
                problem.labels(problem.start())

    with pytest.raises(AdvbenchError, match="time limit"):
        list(craft(job(Endless(), BALLS[0], timeout=0.2)))


def test_judging_between_shards_is_not_held_against_the_attack() -> None:
    import time

    asked = job(Step(), BALLS[0], timeout=5.0)
    asked = replace(asked, rules=Rules(timeout=0.5), shards=asked.shards * 3)
    crafted = craft(asked)
    next(crafted)
    time.sleep(0.6)
    assert len(list(crafted)) == 2


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_target_whose_answers_are_not_finite_is_wrong_and_not_robust(value: float) -> None:
    class Breaks(nn.Module):
        """Answers nonsense to everything but the clean images."""

        def __init__(self, clean: Tensor) -> None:
            super().__init__()
            self.net, self.clean = StageNet(SHAPE), clean

        def forward(self, x: Tensor) -> Tensor:
            known = (x.unsqueeze(1) == self.clean).flatten(2).all(2).any(1)
            logits: Tensor = torch.where(known.unsqueeze(1), self.net(x), value)
            return logits

    judged = verdicts(Step(), BALLS[0], target_of(Breaks(images(COUNT, SHAPE)), SHAPE, 10))
    assert {(verdict.predicted, verdict.violation) for verdict in judged} == {(-1, None)}
    assert all(verdict.fooled for verdict in judged)


def test_a_suspicion_that_is_no_number_saves_nobody() -> None:
    source = target()
    assert source.detector is not None

    @dataclass(frozen=True)
    class Silent(type(source.detector[0])):  # type: ignore[misc]
        def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
            return super().suspicion(net, images) * torch.nan

    source.detector = (Silent(), source.detector[1])
    judged = verdicts(Step(), BALLS[0], source)
    assert {verdict.violation for verdict in judged} == {None}
    assert any(verdict.fooled for verdict in judged)


@pytest.mark.parametrize("how", ["shape", "type"])
def test_a_target_that_answers_something_else_than_logits_is_named(how: str) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            answer = x.flatten(1)[:, :9]
            return answer if how == "shape" else (answer, answer)  # type: ignore[return-value]

    with pytest.raises(PluginError, match="the kit's network: answered"):
        verdicts(Step(), BALLS[0], target_of(Odd(), SHAPE, 10))


def test_verdicts_do_not_depend_on_who_else_is_judged() -> None:
    source, threat = target(), BALLS[1]
    asked = job(Step(), threat, source)
    (crafted,) = craft(asked)
    x, labels = asked.shards[0].examples.pixels(), asked.shards[0].goal_labels
    together = judge(source, render(threat, x, crafted.p), Goal(labels))
    alone = [
        judge(source, render(threat, x[k : k + 1], crafted.p[k : k + 1]), Goal(labels[k : k + 1]))[0]
        for k in range(COUNT)
    ]
    assert together == alone


def test_a_perturbation_of_nan_that_reaches_the_referee_all_the_same_is_outside() -> None:
    source = target()
    x = images(2, SHAPE)
    for threat in BALLS:
        p = threat.identity(x)
        p.view(2, -1)[0, 0] = torch.nan
        first, second = judge(source, render(threat, x, p), Goal(torch.tensor([0, 0])))
        assert first.violation
        assert not first.fooled
        assert not second.violation
