"""Images that are nothing, of which a network is sure: the ball that lets every image in, and what is found there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advbench import Attack, evaluate
from advbench.draws import Draws
from advbench.goal import Goal
from advbench.problem.problem import Problem
from advbench.testing.scene import Scene, scene
from advbench.threats import Box
from advbench_attacks.cppn import CPPN, _connections, _painted
from advbench_attacks.rubbish import Rubbish, log_confidence

ATTACKS: list[Attack] = [CPPN(), Rubbish()]
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


class Stripes(nn.Module):
    """Class 1 for upright stripes of a width, class 0 for anything else: a pattern that must be found."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        wave = torch.sin(torch.linspace(-6, 6, width)).expand(1, 1, height, width)
        self.register_buffer("wave", wave / wave.abs().sum())

    def forward(self, x: Tensor) -> Tensor:
        alike = 20 * (2 * x.mean(1, keepdim=True) - 1).mul(self.wave).flatten(1).sum(1) - 10
        return torch.stack((-alike, alike), 1)


def ended(attack: Attack, stage: Scene) -> tuple[Tensor, Problem]:
    """With `stop: end`, which confidence is judged under."""

    class Ends(Problem):
        def __init__(self, **arguments: object) -> None:
            super().__init__(**{**arguments, "stop": "end"})  # type: ignore[arg-type]

    problem = stage.problem(attack, Ends)
    return problem.finish(attack.perturb(problem)), problem


def striped(count: int = 4, shape: tuple[int, int, int] = (1, 12, 12)) -> Scene:
    stage = scene(Box(), True, shape=shape, classes=2, net=Stripes(*shape[1:]), count=count)
    return replace(stage, labels=torch.ones(count, dtype=torch.int64))


def test_any_image_lies_in_the_box_and_is_stored_as_it_is() -> None:
    x, other = torch.rand(3, 3, 5, 4), torch.rand(3, 3, 5, 4)
    assert torch.equal(Box().project(x, other), other)
    assert torch.equal(Box().apply(x, other), other)
    assert (Box().size(x, other) <= 1).all()
    assert torch.equal(Box(0.0).project(x, other), x)


@each_attack
@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 7, 15)], ids=str)
def test_a_known_pattern_is_found_with_the_confidence_that_was_asked_for(
    attack: Attack, shape: tuple[int, int, int]
) -> None:
    verdicts = striped(shape=shape).verdicts(ended(attack, striped(shape=shape))[0])
    assert all(verdict.fooled and verdict.confidence >= 0.99 for verdict in verdicts)


@each_attack
def test_stopping_at_the_first_success_leaves_the_network_less_sure(attack: Attack) -> None:
    stage = striped()
    first = [verdict.confidence for verdict in stage.verdicts(stage.perturbed(attack))]
    end = [verdict.confidence for verdict in stage.verdicts(ended(attack, stage)[0])]
    assert sum(first) / 4 < 0.95
    assert min(end) >= 0.99


@each_attack
def test_no_pass_is_spent_on_an_example_whose_confidence_is_reached(attack: Attack) -> None:
    easy = replace(attack, confidence=0.6)
    assert ended(easy, striped())[1].forwards.sum() < ended(attack, striped())[1].forwards.sum()


@each_attack
def test_what_others_need_changes_nothing_for_an_example(attack: Attack) -> None:
    stage = striped(6)
    whole, _ = ended(attack, stage)
    parts = [ended(attack, stage[rows])[0] for rows in (slice(0, 1), slice(1, 6))]
    assert torch.equal(whole, torch.cat(parts))


@each_attack
def test_the_budget_holds_and_what_was_found_within_it_counts(attack: Attack) -> None:
    class Poor(Problem):
        def __init__(self, **arguments: object) -> None:
            super().__init__(**{**arguments, "budget": 7})  # type: ignore[arg-type]

    stage = striped()
    problem = stage.problem(attack, Poor)
    p = problem.finish(attack.perturb(problem))
    assert problem.forwards.max() <= 7
    assert not any(verdict.violation for verdict in stage.verdicts(p))


def test_evolution_gets_surer_with_every_generation_and_beats_fresh_patterns() -> None:
    few, many = (ended(CPPN(generations=g, confidence=1.0), striped())[0] for g in (0, 40))
    sure = [Stripes(12, 12)(p).softmax(1)[:, 1] for p in (few, many)]
    assert (sure[1] > sure[0]).all()


def test_patterns_are_smooth_functions_of_the_place_at_any_size() -> None:
    coarse, fine = torch.zeros(1, 3, 9, 9), torch.zeros(1, 3, 17, 17)
    genes = Draws(0, "test", torch.arange(5)).normal(_connections(coarse))
    small, large = _painted(genes, coarse), _painted(genes, fine)
    assert small.shape == (5, 3, 9, 9)
    torch.testing.assert_close(large[..., ::2, ::2], small)
    assert torch.equal(_painted(genes[2:3], coarse), small[2:3])
    assert (small >= 0).all()
    assert (small <= 1).all()


def test_an_unconnected_network_paints_grey() -> None:
    x = torch.zeros(1, 1, 6, 6)
    assert torch.equal(_painted(torch.zeros(1, _connections(x)), x), torch.full((1, 1, 6, 6), 0.5))


def test_confidence_is_that_of_the_class_to_reach_or_of_the_surest_other() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 5.0, 1.0]])
    shares = logits.softmax(1)
    labels = torch.tensor([0, 1])
    torch.testing.assert_close(log_confidence(Goal(labels, True), logits).exp(), shares.diagonal())
    torch.testing.assert_close(log_confidence(Goal(labels), logits).exp(), torch.stack((shares[0, 1], shares[1, 2])))


@each_attack
def test_a_network_for_digits_is_sure_of_what_is_no_digit(shared_data: Path, attack: Attack) -> None:
    found = evaluate(
        f'wong2019(weights="{shared_data}/wong2019_mnist/mnist_vanilla.safetensors")',
        dataset="mnist",
        threats=["box"],
        attacks=[attack],
        goals=["class=3"],
        stop="end",
        examples=10,
        data=[shared_data],
    )
    rows = found.store.rows("SELECT o.reached, o.confidence FROM outcomes o")
    assert len(rows) >= 8
    assert all(row["reached"] and row["confidence"] >= 0.99 for row in rows)
