"""What measures instead of searching says something of every image, also of those that are wrong when clean."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from advbench import Attack
from advbench.problem.problem import Problem, Stop
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import images
from advbench.threats import Corruption, Linf
from advbench.threats.corruptions import NAMES
from advbench_attacks.corruptions import Corruptions
from advbench_attacks.noise import Noise
from advbench_attacks.random_search import Random
from advbench_attacks.transfer import Transfer

SHAPE = (1, 28, 28)


class Bright(nn.Module):
    """Class 1 is what is brighter than half grey on average."""

    def forward(self, x: Tensor) -> Tensor:
        brightness = x.flatten(1).mean(1)
        return torch.stack((0.5 - brightness, brightness - 0.5), 1)


def stage(levels: list[float], labels: list[int]) -> Scene:
    """Plain grey images; the first label is the network's own answer or not, as the test wants it."""
    x = torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous()
    found = scene(Corruption(3), shape=SHAPE, classes=2, net=Bright(), x=x)
    return replace(found, labels=torch.tensor(labels))


def asked(attack: Attack, place: Scene, stop: Stop = "first") -> tuple[Problem, list[bool]]:
    """The problem after the attack, and whom it is judged to fool."""
    wrong = place.goal.margin(place.target.logits(place.images)) > 0
    problem = Problem(
        images=place.images.clone(),
        goal=place.goal,
        threat=place.threat,
        target=place.target,
        access=attack.needs,
        draws=place.problem(attack).draws,
        stop=stop,
        measures=attack.measures,
        already=wrong,
    )
    p = problem.finish(problem.start() if problem.done else attack.perturb(problem))
    return problem, [verdict.fooled for verdict in place.verdicts(p)]


@pytest.mark.parametrize("stop", ["first", "end"])
def test_a_corruption_that_makes_a_wrong_image_right_does_not_count_as_an_error(stop: Stop) -> None:
    place = stage([0.2, 0.8, 0.2], [1, 1, 0])  # wrong, right, right when clean; `inverse` turns all of them
    assert asked(Corruptions(kind="inverse"), place, stop)[1] == [False, True, True]


@pytest.mark.parametrize("stop", ["first", "end"])
def test_every_image_is_asked_about_under_every_kind(stop: Stop) -> None:
    problem, _ = asked(Corruptions(), stage([0.2, 0.8, 0.2], [1, 1, 0]), stop)
    assert problem.forwards.tolist() == [len(NAMES)] * 3


def test_what_was_made_elsewhere_is_submitted_for_images_that_are_wrong_when_clean() -> None:
    """An unsuspicious clean image would otherwise stand for a perturbation that a detector sees."""
    place = replace(stage([0.2, 0.8], [1, 1]), threat=Linf(0.1))
    problem = place.problem(Transfer())
    p = problem.start() + 0.05
    assert torch.equal(problem.finish(p), p)
    assert not problem.done
    assert problem.forwards.tolist() == [0, 0]


@pytest.mark.parametrize(("once", "often"), [(Noise(tries=1), Noise(tries=2)), (Random(tries=1), Random(tries=9))])
def test_one_random_perturbation_measures_and_several_search(once: Attack, often: Attack) -> None:
    place = scene(Linf(0.05), x=images(6, (1, 8, 8)))
    wrong = replace(place, labels=(place.labels + 1) % 10)
    assert (once.measures, often.measures) == (True, False)
    problem, _ = asked(once, wrong)
    p = problem.finish(problem.start(random=True))
    assert (p.flatten(1).abs().amax(1) > 0).all()
    assert problem.forwards.tolist() == [1] * 6
    problem, fooled = asked(often, wrong)
    assert (problem.done, fooled, problem.forwards.tolist()) == (True, [True] * 6, [0] * 6)
