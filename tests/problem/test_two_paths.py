"""Both paths of a problem find the same: that of a CPU, which looks at every pass, and that of an accelerator."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from battery import cells
from torch import Tensor

from advbench import Access, Draws, Expected, Goal, Linf, Problem, may_wait
from advbench.pace import as_on_an_accelerator
from advbench.plugin import Attack
from advbench.problem.batches import BatchSize
from advbench.problem.buckets import EVERY
from advbench.testing.kernels import counted
from advbench.testing.scene import scene
from advbench.threats import Threat

CELLS = {name: (attack, threat, targeted) for name, attack, threat, targeted in cells()}
SETTINGS: tuple[dict[str, Any], ...] = ({"stop": "first"}, {"stop": "end"}, {"stop": "first", "budget": 7})
NEAR = 1e-3
"""Sizes of the smallest perturbations, which rounding leads a little astray."""

Way = Callable[[], AbstractContextManager[None]]


def found(way: Way, attack: Attack, threat: Threat, targeted: bool, **setting: Any) -> tuple[list[Any], Problem]:
    stage = scene(threat, targeted, count=6)
    with way():
        problem = stage.problem(attack, batch=64, **setting)
        p = problem.start() if problem.done else attack.perturb(problem)
        p = problem.finish(p).detach()
    return stage.verdicts(p), problem


def agree(name: str, setting: dict[str, Any]) -> None:
    attack, threat, targeted = CELLS[name]
    looking, exact = found(nullcontext, attack, threat, targeted, **setting)
    blind, other = found(as_on_an_accelerator, attack, threat, targeted, **setting)
    assert [(one.fooled, one.violation) for one in blind] == [(one.fooled, one.violation) for one in looking]
    if attack.minimizes:
        for one, two in zip(looking, blind, strict=True):
            assert math.isclose(one.size, two.size, rel_tol=NEAR, abs_tol=1e-6)
    if budget := setting.get("budget"):
        assert int(other.forwards.max()) <= max(budget, int(exact.forwards.max()))


@pytest.mark.parametrize(("place", "name"), list(enumerate(CELLS)), ids=list(CELLS))
def test_every_attack_finds_the_same_on_both(place: int, name: str) -> None:
    agree(name, SETTINGS[place % len(SETTINGS)])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CELLS)
def test_every_attack_finds_the_same_on_both_in_every_setting(name: str) -> None:
    for setting in SETTINGS:
        agree(name, setting)


def test_it_is_the_other_path_that_is_compared() -> None:
    attack, threat, targeted = CELLS["pgd linf untargeted"]
    _, exact = found(nullcontext, attack, threat, targeted)
    _, other = found(as_on_an_accelerator, attack, threat, targeted)
    assert not torch.equal(exact.forwards, other.forwards), "whoever has succeeded is asked until the bucket ends"
    assert may_wait(torch.device("cpu"))
    assert not may_wait(torch.device("cuda"))


# On a target that is known in closed form


@dataclass
class Threshold:
    """Class 1 where the first pixel exceeds one half: the logits' lead is (pixel - 0.5)."""

    classes: int = 2
    threshold: float | None = None
    scale: float = 1.0
    draws: int = 1
    sizes: list[int] = field(default_factory=list)

    def logits(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        lead = images[:, 0, 0, 0] - 0.5
        return torch.stack((-lead / 2, lead / 2), 1)

    def suspicion(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, 1]

    def abstains(self, logits: Tensor) -> Tensor | None:
        return None


def problem(count: int = 3, **more: Any) -> Problem:
    """Grey images a fifth away from the other class, on the path that does not look."""
    settings: dict[str, Any] = {"access": Access.GRADIENTS, "batch": BatchSize(4), "target": Threshold()}
    return Problem(
        images=torch.full((count, 1, 1, 2), 0.3),
        goal=Goal(torch.zeros(count, dtype=torch.int64)),
        threat=Linf(more.pop("eps", 0.3)),
        draws=Draws(0, "test", torch.arange(count)),
        **{"waits": False} | settings | more,
    )


def moved(*steps: float) -> Tensor:
    p = torch.zeros(len(steps), 1, 1, 2)
    p[:, 0, 0, 0] = torch.tensor(steps)
    return p


def first_pixels(p: Tensor) -> list[float]:
    return [round(value, 6) for value in p[:, 0, 0, 0].tolist()]


def test_who_is_done_leaves_at_the_end_of_a_bucket() -> None:
    target = Threshold()
    asked = problem(target=target, batch=BatchSize(1))
    asked.logits(moved(0.25, 0.1, 0.1))
    for _ in range(EVERY - 2):
        asked.gradient(moved(0.29, 0.1, 0.1))
        assert asked.active.tolist() == [0, 1, 2]
    asked.gradient(moved(0.29, 0.1, 0.1))
    assert asked.active.tolist() == [1, 2]
    target.sizes.clear()
    gradient = asked.gradient(moved(0.1, 0.1, 0.1))
    assert len(target.sizes) == 2
    assert gradient[:, 0, 0, 0].ne(0).tolist() == [False, True, True]
    assert asked.forwards.tolist() == [EVERY, EVERY + 1, EVERY + 1]
    assert asked.backwards.tolist() == [EVERY - 1, EVERY, EVERY]
    assert first_pixels(asked.finish(moved(0.0, 0.0, 0.0)))[0] == 0.25, "the first success, as on the other path"


def test_a_success_is_found_without_waiting_for_the_end_of_the_bucket() -> None:
    asked = problem()
    asked.logits(moved(0.25, 0.1, 0.1))
    assert asked.found.tolist() == [True, False, False]
    assert first_pixels(asked.best) == [0.25, 0.0, 0.0]


def test_a_success_outside_ball_or_box_is_never_remembered() -> None:
    asked = problem(eps=0.22)
    asked.logits(moved(0.23, 0.21, 0.22))
    assert asked.found.tolist() == [False, True, True]
    assert problem(eps=5).found.tolist() == [False] * 3
    boxed = problem(eps=5)
    boxed.logits(moved(0.71, 0.69, 0.0))
    assert boxed.found.tolist() == [False, True, False]


class Liar(Linf):
    """Projects onto too large a ball, and says so nowhere."""

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return Linf(2 * self.eps).bounds(x)

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return p.clamp(*self.bounds(x))


def test_what_a_projection_has_not_kept_inside_is_dropped_when_it_is_measured() -> None:
    asked = problem(eps=0.22)
    asked.threat = Liar(0.22)
    asked.logits(asked.project(moved(0.4, 0.21, 0.1)))
    assert asked.found.tolist() == [False, True, False]
    assert first_pixels(asked.best) == [0.0, 0.21, 0.0]


class Deaf(Threshold):
    """Answers class 1 to whatever is no number."""

    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images.nan_to_num(1.0))


def test_what_is_no_number_is_no_success_however_it_was_projected() -> None:
    asked = problem(target=Deaf())
    asked.logits(asked.project(moved(torch.nan, 0.21, 0.1)))
    assert asked.found.tolist() == [False, True, False]
    assert first_pixels(asked.best) == [0.0, 0.21, 0.0]


def test_what_is_written_into_after_it_was_projected_is_measured_at_once() -> None:
    asked = problem(eps=0.22)
    p = asked.project(moved(0.21, 0.21, 0.1))
    p[0] += 0.1
    asked.logits(p)
    assert not asked._unmeasured
    assert asked.found.tolist() == [False, True, False]


def test_a_budget_is_never_overdrawn_and_nothing_is_told_or_kept_beyond_it() -> None:
    asked = problem(budget=3)
    asked.logits(moved(0.1, 0.1, 0.1))
    of = torch.tensor([0, 0, 0, 0, 1])
    leads = asked.logits(moved(0.1, 0.1, 0.25, 0.25, 0.1), of).diff(dim=1).squeeze(1)
    assert asked.forwards.tolist() == [3, 2, 1]
    torch.testing.assert_close(leads, torch.tensor([-0.1, -0.1, -0.1, -0.1, -0.1]), atol=1e-6, rtol=0)
    assert asked.found.tolist() == [False] * 3
    gradient = asked.gradient(moved(0.25, 0.1, 0.1))
    assert gradient[:, 0, 0, 0].ne(0).tolist() == [False, True, True]
    assert not asked.found[0]
    for _ in range(EVERY):
        asked.gradient(moved(0.1, 0.1, 0.1))
    assert asked.forwards.tolist() == [3, 3, 3]
    assert asked.done


def test_of_several_candidates_for_one_example_the_best_is_kept() -> None:
    of, steps = torch.tensor([0, 0, 0, 2, 2]), (0.22, 0.29, 0.25, 0.1, 0.21)
    for setting in ({"stop": "first"}, {"stop": "end"}):
        asked = problem(**setting, batch=BatchSize(8))
        asked.logits(moved(*steps), of)
        assert first_pixels(asked.finish(moved(0.0, 0.0, 0.0))) == [0.29, 0.0, 0.21]
    smallest = problem(minimizes=True)
    smallest.logits(moved(*steps), of)
    assert first_pixels(smallest.finish(moved(0.0, 0.0, 0.0))) == [0.22, 0.0, 0.21]


def test_nothing_waits_within_a_bucket_and_one_question_ends_it() -> None:
    asked = problem()

    def bucket() -> None:
        p = asked.start()
        for _ in range(EVERY):
            p = asked.advance(p, asked.ascent(p), 0.001)

    bucket()
    assert counted(bucket).waits == {"nonzero": 1}


@pytest.mark.parametrize("why", [{"access": Access.GRADIENTS | Access.SUSPICION}, {"target": Threshold(draws=9)}])
def test_where_successes_are_asked_about_again_every_pass_is_looked_at(why: dict[str, Any]) -> None:
    asked = problem(**why)
    asked.logits(moved(0.25, 0.1, 0.1))
    assert asked.active.tolist() == [1, 2]


def test_means_over_draws_look_at_every_pass_and_lose_nothing() -> None:
    asked = problem()
    asked.logits(moved(0.25, 0.1, 0.1))
    several = Expected.of(asked, 3)
    assert several.active.tolist() == [1, 2]
    several.logits(moved(0.1, 0.25, 0.1))
    assert asked.active.tolist() == [2]
    assert first_pixels(asked.finish(moved(0.0, 0.0, 0.0))) == [0.25, 0.25, 0.0]
    assert asked.forwards.tolist() == [1, 4, 4]


BOTH = pytest.mark.parametrize("waits", [True, False], ids=["looking", "blind"])


@BOTH
def test_whoever_asks_in_inference_mode_is_answered(waits: bool) -> None:
    asked = problem(waits=waits, access=Access.GRADIENTS | Access.LOGITS)
    with torch.inference_mode():
        of = torch.tensor([0, 2])
        p = asked.project(moved(0.25, 0.1, 0.1))
        asked.logits(p)
        asked.logits(asked.project(moved(0.1, 0.1), of), of)
    gradient = asked.gradient(moved(0.1, 0.1, 0.1))
    assert gradient[1:, 0, 0, 0].ne(0).all()
    assert asked.found.tolist() == [True, False, False]


@BOTH
def test_a_loss_may_be_one_number(waits: bool) -> None:
    asked = problem(waits=waits)
    probe = asked.probe(moved(0.1, 0.1, 0.1), lambda goal, logits: goal.cross_entropy(logits).sum())
    assert probe.gradient[:, 0, 0, 0].ne(0).all()
    assert probe.loss is None


@BOTH
def test_what_was_projected_around_others_is_measured(waits: bool) -> None:
    asked = Problem(
        images=torch.tensor([0.3, 1.0]).view(2, 1, 1, 1).expand(2, 1, 1, 2).contiguous(),
        goal=Goal(torch.tensor([0, 0])),
        threat=Linf(0.3),
        target=Threshold(),
        access=Access.LOGITS | Access.GRADIENTS,
        draws=Draws(0, "test", torch.arange(2)),
        batch=BatchSize(4),
        waits=waits,
    )
    first, second = torch.tensor([0]), torch.tensor([1])
    p = asked.project(torch.full((1, 1, 1, 2), 0.3), first)
    asked.logits(p, second)  # beyond the box of the second image
    assert asked.found.tolist() == [False, False]


@BOTH
@pytest.mark.parametrize("stop", ["first", "end"])
def test_infinite_logits_lose_no_success(waits: bool, stop: str) -> None:
    class Infinite(Threshold):
        def logits(self, images: Tensor) -> Tensor:
            logits = super().logits(images)
            return torch.where(images[:, 0, 0, 0].unsqueeze(1) > 0.58, torch.tensor([0.0, torch.inf]), logits)

    asked = problem(waits=waits, target=Infinite(), stop=stop, access=Access.LOGITS)
    asked.logits(asked.project(moved(0.25, 0.29, 0.1)))
    asked.logits(asked.project(moved(0.29, 0.29, 0.1)))
    assert asked.found.tolist() == [True, stop == "first", False]


@BOTH
def test_who_is_done_keeps_the_last_answer_whatever_is_written_into_it(waits: bool) -> None:
    asked = problem(waits=waits, access=Access.LOGITS)
    for _ in range(EVERY):
        answers = asked.logits(moved(0.25, 0.1, 0.1))
        answers[:] = -100.0
    assert asked.active.tolist() == [1, 2]
    assert asked.logits(moved(0.0, 0.0, 0.0))[0].tolist() == pytest.approx([-0.025, 0.025], abs=1e-6)


def test_passes_are_counted_for_those_who_were_asked() -> None:
    asked = problem(access=Access.LOGITS)
    of = torch.tensor([0, 1])
    asked.logits(moved(0.1, 0.1), of)
    of += 1
    assert asked.forwards.tolist() == [1, 1, 0]


def test_a_budget_holds_for_who_begins_to_look() -> None:
    asked = problem(budget=3)
    for _ in range(3):
        asked.gradient(moved(0.1, 0.1, 0.1))
    asked.look_at_every_pass()
    asked.gradient(moved(0.1, 0.1, 0.1))
    assert asked.forwards.tolist() == [3, 3, 3]
