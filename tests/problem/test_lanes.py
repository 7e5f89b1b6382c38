"""Searches written for a network, on a problem: what they ask is counted, and none hears of another."""

from __future__ import annotations

import gc
import random
import signal
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench import Access, Attack, Problem, in_lanes
from advbench.errors import PluginError, TimeUpError
from advbench.interrupts import Interrupted, listening
from advbench.problem.lanes import Keep, Search
from advbench.problem.problem import Stop
from advbench.problem.tape import Tape
from advbench.testing.scene import Scene, scene
from advbench.threats import L2, Linf, RotateShift, Threat

EPS = 0.1
STEPS = 5


@dataclass(frozen=True)
class Asker(Attack):
    """Stands for an attack that needs what a test says."""

    name = "asker"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS

    def perturb(self, problem: Problem) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Labels(Asker):
    needs = Access.LABELS


@dataclass(frozen=True)
class Logits(Asker):
    needs = Access.LOGITS


@dataclass(frozen=True)
class Smallest(Asker):
    minimizes = True


def climb(net: nn.Module, image: Tensor, label: Tensor, seed: int, *, steps: int = STEPS) -> Tensor:
    """What any library calls BIM."""
    found = image.clone()
    for _ in range(steps):
        found.requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(net(found), label), found)
        found = (found.detach() + EPS / 4 * slope.sign()).clamp(image - EPS, image + EPS).clamp(0, 1)
    return found


def gamble(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
    """Draws from every generator that libraries draw from, before and after it asks."""
    for _ in range(3):
        drawn = torch.rand_like(image) + float(np.random.rand()) + random.random()
        found = (image + EPS * (drawn % 2 - 1)).clamp(0, 1)
        net(found)
    return found


def asked(
    search: Search,
    attack: Attack | None = None,
    threat: Threat | None = None,
    *,
    keep: Keep = "returned",
    budget: int | None = None,
    stop: Stop = "first",
    stage: Scene | None = None,
    seed: int = 0,
) -> tuple[Problem, Tensor]:
    """The problem afterwards, and what would be judged."""
    problem = (stage or scene(threat or Linf(EPS))).problem(
        attack or Asker(), Problem, budget=budget, stop=stop, seed=seed
    )
    p = in_lanes(problem, search, keep=keep)
    return problem, problem.finish(p)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    threads = threading.active_count()
    yield
    assert threading.active_count() == threads


def test_no_graph_outlives_the_answers_that_it_belongs_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told without the garbage collector, which comes when it comes."""
    made: list[weakref.ref[Tape]] = []
    original = Tape.of_pass

    def of_pass(problem: Problem, p: Tensor, of: Tensor) -> Tape:
        tape = original(problem, p, of)
        made.append(weakref.ref(tape))
        return tape

    def watch(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
        found = image
        for _ in range(4):
            found = climb(net, found, label, seed, steps=1)
            alive.append(sum(one() is not None for one in made))
        return found

    alive: list[int] = []
    monkeypatch.setattr(Tape, "of_pass", of_pass)
    gc.disable()
    try:
        asked(watch)
        left = sum(one() is not None for one in made)
    finally:
        gc.enable()
    assert len(made) == 4
    assert max(alive) == 1  # the pass that all of them have asked for
    assert left == 0


def test_every_example_is_searched_as_if_the_library_had_been_called_on_it_alone() -> None:
    stage = scene(Linf(EPS))
    _, p = asked(climb, stage=stage)
    for place, found in enumerate(p):
        one = slice(place, place + 1)
        alone = climb(stage.target.net, stage.images[one], stage.labels[one], 0) - stage.images[one]
        torch.testing.assert_close(found, alone[0], atol=1e-6, rtol=0)


def test_each_pass_is_counted_for_its_example_and_all_examples_share_it() -> None:
    problem, _ = asked(climb)
    assert problem.forwards.tolist() == problem.backwards.tolist() == [STEPS] * 6
    assert problem.asked == STEPS


def test_a_pass_back_is_made_once_for_all_and_again_when_it_is_asked_again() -> None:
    def jacobian(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
        image = image.clone().requires_grad_()
        logits = net(image)
        rows = [torch.autograd.grad(logits[0, k], image, retain_graph=True)[0] for k in range(3)]
        slopes.append(torch.cat(rows))
        return image.detach()

    slopes: list[Tensor] = []
    stage = scene(Linf(EPS), count=3)
    problem, _ = asked(jacobian, stage=stage)
    assert problem.forwards.tolist() == [1] * 3
    assert problem.backwards.tolist() == [3] * 3
    x = stage.images.clone().requires_grad_()
    logits = stage.target.net(x)
    for k in range(3):
        (theirs,) = torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)
        torch.testing.assert_close(torch.stack([one[k] for one in slopes]), theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("search", [climb, gamble])
def test_what_is_found_depends_on_the_example_and_its_seed_alone(search: Search) -> None:
    stage, order = scene(Linf(EPS)), torch.tensor([3, 0, 5, 1, 4, 2])
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index]
    _, whole = asked(search, stage=stage)
    split = torch.cat([asked(search, stage=part)[1] for part in (stage[:2], stage[2:])])
    assert torch.equal(whole, split)
    assert torch.equal(whole[order], asked(search, stage=stage[order])[1])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # type: ignore[index]
    if search is gamble:
        assert not torch.equal(whole, asked(search, stage=stage, seed=1)[1])
        assert len({tuple(one.flatten().tolist()) for one in whole}) == 6


def through(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
    """Finds what fools, asks on, and returns the image as it was."""
    found = image
    for _ in range(13):
        found = climb(net, found, label, seed, steps=1).clamp(image - EPS, image + EPS)
    return image


def test_what_the_search_returned_is_judged_and_on_request_the_best_of_its_path() -> None:
    stage = scene(Linf(EPS))
    returned, p = asked(through, stage=stage)
    assert not any(verdict.fooled for verdict in stage.verdicts(p))
    assert returned.forwards.min() == 13
    path, q = asked(through, stage=stage, keep="path")
    fooled = [verdict.fooled for verdict in stage.verdicts(q)]
    assert any(fooled)
    assert all(count < 13 for count, won in zip(path.forwards.tolist(), fooled, strict=True) if won)


@pytest.mark.parametrize("keep", ["returned", "path"])
@pytest.mark.parametrize("attack", [Asker(), Smallest()])
def test_a_budget_ends_a_search_and_the_best_so_far_counts(keep: Keep, attack: Attack) -> None:
    stage = scene(Linf(float("inf") if attack.minimizes else EPS))
    problem, p = asked(through, attack, stage=stage, keep=keep, budget=7)
    assert problem.forwards.max() <= 7
    assert problem.backwards.max() <= 7
    assert any(verdict.fooled for verdict in stage.verdicts(p))


def test_a_search_that_ends_in_time_is_judged_by_what_it_returned_under_a_budget_too() -> None:
    stage = scene(Linf(EPS))
    _, p = asked(through, stage=stage, budget=30)
    assert not any(verdict.fooled for verdict in stage.verdicts(p))


def test_who_goes_on_to_the_end_leaves_neither_early_nor_with_what_was_not_returned() -> None:
    stage = scene(Linf(EPS))
    problem, p = asked(climb, stage=stage, stop="end", keep="path")
    assert problem.forwards.tolist() == [STEPS + 1] * 6  # and what it returned, which was not asked about
    assert any(verdict.fooled for verdict in stage.verdicts(p))
    _, q = asked(through, stage=stage, stop="end")
    assert not any(verdict.fooled for verdict in stage.verdicts(q))


def test_several_images_at_once_are_candidates_of_one_example() -> None:
    def proposals(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
        several = (image + EPS * torch.rand(4, *image.shape[1:])).clamp(0, 1)
        answers.append(net(several))
        return several[:1]

    answers: list[Tensor] = []
    problem, _ = asked(proposals)
    assert [tuple(one.shape) for one in answers] == [(4, 10)] * 6
    assert problem.forwards.tolist() == [4] * 6


def test_who_may_learn_labels_is_told_labels_and_who_may_learn_logits_no_slope() -> None:
    answers: list[Tensor] = []

    def look(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
        answers.append(net(image.clone().requires_grad_()))
        return image

    stage = scene(Linf(EPS), count=2)
    asked(look, Labels(), stage=stage)
    assert torch.equal(torch.cat(answers), F.one_hot(stage.labels, 10).float())
    answers.clear()
    asked(look, Logits(), stage=stage)
    assert torch.cat(answers).unique().numel() > 2
    assert not any(answer.requires_grad for answer in answers)
    answers.clear()
    asked(look, stage=stage)
    assert all(answer.requires_grad for answer in answers)
    answers.clear()


def fails(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
    net(image)
    raise ZeroDivisionError("theirs")


def ends(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
    net(image)
    raise SystemExit(3)


def stubborn(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
    while True:
        try:
            net(image)
        except Exception:  # what a library may do
            continue


@pytest.mark.parametrize(("search", "error"), [(fails, ZeroDivisionError), (ends, SystemExit)])
def test_what_a_search_raises_ends_all_of_them(search: Search, error: type[BaseException]) -> None:
    with pytest.raises(error):
        asked(search)


def test_a_person_s_ctrl_c_ends_all_of_them() -> None:
    def pressed(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
        for _ in range(1000):
            net(image)
            signal.raise_signal(signal.SIGINT)
        return image

    with pytest.raises(Interrupted), listening():
        asked(pressed)


def test_a_search_that_catches_every_error_ends_with_its_budget() -> None:
    problem, _ = asked(stubborn, budget=4)
    assert problem.forwards.tolist() == [4] * 6


def test_a_time_limit_ends_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("advbench.problem.problem.clock", lambda device: 1e9 if next(ticks) > 20 else 0.0)
    with pytest.raises(TimeUpError):
        asked(stubborn)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_no_image_has_found_nothing(broken: float) -> None:
    stage = scene(Linf(EPS))
    _, p = asked(lambda net, image, label, seed: image * broken, stage=stage)
    assert torch.equal(p, torch.zeros_like(p))


def test_what_is_returned_is_not_brought_into_the_ball() -> None:
    stage = scene(L2(0.3))
    _, p = asked(lambda net, image, label, seed: 1 - image, stage=stage)
    assert {verdict.violation for verdict in stage.verdicts(p)} == {"outside the ball"}


@pytest.mark.parametrize("odd", [None, 3, torch.zeros(2, 1, 8, 8), torch.zeros(1, 1, 8, 7)])
def test_what_has_another_form_is_said_so(odd: Any) -> None:
    with pytest.raises(PluginError, match=r"the search returned .* where images \(1, 1, 8, 8\) were due"):
        asked(lambda net, image, label, seed: odd)
    if isinstance(odd, Tensor) and odd.shape[2:] != (8, 8):
        with pytest.raises(PluginError, match="the search asked about"):
            asked(lambda net, image, label, seed: net(odd))


def test_other_balls_than_those_of_pixels_are_refused() -> None:
    stage = scene(RotateShift())
    with pytest.raises(PluginError, match="perturbations in rotate-shift are something else"):
        in_lanes(stage.problem(Asker()), climb)


def test_more_examples_than_lanes_are_searched_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = scene(Linf(EPS), count=11)
    _, together = asked(gamble, stage=stage)
    monkeypatch.setattr("advbench.problem.lanes.MOST", 4)
    assert torch.equal(together, asked(gamble, stage=stage)[1])


def test_the_draws_of_a_target_are_no_lane_s() -> None:
    class Noisy(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            drawn.append(float(torch.rand(())))
            answer: Tensor = self.net(x)
            return answer

    def asks(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
        for _ in range(3):
            net(image)
        return image

    drawn: list[float] = []
    plain = scene(Linf(EPS), count=2)
    stage = scene(Linf(EPS), net=Noisy(plain.target.net), x=plain.images)
    drawn.clear()
    asked(asks, stage=stage)
    assert len(set(drawn)) == len(drawn) >= 3
